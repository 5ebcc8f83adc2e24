//! core: what `fieldpost status` shows to a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::queue_text::{parse, size, span, table};
use crate::control::{BusReport, DeviceReport, GatewayReport, SessionKind, SessionReport};
use crate::model::Timestamp;

const HEAD: [&str; 9] =
    ["device", "unit", "state", "for", "asked", "answered", "quality", "left out", "errors"];

/// The buses with their devices under one another, then the uplinks and the queue.
pub(super) fn status(
    gateway: &str,
    buses: &[BusReport],
    sum: &GatewayReport,
    now: Timestamp,
) -> String {
    let running = span(Duration::from_secs(sum.running_s));
    let mut text = format!("{gateway}, fieldpost {}, running for {running}\n", sum.version);
    for bus in buses {
        text.push('\n');
        text.push_str(&of_bus(bus, now));
    }
    text.push('\n');
    let queue = &sum.queue;
    for session in queue.sessions.iter().filter(|it| it.kind == SessionKind::Uplink) {
        text.push_str(&of_uplink(session, now));
    }
    let clients = queue.sessions.iter().filter(|it| it.kind == SessionKind::Client);
    let (count, waiting) = clients.fold((0, 0), |(count, waiting), client| {
        (count + 1, waiting + client.waiting + client.in_flight)
    });
    if count > 0 {
        _ = writeln!(text, "clients with a durable session: {count}, {waiting} messages for them");
    }
    _ = writeln!(text, "queue: {} of {}", size(queue.bytes_used), size(queue.bytes_max));
    if let Some(stuck) = &queue.stuck {
        _ = writeln!(text, "disk STUCK since {}: {}", stuck.since, stuck.cause);
    }
    text
}

fn of_bus(bus: &BusReport, now: Timestamp) -> String {
    let mut text = format!("{}: {}\n", bus.name, bus.port);
    let lasted = ago(&bus.since, now);
    _ = match (&bus.reason, bus.open) {
        (_, true) => writeln!(text, "  open for {lasted}"),
        (Some(reason), false) => writeln!(text, "  LOST for {lasted}: {reason}"),
        (None, false) => writeln!(text, "  opening for {lasted}"),
    };
    let went_wrong = errors(&bus.errors).map(|errors| format!("; {errors}")).unwrap_or_default();
    // Devices of a plain line may speak by themselves.
    let _ = if bus.asked == 0 && bus.devices.iter().any(|device| device.answered > 0) {
        writeln!(text, "  nothing was asked; its devices speak by themselves{went_wrong}")
    } else {
        writeln!(
            text,
            "  busy {:.0} %, {:.1} questions a second; {} asked, {} answered{went_wrong}",
            bus.utilisation * 100.0,
            bus.per_second,
            bus.asked,
            bus.answered,
        )
    };
    if !bus.devices.is_empty() {
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(bus.devices.iter().map(|device| row(device, now)));
        for line in table(&rows).lines() {
            _ = writeln!(text, "  {line}");
        }
    }
    for device in &bus.devices {
        // What stands above is not said again of each device.
        let last = device.last_error.as_ref().filter(|words| bus.reason.as_ref() != Some(words));
        if let Some(words) = last {
            let at = device.last_error_at.as_deref().map(|at| ago(at, now)).unwrap_or_default();
            _ = writeln!(text, "  {}, {at} ago: {words}", device.name);
        }
        for group in device.groups.iter().filter(|group| group.missed > 0) {
            let every = Duration::from_millis(group.every_ms);
            let (name, missed) = (&device.name, group.missed);
            _ = writeln!(text, "  {name}, every {every:?}: {missed} reads left out");
        }
        if !device.learnt.is_empty() {
            _ = writeln!(text, "  {}, found out: {}", device.name, device.learnt.join(", "));
        }
    }
    for hint in &bus.hints {
        _ = writeln!(text, "  => {hint}");
    }
    text
}

fn row(device: &DeviceReport, now: Timestamp) -> [String; 9] {
    let missed: u64 = device.groups.iter().map(|group| group.missed).sum();
    [
        device.name.clone(),
        device.unit.map_or("-".to_owned(), |unit| unit.to_string()),
        if device.state == "online" { device.state.clone() } else { device.state.to_uppercase() },
        ago(&device.since, now),
        device.asked.to_string(),
        device.answered.to_string(),
        device.quality.map_or("-".to_owned(), |quality| format!("{:.0} %", quality * 100.0)),
        missed.to_string(),
        errors(&device.errors).unwrap_or_default(),
    ]
}

fn of_uplink(session: &SessionReport, now: Timestamp) -> String {
    let state = match (session.configured, session.connected) {
        (false, _) => "not configured",
        (true, true) => "connected",
        (true, false) => "OFFLINE",
    };
    let mut text = format!("uplink {}: {state}, {} waiting", session.name, session.waiting);
    if session.in_flight > 0 {
        _ = write!(text, ", {} in flight", session.in_flight);
    }
    if let Some(oldest) = &session.oldest {
        _ = write!(text, ", the oldest since {}", ago(oldest, now));
    }
    if let Some(totals) = session.totals {
        _ = write!(text, "; {} delivered", totals.delivered);
        if totals.dropped > 0 {
            _ = write!(text, ", {} dropped", totals.dropped);
        }
    }
    text.push('\n');
    text
}

