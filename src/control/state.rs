//! core: how a gateway is doing, short enough to be published again and again.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::bus_report::{BusReport, DeviceReport};
use super::report::SessionKind;
use crate::hub::HubStatus;
use crate::model::{Body, Message, QoS, Timestamp, TopicName};

/// How the gateway is doing.
#[derive(Debug, Serialize)]
struct State<'a> {
    time: String,
    version: &'static str,
    running_s: u64,
    buses: BTreeMap<&'a str, Bus<'a>>,
    uplinks: BTreeMap<&'a str, Uplink>,
    queue: Queue,
}

#[derive(Debug, Serialize)]
struct Bus<'a> {
    open: bool,
    utilisation: f64,
    per_second: f64,
    asked: u64,
    answered: u64,
    missed: u64,
    errors: &'a BTreeMap<String, u64>,
    devices: BTreeMap<&'a str, Device<'a>>,
}

#[derive(Debug, Serialize)]
struct Device<'a> {
    state: &'a str,
    since: &'a str,
    quality: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Uplink {
    connected: bool,
    waiting: u64,
}

#[derive(Debug, Serialize)]
struct Queue {
    bytes_used: u64,
    stuck: bool,
}

/// The message that says so on `topic`, retained.
pub(super) fn message(
    topic: &TopicName,
    buses: &[BusReport],
    hub: &HubStatus,
    running_s: u64,
    now: Timestamp,
) -> Message {
    let sessions = hub.sessions.iter().filter_map(|session| {
        let (kind, name) = SessionKind::of(&session.owner);
        let uplink = Uplink { connected: session.connected, waiting: session.queued };
        (kind == SessionKind::Uplink).then_some((name, uplink))
    });
    let state = State {
        time: now.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        running_s,
        buses: buses.iter().map(|bus| (bus.name.as_str(), of_bus(bus))).collect(),
        uplinks: sessions.collect(),
        queue: Queue { bytes_used: hub.bytes_used, stuck: hub.stuck.is_some() },
    };
    Message {
        topic: topic.clone(),
        // Numbers and texts are JSON, whatever they say.
        payload: Bytes::from(serde_json::to_string(&state).unwrap_or_default()),
        qos: QoS::AtMostOnce,
        retain: true,
        properties: None,
        accepted: now,
        expires: None,
        body: Body::Foreign,
    }
}

fn of_bus(bus: &BusReport) -> Bus<'_> {
    let device =
        |device: &'_ DeviceReport| device.groups.iter().map(|group| group.missed).sum::<u64>();
    Bus {
        open: bus.open,
        utilisation: bus.utilisation,
        per_second: bus.per_second,
        asked: bus.asked,
        answered: bus.answered,
        missed: bus.devices.iter().map(device).sum(),
        errors: &bus.errors,
        devices: bus
            .devices
            .iter()
            .map(|device| {
                let DeviceReport { name, state, since, quality, .. } = device;
                (name.as_str(), Device { state, since, quality: *quality })
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::GroupReport;

    #[test]
    fn a_state_is_short_and_is_retained_in_memory_alone() {
        let device = DeviceReport {
            name: "meter".to_owned(),
            unit: Some(3),
            state: "silent".to_owned(),
            since: "2026-11-21T03:09:00.000Z".to_owned(),
            asked: 20,
            answered: 10,
            quality: Some(0.5),
            errors: BTreeMap::new(),
            last_error: Some("no answer".to_owned()),
            last_error_at: None,
            learnt: Vec::new(),
            groups: [3, 4].map(|missed| GroupReport { every_ms: 1000, missed }).to_vec(),
        };
        let bus = BusReport {
            name: "rs485".to_owned(),
            port: String::new(),
            open: true,
            since: String::new(),
            reason: None,
            utilisation: 0.43,
            per_second: 12.3,
            asked: 20,
            answered: 10,
            passed_over: 0,
            errors: [("no_answer".to_owned(), 10)].into(),
            hints: Vec::new(),
            devices: vec![device],
        };
        let topic = TopicName::new("gw/gateway/state").expect("a topic");
        let now = Timestamp::from_unix_ms(1_795_230_600_123);
        let said = message(&topic, &[bus], &HubStatus::default(), 60, now);
        assert!(said.retain && said.qos == QoS::AtMostOnce);
        let expected = concat!(
            r#"{"time":"2026-11-21T03:10:00.123Z","version":""#,
            env!("CARGO_PKG_VERSION"),
            r#"","running_s":60,"buses":{"rs485":{"open":true,"utilisation":0.43,"per_second":12.3,"asked":20,"#,
            r#""answered":10,"missed":7,"errors":{"no_answer":10},"devices":{"meter":{"state":"silent","#,
            r#""since":"2026-11-21T03:09:00.000Z","quality":0.5}}}},"uplinks":{},"queue":{"bytes_used":0,"stuck":false}}"#
        );
        assert_eq!(std::str::from_utf8(&said.payload).expect("text"), expected);
    }
}
