//! core: what `fieldpost queue` shows to a person: a table of the sessions, what a purge came to, what is damaged.

use std::fmt::Write as _;
use std::time::Duration;

use crate::control::{
    DamageReport, PurgeReport, QueueReport, SessionKind, SessionReport, VerifyReport,
};
use crate::model::Timestamp;

/// How the queue stands, as a technician reads it.
pub(super) fn status(report: &QueueReport, now: Timestamp) -> String {
    let mut text = String::new();
    let gateway = if report.running { "running" } else { "not running" };
    let mut line = |name: &str, words: String| _ = writeln!(text, "{name:<9} {words}");
    line("queue", format!("{}, gateway {gateway}", report.state_dir));
    if let Some(dir) = &report.runtime_dir {
        line("staged", dir.clone());
    }
    line("size", format!("{} of {}", size(report.bytes_used), size(report.bytes_max)));
    line("age", format!("at most {}", span(Duration::from_secs(report.age_max_s))));
    line("when full", report.when_full.clone());
    match &report.stuck {
        Some(stuck) => line("disk", format!("STUCK since {}: {}", stuck.since, stuck.cause)),
        None if report.running => line("disk", "takes what is written".to_owned()),
        None => {}
    }
    if report.staged_lost {
        line(
            "note",
            "what was staged last is not there: a power cut, or another runtime directory"
                .to_owned(),
        );
    }
    text.push('\n');
    if report.sessions.is_empty() {
        text.push_str("no sessions: nothing is kept for anybody\n");
        return text;
    }
    let head =
        ["session", "kind", "state", "waiting", "in flight", "oldest", "delivered", "dropped"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(report.sessions.iter().map(|session| row(session, report.running, now)));
    text.push_str(&table(&rows));
    for session in report.sessions.iter().filter(|session| !session.configured) {
        let _ = writeln!(
            text,
            "\nuplink {0} is not in the configuration: its messages wait until they are too old; \
             `fieldpost queue purge --uplink-gone {0}` removes them",
            session.name
        );
    }
    text
}

fn row(session: &SessionReport, running: bool, now: Timestamp) -> [String; 8] {
    let state = match (session.configured, session.connected) {
        (false, _) => "not configured",
        (true, true) => "connected",
        (true, false) if running => "offline",
        (true, false) => "",
    };
    let oldest = session.oldest.as_ref().map_or("-".to_owned(), |oldest| {
        let accepted = parse(oldest).filter(|accepted| accepted.is_set() && now >= *accepted);
        let ago = accepted.map(|accepted| format!(" ({} ago)", span(now.since(accepted))));
        format!("{oldest}{}", ago.unwrap_or_default())
    });
    let total = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
    [
        session.name.clone(),
        kind(session.kind).to_owned(),
        state.to_owned(),
        session.waiting.to_string(),
        session.in_flight.to_string(),
        oldest,
        total(session.totals.map(|totals| totals.delivered)),
        total(session.totals.map(|totals| totals.dropped)),
    ]
}

fn kind(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Uplink => "uplink",
        SessionKind::Client => "client",
    }
}

/// Columns under one another; numbers stand at the right of theirs.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..N).map(|at| width(at).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            let is_number = cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            let is_counted = rows
                .iter()
                .skip(1)
                .filter_map(|row| row.get(at))
                .all(|cell| cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
            if is_number || is_counted {
                let _ = write!(line, "{gap}{cell:>width$}");
            } else {
                let _ = write!(line, "{gap}{cell:<width$}");
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What a purge removed, or would remove.
pub(super) fn purge(report: &PurgeReport, done: bool) -> String {
    let mut text = String::new();
    let verb = if done { "removed" } else { "would remove" };
    let _ = writeln!(text, "{verb} {}", counted(report.messages, "message"));
    for session in &report.sessions {
        let _ = write!(text, "  {} {}: {}", kind(session.kind), session.name, session.removed);
        if session.in_flight > 0 {
            let _ = write!(text, ", {} in flight stay", session.in_flight);
        }
        text.push('\n');
    }
    if report.damaged > 0 {
        let _ = writeln!(text, "{verb} {}", counted(report.damaged, "damaged row"));
    }
    if let Some(name) = &report.ended {
        let _ = writeln!(
            text,
            "{verb} the session of uplink {name}, which is not in the configuration"
        );
    }
    text
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// One fault.
pub(super) fn damage(damage: &DamageReport) -> String {
    format!("{}: {}\n  {}\n", damage.place, damage.fault, damage.remedy)
}

/// What a verification came to.
pub(super) fn verify(report: &VerifyReport) -> String {
    let mut text = format!("{} read, ", counted(report.messages, "message"));
    match report.faults {
        0 => text.push_str("nothing is damaged\n"),
        count => _ = writeln!(text, "{}", counted(count, "fault")),
    }
    if !report.pages_checked {
        text.push_str("pages not checked: that needs a stopped gateway\n");
    }
    if report.torn_bytes > 0 {
        let _ = writeln!(
            text,
            "{} bytes of a last batch were torn off by a kill: acknowledged to nobody, and left out",
            report.torn_bytes
        );
    }
    text
}

/// `1.2 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = bytes * 10 / unit;
            match tenths % 10 {
                0 => format!("{} {name}", tenths / 10),
                rest => format!("{}.{rest} {name}", tenths / 10),
            }
        }
        None => format!("{bytes} bytes"),
    }
}

