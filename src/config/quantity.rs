//! core: numbers, durations and sizes as people write them.

use std::time::Duration;

/// What is wrong with a number, duration or size: a message that follows the text, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misread {
    pub(crate) message: String,
    pub(crate) remedy: String,
}

fn misread<T>(message: impl Into<String>, remedy: impl Into<String>) -> Result<T, Misread> {
    Err(Misread { message: message.into(), remedy: remedy.into() })
}

/// A whole number: decimal, or hexadecimal with `0x`.
pub(super) fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((digits, 10), |rest| (rest, 16));
    // A sign behind the sign, or behind 0x, is none of ours; 30 digits always fit.
    if digits.is_empty() || digits.len() > 30 || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

/// A number with a decimal point or without.
pub(super) fn number(text: &str) -> Result<f64, Misread> {
    let plain =
        text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E'));
    match text.parse::<f64>() {
        Ok(value) if plain && value.is_finite() => Ok(value),
        Ok(_) | Err(_) => {
            let pointed = text.replace(',', ".");
            if pointed != text && pointed.parse::<f64>().is_ok() {
                return misread("has a decimal comma", format!("write `{pointed}`"));
            }
            misread("is not a number", "write a number such as `0.1`, `-40` or `1e-3`")
        }
    }
}

const DURATION_EXAMPLES: &str =
    "write a number and ms, s, m, h, d or w: `300ms`, `1s`, `5m`, `30d`";
const DURATION_UNITS: [(&str, u64); 6] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// A duration such as `300ms`, `1.5s`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, Misread> {
    let mut rest = text.trim();
    let mut total_ns: u64 = 0;
    if rest.is_empty() {
        return misread("is not a duration", DURATION_EXAMPLES);
    }
    while !rest.is_empty() {
        let (amount, unit, behind) = amount_and_unit(rest);
        let Some(amount) = amount else {
            return misread("is not a duration", DURATION_EXAMPLES);
        };
        if unit.is_empty() {
            let remedy = format!("write `{amount}s` for seconds or `{amount}ms` for milliseconds");
            return misread("has no unit of time", remedy);
        }
        let Some((_, unit_ns)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
            return misread(format!("has no unit of time: `{unit}` is none"), DURATION_EXAMPLES);
        };
        let Some(sum) = scaled(amount, *unit_ns).and_then(|ns| total_ns.checked_add(ns)) else {
            return misread("is longer than anybody will wait", DURATION_EXAMPLES);
        };
        total_ns = sum;
        rest = behind.trim_start();
    }
    Ok(Duration::from_nanos(total_ns))
}

const SIZE_EXAMPLES: &str = "write a number and KiB, MiB, GiB, kB, MB or GB: `256MiB`, `10MB`";
const SIZE_UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A size in bytes such as `256MiB`; KiB and its kind count in 1024, kB and its kind in 1000.
pub(super) fn size_bytes(text: &str) -> Result<u64, Misread> {
    let (amount, unit, behind) = amount_and_unit(text.trim());
    let Some(amount) = amount else { return misread("is not a size", SIZE_EXAMPLES) };
    if unit.is_empty() {
        let remedy = format!("write `{amount}MiB` or `{amount}GiB`");
        return misread("has no unit of size", remedy);
    }
    let found = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let Some((_, unit_bytes)) = found.filter(|_| behind.trim().is_empty()) else {
        return misread("has no unit of size that is known here", SIZE_EXAMPLES);
    };
    match scaled(amount, *unit_bytes) {
        Some(bytes) => Ok(bytes),
        None => misread("is more than any disk holds", SIZE_EXAMPLES),
    }
}

/// Splits `1.5s and more` into `1.5`, `s` and what follows.
fn amount_and_unit(text: &str) -> (Option<&str>, &str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (amount, rest) = text.split_at(digits);
    let rest = rest.trim_start_matches(' ');
    let letters = rest.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(rest.len());
    let (unit, behind) = rest.split_at(letters);
    let is_number = amount.starts_with(|c: char| c.is_ascii_digit())
        && amount.ends_with(|c: char| c.is_ascii_digit())
        && amount.matches('.').count() <= 1;
    (is_number.then_some(amount), unit, behind)
}

/// `amount` times `unit`, in whole numbers; at most nine digits after the point count.
fn scaled(amount: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let fraction = &fraction[..fraction.len().min(9)];
    if fraction.is_empty() {
        return Some(whole);
    }
    let digits = u32::try_from(fraction.len()).ok()?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit);
    whole.checked_add(u64::try_from(part / 10u128.pow(digits)).ok()?)
}

/// A duration as an operator would write it.
pub(super) fn duration_text(duration: Duration) -> String {
    let ns = duration.as_nanos();
    let mut best = format!("{}ms", ns / 1_000_000);
    for (name, unit_ns) in &DURATION_UNITS[..5] {
        if ns > 0 && ns.is_multiple_of(u128::from(*unit_ns)) {
            best = format!("{}{name}", ns / u128::from(*unit_ns));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in [
            ("300ms", 300),
            ("1s", 1_000),
            ("1.5s", 1_500),
            ("0.25 s", 250),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("30d", 2_592_000_000),
            ("1w", 604_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "s", "5", "1 parsec", "-1s", "1.s", ".5s", "1..5s", "1s 5", "999999999d", "1µs"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(
            duration("30").unwrap_err().remedy,
            "write `30s` for seconds or `30ms` for milliseconds"
        );
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("256MiB", 256 << 20),
            ("10MB", 10_000_000),
            ("1GiB", 1 << 30),
            ("512 KiB", 512 << 10),
            ("1.5GiB", 3 << 29),
            ("512kib", 512 << 10),
        ] {
            assert_eq!(size_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "256", "1 parsec", "MiB", "-1MiB", "1MiB 2KiB", "99999999999TiB"] {
            assert!(size_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn whole_numbers_may_be_hexadecimal_and_nothing_else_is_one() {
        assert_eq!(integer("0x1F"), Some(31));
        assert_eq!(integer("-5"), Some(-5));
        assert_eq!(integer("007"), Some(7));
        for text in ["", "+5", "--5", "0x", "0x-1", "1.0", "1_000", "five", "-", "1e3"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn a_decimal_comma_is_told_from_a_word() {
        assert_eq!(number("0.1"), Ok(0.1));
        assert_eq!(number("0,1").unwrap_err().message, "has a decimal comma");
        for text in ["inf", "NaN", "1e999", "", "x", "infinity"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_the_largest_unit_that_is_whole() {
        assert_eq!(duration_text(Duration::from_millis(10)), "10ms");
        assert_eq!(duration_text(Duration::from_secs(60)), "1m");
        assert_eq!(duration_text(Duration::from_secs(86_400)), "1d");
        assert_eq!(duration_text(Duration::from_secs(65_535)), "65535s");
    }
}
