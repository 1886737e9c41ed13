//! Which run of the host this is: the kernel draws it at boot.

/// Where Linux tells it, as a uuid.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's boot id, `None` where `/proc` does not show it.
pub(super) fn boot_id() -> Option<u128> {
    parse(&std::fs::read_to_string(BOOT_ID_FILE).ok()?)
}

fn parse(text: &str) -> Option<u128> {
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    let id = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32 && id != 0).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_a_uuid_and_nothing_else() {
        let text = "0f3a1c52-9d1b-4c57-8a55-0123456789ab\n";
        assert_eq!(parse(text), Some(0x0f3a_1c52_9d1b_4c57_8a55_0123_4567_89ab));
        for other in ["", "0f3a1c52", "00000000-0000-0000-0000-000000000000", "x"] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(boot_id(), boot_id());
    }
}