/// The two largest units of a duration, seconds at least: `3h 12m`.
pub(super) fn span(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut parts = Vec::new();
    for (seconds, unit) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
        if rest >= seconds {
            parts.push(format!("{}{unit}", rest / seconds));
        }
        rest %= seconds;
    }
    parts.truncate(2);
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// A time as the reports write it.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    humantime::parse_rfc3339(text).ok().map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{StuckReport, TotalsReport};

    fn report() -> QueueReport {
        let session = SessionReport {
            name: "cloud".to_owned(),
            kind: SessionKind::Uplink,
            configured: true,
            connected: false,
            waiting: 1234,
            in_flight: 100,
            oldest: Some("2026-11-21T03:10:00.123Z".to_owned()),
            totals: Some(TotalsReport { delivered: 7, ..TotalsReport::default() }),
        };
        let old = SessionReport {
            name: "old".to_owned(),
            configured: false,
            waiting: 1,
            in_flight: 0,
            oldest: None,
            ..session.clone()
        };
        QueueReport {
            running: true,
            state_dir: "/var/lib/fieldpost".to_owned(),
            runtime_dir: None,
            bytes_used: 1_300_000,
            bytes_max: 256 << 20,
            age_max_s: 30 * 24 * 3600,
            when_full: "drop-oldest".to_owned(),
            stuck: Some(StuckReport {
                cause: "disk full".to_owned(),
                since: "2026-11-21T03:00:00.000Z".to_owned(),
            }),
            staged_lost: false,
            sessions: vec![session, old],
        }
    }

    #[test]
    fn the_table_stands_in_columns() {
        let now = Timestamp::from_unix_ms(1_795_230_600_123 + 3_725_000);
        let text = status(&report(), now);
        let expected = "\
queue     /var/lib/fieldpost, gateway running
size      1.2 MiB of 256 MiB
age       at most 30d
when full drop-oldest
disk      STUCK since 2026-11-21T03:00:00.000Z: disk full

session  kind    state           waiting  in flight  oldest                               delivered  dropped
cloud    uplink  offline            1234        100  2026-11-21T03:10:00.123Z (1h 2m ago)          7        0
old      uplink  not configured        1          0  -                                             7        0

uplink old is not in the configuration: its messages wait until they are too old; `fieldpost queue purge --uplink-gone old` removes them
";
        // Where a column holds only numbers its head stands at the right as well.
        let squeeze = |text: &str| -> String {
            text.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(squeeze(&text), squeeze(expected), "\n{text}");
        let lines: Vec<usize> =
            text.lines().skip(6).take(3).map(|line| line.chars().count()).collect();
        assert!(lines.windows(2).all(|pair| pair[0] == pair[1]), "\n{text}");
    }

    #[test]
    fn sizes_and_spans_are_short() {
        assert_eq!(size(999), "999 bytes");
        assert_eq!(size(1 << 20), "1 MiB");
        assert_eq!(size((1 << 30) + (1 << 29)), "1.5 GiB");
        assert_eq!(span(Duration::from_millis(61_900)), "1m 1s");
        assert_eq!(span(Duration::from_secs(90_061)), "1d 1h");
        assert_eq!(span(Duration::ZERO), "0s");
    }
}
