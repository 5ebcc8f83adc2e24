//! core: the live table: every point as it stands upstream, the queue, the counts, what happened.

use std::fmt::Write as _;
use std::time::Duration;

use super::ledger::Row;
use crate::model::Timestamp;

/// Places of the bar that shows the queue.
const BAR_LEN: u64 = 30;
/// What the bar shows when it is full, at least: a steady queue of one or two must not look like trouble.
const BAR_FULL_MIN: u64 = 50;
/// Happenings shown, the latest last.
const HAPPENINGS: usize = 3;
/// A value this old did not come in time.
const OLD: Duration = Duration::from_secs(3);

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// What is known at one moment.
#[derive(Debug)]
pub struct View<'a> {
    /// Since the start.
    pub since: Duration,
    /// The wall clock, for ages.
    pub wall: Timestamp,
    /// The road in a few words.
    pub road: &'a str,
    /// The last values upstream.
    pub rows: Vec<&'a Row>,
    /// Whether the uplink is connected.
    pub connected: bool,
    /// For how long the upstream has been cut, if it is.
    pub cut_for: Option<Duration>,
    /// Messages that wait or are under way.
    pub queued: u64,
    /// Messages under way.
    pub in_flight: usize,
    /// The most that were queued.
    pub queue_peak: u64,
    /// Readings the gateway took.
    pub polled: u64,
    /// Readings that arrived.
    pub delivered: u64,
    /// Readings that are missing between those that arrived.
    pub lost: u64,
    /// Readings that arrived again.
    pub doubled: u64,
    /// What happened and when.
    pub happenings: &'a [(Duration, String)],
}