/// `no answer 3, checksum 1`.
fn errors(errors: &BTreeMap<String, u64>) -> Option<String> {
    let errors: Vec<String> =
        errors.iter().map(|(kind, count)| format!("{} {count}", kind.replace('_', " "))).collect();
    (!errors.is_empty()).then(|| errors.join(", "))
}

/// How long ago a time was.
fn ago(time: &str, now: Timestamp) -> String {
    parse(time).map_or_else(|| "?".to_owned(), |time| span(now.since(time)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{GroupReport, QueueReport, TotalsReport};

    #[test]
    fn a_gateway_is_shown_in_one_page() {
        let device = DeviceReport {
            name: "meter".to_owned(),
            unit: Some(3),
            state: "silent".to_owned(),
            since: "2026-11-21T03:09:00.000Z".to_owned(),
            asked: 120,
            answered: 100,
            quality: Some(0.25),
            errors: [("no_answer".to_owned(), 18), ("checksum".to_owned(), 2)].into(),
            last_error: Some("no answer".to_owned()),
            last_error_at: Some("2026-11-21T03:09:55.000Z".to_owned()),
            learnt: vec!["max_registers: 16".to_owned()],
            groups: vec![GroupReport { every_ms: 1000, missed: 7 }],
        };
        let bus = BusReport {
            name: "rs485".to_owned(),
            port: "Modbus RTU at /dev/ttyUSB0, 9600 baud, 8E1".to_owned(),
            open: true,
            since: "2026-11-21T02:10:00.000Z".to_owned(),
            reason: None,
            utilisation: 0.426,
            per_second: 12.34,
            asked: 120,
            answered: 100,
            passed_over: 0,
            errors: device.errors.clone(),
            hints: vec!["nobody on this line ever answered".to_owned()],
            devices: vec![device],
        };
        let pump = DeviceReport {
            name: "pump".to_owned(),
            last_error: Some("cannot connect".to_owned()),
            learnt: Vec::new(),
            groups: Vec::new(),
            ..bus.devices[0].clone()
        };
        let lost = BusReport {
            name: "plant".to_owned(),
            open: false,
            reason: Some("cannot connect".to_owned()),
            errors: BTreeMap::new(),
            hints: Vec::new(),
            devices: vec![pump],
            ..bus.clone()
        };
        let weigher = DeviceReport {
            name: "weigher".to_owned(),
            unit: None,
            state: "online".to_owned(),
            errors: BTreeMap::new(),
            last_error: None,
            learnt: Vec::new(),
            groups: Vec::new(),
            ..bus.devices[0].clone()
        };
        let line = BusReport {
            name: "scale".to_owned(),
            port: "line at /dev/ttyS1, 9600 baud, 8N1".to_owned(),
            asked: 0,
            errors: [("unfit".to_owned(), 3)].into(),
            hints: Vec::new(),
            devices: vec![weigher],
            ..bus.clone()
        };
        let session = SessionReport {
            name: "cloud".to_owned(),
            kind: SessionKind::Uplink,
            configured: true,
            connected: false,
            waiting: 1234,
            in_flight: 0,
            oldest: Some("2026-11-21T03:00:00.000Z".to_owned()),
            totals: Some(TotalsReport { delivered: 7, ..TotalsReport::default() }),
        };
        let queue = QueueReport {
            running: true,
            state_dir: String::new(),
            runtime_dir: None,
            bytes_used: 1_300_000,
            bytes_max: 256 << 20,
            age_max_s: 0,
            when_full: String::new(),
            stuck: None,
            staged_lost: false,
            sessions: vec![session],
        };
        let sum = GatewayReport { version: "0.1.0".to_owned(), running_s: 3600, queue };
        let now = Timestamp::from_unix_ms(1_795_230_600_000);
        let expected = "\
gw, fieldpost 0.1.0, running for 1h

rs485: Modbus RTU at /dev/ttyUSB0, 9600 baud, 8E1
  open for 1h
  busy 43 %, 12.3 questions a second; 120 asked, 100 answered; checksum 2, no answer 18
  device  unit  state   for  asked  answered  quality  left out  errors
  meter      3  SILENT  1m     120       100  25 %            7  checksum 2, no answer 18
  meter, 5s ago: no answer
  meter, every 1s: 7 reads left out
  meter, found out: max_registers: 16
  => nobody on this line ever answered

plant: Modbus RTU at /dev/ttyUSB0, 9600 baud, 8E1
  LOST for 1h: cannot connect
  busy 43 %, 12.3 questions a second; 120 asked, 100 answered
  device  unit  state   for  asked  answered  quality  left out  errors
  pump       3  SILENT  1m     120       100  25 %            0  checksum 2, no answer 18

scale: line at /dev/ttyS1, 9600 baud, 8N1
  open for 1h
  nothing was asked; its devices speak by themselves; unfit 3
  device   unit  state   for  asked  answered  quality  left out  errors
  weigher     -  online  1m     120       100  25 %            0

uplink cloud: OFFLINE, 1234 waiting, the oldest since 10m; 7 delivered
queue: 1.2 MiB of 256 MiB
";
        assert_eq!(status("gw", &[bus, lost, line], &sum, now), expected);
    }
}
