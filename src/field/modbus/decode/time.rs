//! core: from registers to a date and time, written as RFC 3339.

use std::sync::Arc;

use super::NoValue;
use crate::field::TimeLayout;

/// A date and time as a device's clock shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    year: u16,
    month: u16,
    day: u16,
    hour: u16,
    minute: u16,
    second: u16,
    ms: Option<u16>,
}

/// The date and time in `registers`, the most significant first, by a clock that is ahead of UTC by `offset_minutes`; with
/// milliseconds where the layout has them.
pub(super) fn decode(
    layout: TimeLayout,
    offset_minutes: i16,
    registers: impl Iterator<Item = u16>,
) -> Result<Arc<str>, NoValue> {
    let mut words = [0u16; 6];
    for (place, register) in words.iter_mut().zip(registers) {
        *place = register;
    }
    let bits = |count| words.iter().take(count).fold(0, |bits, word| bits << 16 | u64::from(*word));
    let mut offset_minutes = offset_minutes;
    let shown = match layout {
        TimeLayout::Unix => of_unix(bits(2) * 1_000, false)?,
        TimeLayout::UnixMs => of_unix(bits(4), true)?,
        TimeLayout::Cp56 => {
            let cp56 = Cp56(words);
            if cp56.is_invalid() {
                return Err(NoValue::Invalid(
                    "the device says that its time is invalid".to_owned(),
                ));
            }
            offset_minutes += if cp56.is_summer_time() { 60 } else { 0 };
            cp56.shown()
        }
        TimeLayout::Registers => of_six(words),
        TimeLayout::Bytes => of_six(bytes(words).map(u16::from)),
        TimeLayout::Bcd => {
            let digits = bytes(words).map(of_bcd);
            let [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f)] = digits else {
                let [a, b, c, ..] = words;
                let message = format!("{a:04x} {b:04x} {c:04x} is not decimal");
                return Err(NoValue::OutOfRange(message));
            };
            of_six([a, b, c, d, e, f])
        }
    };
    written(shown, offset_minutes)
}

/// The registers of a CP56Time2a (IEC 60870-5-4), most significant first: year; month and day; hour and minute;
/// millisecond of the minute.
struct Cp56([u16; 6]);

impl Cp56 {
    /// IV.
    fn is_invalid(&self) -> bool {
        self.0[2] & 0x80 != 0
    }

    /// SU.
    fn is_summer_time(&self) -> bool {
        self.0[2] & 0x8000 != 0
    }

    fn shown(&self) -> Shown {
        let [year, date, time, ms, ..] = self.0;
        Shown {
            year: 2000 + (year & 0x7f),
            month: date >> 8 & 0x0f,
            // The day of the week stands above it.
            day: date & 0x1f,
            hour: time >> 8 & 0x1f,
            minute: time & 0x3f,
            second: ms / 1_000,
            ms: Some(ms % 1_000),
        }
    }
}

/// Two-digit years are of this century.
fn of_six([year, month, day, hour, minute, second]: [u16; 6]) -> Shown {
    let year = if year < 100 { 2000 + year } else { year };
    Shown { year, month, day, hour, minute, second, ms: None }
}

fn bytes([a, b, c, ..]: [u16; 6]) -> [u8; 6] {
    let ([a, b], [c, d], [e, f]) = (a.to_be_bytes(), b.to_be_bytes(), c.to_be_bytes());
    [a, b, c, d, e, f]
}

fn of_bcd(byte: u8) -> Option<u16> {
    let (high, low) = (byte >> 4, byte & 0x0f);
    (high < 10 && low < 10).then(|| u16::from(high) * 10 + u16::from(low))
}

/// The civil date of milliseconds since 1970, by the proleptic Gregorian calendar.
fn of_unix(unix_ms: u64, has_ms: bool) -> Result<Shown, NoValue> {
    let (days, ms_of_day) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Counted from 0000-03-01, so that the leap day is the last of a year; 400 years have 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let small = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    let seconds = ms_of_day / 1_000;
    if year > 9_999 {
        let message = format!("{unix_ms} ms since 1970 is beyond the year 9999");
        return Err(NoValue::OutOfRange(message));
    }
    Ok(Shown {
        year: small(year),
        month: small(month),
        day: small(day),
        hour: small(seconds / 3_600),
        minute: small(seconds / 60 % 60),
        second: small(seconds % 60),
        ms: has_ms.then(|| small(ms_of_day % 1_000)),
    })
}

fn written(shown: Shown, offset_minutes: i16) -> Result<Arc<str>, NoValue> {
    let Shown { year, month, day, hour, minute, second, ms } = shown;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u16::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if year > 9_999 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return Err(NoValue::OutOfRange(format!("{date} is no date and time")));
    }
    let ms = ms.map(|ms| format!(".{ms:03}")).unwrap_or_default();
    let (sign, ahead) = (if offset_minutes < 0 { '-' } else { '+' }, offset_minutes.unsigned_abs());
    Ok(match ahead {
        0 => format!("{date}{ms}Z"),
        _ => format!("{date}{ms}{sign}{:02}:{:02}", ahead / 60, ahead % 60),
    }
    .into())
}
