//! Quantities as people write them: `200us`, `5ms`, `1s`; `288`, `64k`, `2g`; `0.1%`.

use lockstep_transport::time::{MICROSECOND, MILLISECOND, Nanos, SECOND};

/// Longest duration that makes sense anywhere: it leaves room for sums of several.
const DURATION_MAX: f64 = 365.0 * 24.0 * 3_600.0 * SECOND as f64;

/// Largest size that makes sense anywhere, 256 TiB: twice it still fits everywhere.
const SIZE_MAX: f64 = (1_u64 << 48) as f64;

/// Highest rate that is taken for meant, per second: no clock tells such requests apart.
const RATE_MAX: f64 = 1e9;

/// Splits `text` into its number and its unit.
fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number
        .parse()
        .map_err(|_| format!("\"{text}\" does not start with a number"))?;
    Ok((number, unit.trim()))
}

/// Parses a duration: a number with `ns`, `us`, `ms`, `s` or `m`; a bare 0 needs no unit.
///
/// # Errors
/// A sentence saying what is wrong and what would be right.
pub fn duration(text: &str) -> Result<Nanos, String> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "ns" => 1,
        "us" | "µs" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "" if number == 0.0 => 1,
        _ => return Err(format!("\"{text}\" needs a unit: ns, us, ms, s or m")),
    };
    let duration = (number * scale as f64).round();
    if duration > DURATION_MAX {
        return Err(format!("\"{text}\" is longer than a year"));
    }
    Ok(duration as Nanos)
}

/// Parses a duration whose bare number means seconds.
///
/// # Errors
/// A sentence saying what is wrong and what would be right.
pub fn seconds(text: &str) -> Result<Nanos, String> {
    let is_bare = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if is_bare {
        duration(&format!("{text}s"))
    } else {
        duration(text)
    }
}

/// Parses a duration whose bare number means seconds, and which must not be 0.
///
/// # Errors
/// A sentence saying what is wrong and what would be right.
pub fn some_seconds(text: &str) -> Result<Nanos, String> {
    match seconds(text)? {
        0 => Err(format!("\"{text}\" is no time at all: use more than 0")),
        duration => Ok(duration),
    }
}

/// Parses a number of things of which there must be one.
///
/// # Errors
/// A sentence saying what would be right.
pub fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("\"{text}\" is not a whole number of at least 1"))
}

/// Parses a size in bytes: a number with nothing, `k`, `m` or `g` (powers of 1024).
///
/// # Errors
/// A sentence saying what is wrong and what would be right.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1_u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(format!("\"{text}\" has an unknown unit: use k, m or g")),
    };
    let size = (number * scale as f64).round();
    if size > SIZE_MAX {
        return Err(format!("\"{text}\" is more than 256 TiB"));
    }
    Ok(size as u64)
}

/// Parses a probability: `0.1%`, or a number from 0 to 1.
///
/// # Errors
/// A sentence saying what is wrong and what would be right.
pub fn probability(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    let value = match unit {
        "%" => number / 100.0,
        "" => number,
        _ => return Err(format!("\"{text}\" is neither a percentage nor a fraction")),
    };
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(format!("\"{text}\" is not between 0 and 100 %"))
    }
}

/// Parses a rate per second: a number, with `k` or `m` for thousands or millions.
///
/// # Errors
/// A sentence saying what is wrong and what would be right.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "" => 1.0,
        "k" => 1e3,
        "m" | "M" => 1e6,
        _ => return Err(format!("\"{text}\" has an unknown unit: use k or m")),
    };
    let rate = number * scale;
    if rate > 0.0 && rate <= RATE_MAX {
        Ok(rate)
    } else {
        Err("a rate must be above 0 and at most 1000m".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(duration("200us"), Ok(200_000));
        assert_eq!(duration("1.5ms"), Ok(1_500_000));
        assert_eq!(duration("10 s"), Ok(10_000_000_000));
        assert_eq!(duration("0"), Ok(0));
        assert!(duration("5").is_err());
        assert!(duration("fast").is_err());
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("288"), Ok(288));
        assert_eq!(size("64k"), Ok(65_536));
        assert_eq!(size("2G"), Ok(2 << 30));
        assert!(size("2t").is_err());
    }

    #[test]
    fn probabilities_lie_between_never_and_always() {
        assert_eq!(probability("0.1%"), Ok(0.001));
        assert_eq!(probability("0.5"), Ok(0.5));
        assert!(probability("101%").is_err());
        assert!(probability("5 percent").is_err());
    }

    #[test]
    fn rates_may_be_abbreviated() {
        assert_eq!(rate("10k"), Ok(10_000.0));
        assert_eq!(rate("2500"), Ok(2_500.0));
        assert!(rate("0").is_err());
    }

    #[test]
    fn a_bare_number_of_seconds_needs_no_unit() {
        assert_eq!(seconds("1.5"), Ok(1_500_000_000));
        assert_eq!(seconds("200ms"), Ok(200_000_000));
        for nonsense in ["-1", "inf", "nan", "1e9", ""] {
            assert!(seconds(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn no_time_at_all_is_refused_where_something_is_to_happen() {
        for nothing in ["0", "0s", "0.0", "0.1ns"] {
            assert!(some_seconds(nothing).is_err(), "{nothing}");
        }
        assert_eq!(some_seconds("1ns"), Ok(1));
        assert_eq!(seconds("0"), Ok(0));
    }

    #[test]
    fn what_no_number_can_hold_is_refused() {
        let digits = "9".repeat(400);
        assert!(duration(&format!("{digits}s")).is_err());
        assert!(duration("366000 m").is_ok());
        assert!(duration("600000 m").is_err());
        assert!(size(&digits).is_err());
        assert!(rate(&digits).is_err());
        assert!(positive(&digits).is_err());
        assert!(positive("0").is_err());
        assert_eq!(positive("7"), Ok(7));
    }
}
