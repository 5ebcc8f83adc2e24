use super::*;
use crate::command::writing::End;
use crate::field::{Place, PointSettings, Table, UnitId, Writable};
use crate::hub::{Arrival, Sender};
use crate::model::{Body, Message, Moment, QoS, Timestamp};

const NOW_MS: u64 = 1_795_230_600_000;

fn now() -> Moment {
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    let mono = Instant::now();
    Moment { mono, wall: Timestamp::from_unix_ms(NOW_MS), boot_ms: 60_000 }
}

fn devices() -> HashMap<Arc<str>, Arc<DeviceSettings>> {
    let point = |name: &str, address, value_type, writable: bool| PointSettings {
        writable: writable.then(Writable::default),
        ..PointSettings::new(
            name.into(),
            Place { table: Table::Holding, address, bit: None },
            value_type,
            Duration::from_secs(1),
        )
    };
    let text = ValueType::Text { length: 8, encoding: crate::field::Encoding::Guess };
    let device = DeviceSettings {
        name: "boiler".into(),
        bus: "plant".into(),
        unit: UnitId(1),
        points: vec![
            point("setpoint", 0, ValueType::U16, true),
            point("name", 1, text, true),
            point("flow", 9, ValueType::U16, false),
        ],
        computed: Vec::new(),
        allowed: Default::default(),
    };
    HashMap::from([(device.name.clone(), Arc::new(device))])
}

fn addressed(topic: &str, payload: &str) -> Addressed {
    let at = now();
    let message = Message {
        topic: TopicName::new(topic).expect("a topic"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        accepted: at.wall,
        expires: None,
        body: Body::Foreign,
    };
    let (user, address) = (None, None);
    let sender = Sender { name: "panel".into(), is_uplink: false, user, address };
    let arrival = Arrival { packet_id: Some(7), ..Arrival::default() };
    Addressed { message, sender, arrival, response_topic: None, at }
}

fn checked(addressed: &Addressed) -> Result<Order, Box<Refusal>> {
    check(addressed, "gw", &devices(), ClockState::default()).expect("a request")
}

#[track_caller]
fn refused(addressed: &Addressed) -> String {
    let Refusal { outcomes, .. } = *checked(addressed).expect_err("it is refused");
    assert!(outcomes.iter().all(|(_, outcome)| outcome.end == End::Refused));
    outcomes[0].1.reason.clone().expect("a reason")
}

#[test]
fn a_good_request_becomes_an_order_with_a_deadline() {
    let request = addressed("gw/boiler/setpoint/set", "5");
    let order = checked(&request).expect("it may be sent");
    assert_eq!((order.points.len(), order.points[0].0), (1, 0));
    assert_eq!(order.until, request.at.mono + DEADLINE);
    assert!(order.reply.is_single && order.unique.is_empty());
    assert_eq!(check(&addressed("gw/boiler", "5"), "gw", &devices(), ClockState::default()), None);
    let mut expires = addressed("gw/boiler/setpoint/set", "5");
    expires.message.expires = Some(expires.message.accepted.plus(Duration::from_secs(60)));
    let until = checked(&expires).expect("it may be sent").until;
    assert_eq!(until, expires.at.mono + Duration::from_secs(60));
}

#[test]
fn what_is_old_or_of_unknown_age_is_refused() {
    let mut retained = addressed("gw/boiler/setpoint/set", "5");
    retained.arrival.retained = true;
    assert!(refused(&retained).contains("retained"));
    let mut expired = addressed("gw/boiler/setpoint/set", "5");
    expired.message.expires = Some(expired.message.accepted);
    assert_eq!(refused(&expired), "its time was over when it came");
    let until = |ms| {
        let until = Timestamp::from_unix_ms(NOW_MS + ms);
        addressed("gw/boiler/setpoint/set", &format!(r#"{{"value":5,"valid_until":"{until}"}}"#))
    };
    assert_eq!(refused(&until(0)), "its time was over when it came");
    let soon = until(2_000);
    assert_eq!(
        checked(&soon).expect("it may be sent").until,
        soon.at.mono + Duration::from_secs(2)
    );
    let unsynced = check(&soon, "gw", &devices(), ClockState::Unsynced).expect("a request");
    assert!(unsynced.is_err());
}

#[test]
fn what_is_not_there_or_not_writable_is_refused_by_name() {
    let reason = |topic: &str| refused(&addressed(topic, "5"));
    assert_eq!(reason("gw/oven/setpoint/set"), "there is no device `oven`");
    assert_eq!(reason("gw/boiler/valve/set"), "device `boiler` has no point `valve`");
    assert_eq!(reason("gw/boiler/flow/set"), "this point is not `writable`");
}

#[test]
fn a_text_point_takes_a_payload_as_it_stands() {
    let order = checked(&addressed("gw/boiler/name/set", "0042")).expect("it may be sent");
    assert_eq!(order.points[0].1.value.to_string(), "0042");
    let quoted = checked(&addressed("gw/boiler/name/set", "\"0042\"")).expect("it may be sent");
    assert_eq!(quoted.points[0].1.value.to_string(), "0042");
}

#[test]
fn all_points_of_a_message_are_sent_or_none() {
    let order = checked(&addressed("gw/boiler/set", r#"{"setpoint": 5, "name": "x"}"#));
    let order = order.expect("it may be sent");
    assert_eq!(order.points.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
    let refusal = checked(&addressed("gw/boiler/set", r#"{"setpoint": 5, "flow": 1}"#));
    let refusal = refusal.expect_err("one is not writable");
    assert_eq!(refusal.outcomes.len(), 2);
    assert!(!refusal.reply.is_single);
}

#[test]
fn a_packet_is_known_again_when_it_says_that_it_is_repeated_and_an_id_always() {
    let plain = addressed("gw/boiler/setpoint/set", "5");
    let mut again = plain.clone();
    again.arrival.repeated = true;
    let (first, again) = (checked(&plain).expect("sent"), checked(&again).expect("sent"));
    assert_eq!((first.unique.len(), again.unique.len()), (0, 1));
    assert!(first.keys.contains(&again.unique[0]));
    let with_id = |payload: &str| checked(&addressed("gw/boiler/setpoint/set", payload));
    let one = with_id(r#"{"value": 5, "id": 1}"#).expect("sent");
    let two = with_id(r#"{"value": 6, "id": 1}"#).expect("sent");
    assert_eq!(one.unique, two.unique);
    assert_ne!(one.keys[0], two.keys[0]);
}
