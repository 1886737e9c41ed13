//! Log time as people write it.

use jiff::Timestamp;

/// The moment so many nanoseconds after the beginning of 1970, in UTC.
pub fn utc(nanoseconds: i64) -> String {
    let moment = Timestamp::from_nanosecond(nanoseconds.into());
    format!("{:.9}", moment.expect("a calendar has more than 300 years"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (951_868_799, "2000-02-29T23:59:59.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
            (1_795_826_047, "2026-11-28T00:34:07.000000000Z"),
            (-1, "1969-12-31T23:59:59.000000000Z"),
        ] {
            assert_eq!(utc(seconds * 1_000_000_000), text);
        }
        assert_eq!(utc(1), "1970-01-01T00:00:00.000000001Z");
        assert!(utc(i64::MAX).starts_with("2262-04-11"));
        assert!(utc(i64::MIN).starts_with("1677-09-21"));
    }
}