/// The lines of the table. Colours only where they are asked for; what they say the words say too.
#[must_use]
pub fn table(view: &View<'_>, colours: bool) -> Vec<String> {
    let paint = |colour: &str, text: &str| {
        if colours && !text.is_empty() { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    };
    let mut lines = vec![format!("fieldpost demo {:>6}  {}", age(view.since), view.road)];
    let head = format!("{:<9}{:<18}{:>12}  {:<5}{:>7}", "device", "point", "value", "unit", "age");
    lines.push(paint(DIM, &head));
    for row in &view.rows {
        let Row { device, point, value, unit, good, time } = row;
        let old = view.wall.since(*time);
        let mut line = format!("{device:<9}{point:<18}");
        let _ = write!(line, "{}  ", paint(if *good { "" } else { RED }, &format!("{value:>12}")));
        let shown = format!("{:>7}", age(old));
        let shown = if old > OLD { paint(YELLOW, &shown) } else { shown };
        let _ = write!(line, "{unit:<5}{shown}");
        if !good {
            line.push_str("  not good");
        }
        lines.push(line);
    }
    lines.push(String::new());
    lines.push(match (view.cut_for, view.connected) {
        (Some(cut), _) => format!("upstream   {}", paint(RED, &format!("cut for {}", age(cut)))),
        (None, false) => format!("upstream   {}", paint(YELLOW, "there, uplink not connected")),
        (None, true) => format!("upstream   {}", paint(GREEN, "connected")),
    });
    let full = view.queue_peak.max(BAR_FULL_MIN);
    let filled = (view.queued * BAR_LEN).div_ceil(full).min(BAR_LEN);
    let bar = |count: u64, mark: &str| mark.repeat(usize::try_from(count).unwrap_or_default());
    lines.push(format!(
        "queue {:>9}   [{}{}]  peak {}, under way {}",
        view.queued,
        paint(if view.connected { GREEN } else { YELLOW }, &bar(filled, "#")),
        bar(BAR_LEN - filled, "."),
        view.queue_peak,
        view.in_flight
    ));
    let count = |name: &str, count: u64| {
        let text = format!("{name} {count}");
        if count > 0 { paint(RED, &text) } else { text }
    };
    lines.push(format!(
        "polled {:>8}   delivered {}   {}   {}",
        view.polled,
        view.delivered,
        count("lost", view.lost),
        count("doubled", view.doubled)
    ));
    let first = view.happenings.len().saturating_sub(HAPPENINGS);
    for (at, what) in view.happenings.iter().skip(first) {
        lines.push(paint(DIM, &happening(*at, what)));
    }
    lines
}

/// One line for where no table can be drawn.
#[must_use]
pub fn progress(view: &View<'_>) -> String {
    let View { queued, polled, delivered, lost, doubled, .. } = view;
    let upstream = match (view.cut_for, view.connected) {
        (Some(_), _) => "cut",
        (None, false) => "not connected",
        (None, true) => "connected",
    };
    let since = age(view.since);
    format!(
        "{since:>6}  polled {polled}  delivered {delivered}  queue {queued}  lost {lost}  doubled {doubled}  upstream {upstream}"
    )
}

/// A line for something that happened.
#[must_use]
pub fn happening(at: Duration, what: &str) -> String {
    format!("{:>6}  {what}", age(at))
}

/// `0.2s`, `59.9s`, `12m05s`.
fn age(age: Duration) -> String {
    match age.as_secs() {
        ..60 => format!("{}.{}s", age.as_secs(), age.subsec_millis() / 100),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

/// How many rows of a terminal `columns` wide the lines take; what is too long is broken, not hidden.
#[must_use]
pub fn height(lines: &[String], columns: usize) -> usize {
    lines.iter().map(|line| width(line).div_ceil(columns.max(1)).max(1)).sum()
}

/// Characters that are seen: all but colours.
fn width(line: &str) -> usize {
    let mut count = 0;
    let mut hidden = false;
    for character in line.chars() {
        match character {
            '\x1b' => hidden = true,
            'm' if hidden => hidden = false,
            _ => count += usize::from(!hidden),
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(point: &str, value: &str, unit: &str, age_ms: u64) -> Row {
        Row {
            device: "boiler".into(),
            point: point.into(),
            value: value.into(),
            unit: unit.into(),
            good: true,
            time: Timestamp::from_unix_ms(1_000_000 - age_ms),
        }
    }

    fn view<'a>(rows: Vec<&'a Row>, happenings: &'a [(Duration, String)]) -> View<'a> {
        View {
            since: Duration::from_millis(7_300),
            wall: Timestamp::from_unix_ms(1_000_000),
            road: "MQTT 5.0, QoS 2",
            rows,
            connected: false,
            cut_for: Some(Duration::from_millis(2_300)),
            queued: 69,
            in_flight: 0,
            queue_peak: 138,
            polled: 300,
            delivered: 231,
            lost: 0,
            doubled: 0,
            happenings,
        }
    }

    #[test]
    fn a_table_says_everything_without_colours() {
        let rows = [row("flow_temperature", "56.5", "°C", 240), row("pump", "true", "", 65_000)];
        let happenings = [(Duration::from_secs(5), "upstream cut".to_owned())];
        let lines = table(&view(rows.iter().collect(), &happenings), false);
        assert_eq!(
            lines,
            [
                "fieldpost demo   7.3s  MQTT 5.0, QoS 2",
                "device   point                    value  unit     age",
                "boiler   flow_temperature          56.5  °C      0.2s",
                "boiler   pump                      true         1m05s",
                "",
                "upstream   cut for 2.3s",
                "queue        69   [###############...............]  peak 138, under way 0",
                "polled      300   delivered 231   lost 0   doubled 0",
                "  5.0s  upstream cut",
            ]
        );
    }

    #[test]
    fn colours_change_no_word() {
        let rows = [row("flow_temperature", "56.5", "°C", 5_000)];
        let view = View { lost: 1, ..view(rows.iter().collect(), &[]) };
        let (plain, painted) = (table(&view, false), table(&view, true));
        assert_ne!(plain, painted);
        for (plain, painted) in plain.iter().zip(&painted) {
            assert_eq!(width(plain), width(painted), "{painted:?}");
        }
    }

    #[test]
    fn long_lines_take_more_rows_of_a_narrow_terminal() {
        let lines = ["\x1b[31m0123456789\x1b[0m".to_owned(), String::new(), "°°°°°".to_owned()];
        assert_eq!(height(&lines, 80), 3);
        assert_eq!(height(&lines, 10), 3);
        assert_eq!(height(&lines, 4), 3 + 1 + 2);
    }

    #[test]
    fn a_line_tells_how_it_goes_where_no_table_can_be_drawn() {
        assert_eq!(
            progress(&view(Vec::new(), &[])),
            "  7.3s  polled 300  delivered 231  queue 69  lost 0  doubled 0  upstream cut"
        );
    }
}
