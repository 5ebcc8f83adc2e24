//! core: what `fieldpost frames` shows to a person: a line for each frame.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::control::{FrameKind, FrameReport, FramesReport};
use crate::field::watch::traffic::Framing;

/// Bytes that are shown on one line.
const SHOWN_MAX: usize = 32;
/// Columns the bytes have at least.
const BYTES_WIDTH: usize = 30;

/// What stands above all lines.
pub(super) fn head(sum: &FramesReport) -> String {
    let framing = match Framing::of_word(&sum.framing) {
        Some(Framing::Rtu) => "Modbus RTU",
        Some(Framing::Ascii) => "Modbus ASCII",
        Some(Framing::Tcp) => "Modbus TCP",
        Some(Framing::Udp) => "Modbus over UDP",
        Some(Framing::Plain) | None => "no Modbus",
    };
    let (kept, most) = (sum.bytes_kept / 1024, sum.bytes_max / 1024);
    let gone = match sum.gone {
        0 => String::new(),
        gone => format!("; {gone} older entries are gone"),
    };
    format!("{}, {framing}: {kept} of {most} KiB kept{gone}\n", sum.bus)
}

/// An entry; `before` is when the last one was. The date is told when it changes.
pub(super) fn line(entry: &FrameReport, framing: Framing, before: Option<u64>) -> String {
    let mut text = String::new();
    let (date, time) = date_and_time(entry.wall_us);
    if before.is_none_or(|before| date_and_time(before).0 != date) {
        _ = writeln!(text, "{date}, UTC");
    }
    let arrow = match entry.kind {
        FrameKind::Sent => "->",
        FrameKind::Received => "<-",
        FrameKind::Note => "!!",
        FrameKind::Opened | FrameKind::Lost => "==",
    };
    let bytes = entry.bytes().unwrap_or_default();
    let shown = bytes.get(..SHOWN_MAX.min(bytes.len())).unwrap_or_default();
    let mut shown = match framing {
        Framing::Ascii | Framing::Plain => shown.escape_ascii().to_string(),
        Framing::Rtu | Framing::Tcp | Framing::Udp => {
            let pairs: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            pairs.join(" ")
        }
    };
    if bytes.len() > SHOWN_MAX {
        _ = write!(shown, " … {} B", bytes.len());
    }
    let line = if bytes.is_empty() {
        format!("{time} {arrow} {}", entry.words)
    } else {
        format!("{time} {arrow} {shown:<BYTES_WIDTH$}  {}", entry.words)
    };
    text.push_str(line.trim_end());
    text.push('\n');
    text
}

/// By the wall clock, in UTC: `2026-11-21` and `03:10:00.123456`.
fn date_and_time(wall_us: u64) -> (String, String) {
    /// The last microsecond of the year 9999.
    const LAST_US: u64 = 253_402_300_799_999_999;
    let time = UNIX_EPOCH + Duration::from_micros(wall_us.min(LAST_US));
    let text = humantime::format_rfc3339_micros(time).to_string();
    let (date, time) = text.split_once('T').unwrap_or(("", &text));
    (date.to_owned(), time.trim_end_matches('Z').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: FrameKind, hex: &str, words: &str) -> FrameReport {
        FrameReport {
            number: 0,
            wall_us: 1_795_230_600_123_456,
            mono_us: 0,
            kind,
            hex: hex.to_owned(),
            words: words.to_owned(),
            sound: None,
        }
    }

    #[test]
    fn an_entry_is_a_line_and_the_date_is_told_once() {
        let sent = entry(FrameKind::Sent, "0303006400", "unit 3 read holding 100+2");
        assert_eq!(
            line(&sent, Framing::Rtu, None),
            "2026-11-21, UTC\n\
             03:10:00.123456 -> 03 03 00 64 00                  unit 3 read holding 100+2\n"
        );
        let came = entry(FrameKind::Received, "242d0d0a", "");
        let before = Some(came.wall_us);
        assert_eq!(line(&came, Framing::Plain, before), "03:10:00.123456 <- $-\\r\\n\n");
        let note = entry(FrameKind::Note, "", "no answer");
        assert_eq!(line(&note, Framing::Rtu, before), "03:10:00.123456 !! no answer\n");
        let long = entry(FrameKind::Received, &"00".repeat(40), "");
        assert!(line(&long, Framing::Rtu, before).trim_end().ends_with("00 … 40 B"));
    }
}
