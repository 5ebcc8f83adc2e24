use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::hub::Marks;
use crate::model::{Moment, PointName, Quality, Value};
use crate::payload::{Template, retouch};

#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
fn moment(unix_ms: u64, boot_ms: u64) -> Moment {
    let mono = Instant::now();
    Moment { mono, wall: Timestamp::from_unix_ms(unix_ms), boot_ms }
}

fn reading(value: Option<Value>, quality: Quality) -> Reading {
    Reading {
        point: PointName { device: "boiler".into(), point: "flow".into() },
        value,
        unit: Some("°C".into()),
        quality,
        taken: moment(1_795_230_600_123, 5_000),
    }
}

fn all(publisher: &mut Publisher, readings: &[Reading], clock: ClockState) -> Vec<Message> {
    let mut messages = Vec::new();
    publisher.readings(readings, clock, &mut messages).expect("well named");
    messages
}

fn one(publisher: &mut Publisher, reading: &Reading, clock: ClockState) -> Message {
    let messages = all(publisher, std::slice::from_ref(reading), clock);
    let [message] = &messages[..] else { panic!("{messages:?}") };
    message.clone()
}

#[test]
fn a_reading_becomes_the_documented_json() {
    let mut publisher = Publisher::new("pump-house".into(), 7);
    let value = Value::Float { value: 21.4, decimals: Some(1) };
    let reading = reading(Some(value), Quality::Good);
    let message = one(&mut publisher, &reading, ClockState::default());
    assert_eq!(message.body, Body::Reading { unsynced_at: None });
    assert_eq!(message.topic.as_str(), "pump-house/boiler/flow");
    assert_eq!(
        std::str::from_utf8(&message.payload).expect("text"),
        r#"{"value":21.4,"unit":"°C","quality":"good","time":"2026-11-21T03:10:00.123Z","id":"pump-house-7-1"}"#
    );
}

#[test]
fn a_reading_by_a_clock_nobody_can_believe_says_so() {
    let mut publisher = Publisher::new("pump-house".into(), 7);
    let mut reading = reading(Some(Value::Bool(true)), Quality::Good);
    let mut publish = |reading: &Reading, clock| {
        let message = one(&mut publisher, reading, clock);
        let json: serde_json::Value = serde_json::from_slice(&message.payload).expect("JSON");
        (json.get("clock").cloned(), message.body)
    };
    let marked = (Some("unsynced".into()), Body::Reading { unsynced_at: Some(5_000) });
    assert_eq!(publish(&reading, ClockState::Unsynced), marked);
    // It was taken before the clock was set, and is carried after.
    assert_eq!(publish(&reading, ClockState::Synced { since_ms: 5_001 }), marked);
    let plain = (None, Body::Reading { unsynced_at: None });
    assert_eq!(publish(&reading, ClockState::Synced { since_ms: 5_000 }), plain);
    reading.taken = moment(60_000, 5_000);
    assert_eq!(publish(&reading, ClockState::default()), marked);
}

#[test]
fn the_state_of_a_device_that_was_removed_is_taken_back() {
    let publisher = Publisher::new("gw".into(), 7);
    let time = Timestamp::default();
    let state = |topic: &str| {
        message(TopicName::new(topic).expect("a topic"), Bytes::from("online"), true, time)
    };
    let topics =
        ["gw/old/status", "gw/boiler/status", "gw/status", "gw/old/x/status", "lan/old/status"];
    let devices = BTreeSet::from(["boiler".into()]);
    let gone = publisher.taken_back(&topics.map(state), &devices, time);
    let gone: Vec<_> = gone.iter().map(|m| (m.topic.as_str(), m.retain, m.payload.len())).collect();
    assert_eq!(gone, [("gw/old/status", true, 0)]);
}

const RIGHT: Timestamp = Timestamp::from_unix_ms(1_795_230_600_123);

/// A gateway with one device, whose points `own` have formats of their own.
fn publisher(format: Format, own: &[(&str, PointFormat)]) -> Publisher {
    let points = own.iter().map(|(point, format)| ((*point).into(), format.clone())).collect();
    let format = DeviceFormat { format, points };
    Publisher::new("gw".into(), 7).with_formats([("boiler".into(), format)])
}

fn template(text: &str) -> PointFormat {
    PointFormat::Template(Arc::new(Template::parse(text).expect("right")))
}

fn of(point: &str, value: impl Into<Option<Value>>, quality: Quality) -> Reading {
    let point = PointName { device: "boiler".into(), point: point.into() };
    Reading { point, ..reading(value.into(), quality) }
}

fn good(point: &str, value: Value) -> Reading {
    of(point, value, Quality::Good)
}

fn text(message: &Message) -> &str {
    std::str::from_utf8(&message.payload).expect("text")
}

fn said(message: &Message) -> (&str, &str) {
    (message.topic.as_str(), text(message))
}

fn stale() -> Quality {
    Quality::Stale { reason: "no \"answer\"".into() }
}

#[test]
fn a_poll_of_a_device_becomes_one_message_with_the_good_values_apart_from_the_others() {
    let mut publisher = publisher(Format::Together { units: false }, &[]);
    let mut readings = [
        good("flow", Value::Float { value: 21.4, decimals: Some(1) }),
        of("return", Value::Int(-3), stale()),
        good("a\"b", Value::Text("x\ny".into())),
        of("alarm", None, Quality::Error { reason: "refused".into() }),
    ];
    readings[0].taken = moment(1_795_230_599_711, 4_588);
    let messages = all(&mut publisher, &readings, ClockState::default());
    assert_eq!(messages.len(), 1);
    assert_eq!(
        said(&messages[0]),
        (
            "gw/boiler",
            concat!(
                r#"{"time":"2026-11-21T03:10:00.123Z","id":"gw-7-1","span_ms":412,"#,
                r#""values":{"flow":21.4,"a\"b":"x\ny"},"#,
                r#""bad":{"return":{"value":-3,"quality":"stale","reason":"no \"answer\""},"#,
                r#""alarm":{"value":null,"quality":"error","reason":"refused"}}}"#,
            )
        )
    );
    serde_json::from_str::<serde_json::Value>(text(&messages[0])).expect("JSON");
    let next = one(&mut publisher, &good("flow", Value::Int(1)), ClockState::default());
    let expected = r#"{"time":"2026-11-21T03:10:00.123Z","id":"gw-7-2","values":{"flow":1}}"#;
    assert_eq!(text(&next), expected);
    assert_eq!(publisher.published(), 2, "one id a message");
    assert!(all(&mut publisher, &[], ClockState::default()).is_empty());
}

#[test]
fn the_units_are_in_a_message_of_a_device_if_they_are_wanted() {
    let mut publisher = publisher(Format::Together { units: true }, &[]);
    let without = Reading { unit: None, ..good("state", Value::Bool(true)) };
    let readings = [good("flow", Value::Int(1)), without, of("x", None, stale())];
    let messages = all(&mut publisher, &readings, ClockState::default());
    let json: serde_json::Value = serde_json::from_str(text(&messages[0])).expect("JSON");
    assert_eq!(json["units"], serde_json::json!({ "flow": "°C", "x": "°C" }));
    assert_eq!(json["values"], serde_json::json!({ "flow": 1, "state": true }));
    let silent = one(&mut publisher, &of("x", None, stale()), ClockState::default());
    assert!(text(&silent).contains(r#""values":{},"units":{"x":"°C"},"bad":{"x":"#), "{silent:?}");
}

#[test]
fn a_point_with_a_format_of_its_own_is_not_in_the_message_of_its_device() {
    let own = [("alarm", PointFormat::Value), ("text", PointFormat::Json)];
    let mut publisher = publisher(Format::Together { units: false }, &own);
    let readings = ["flow", "alarm", "text", "return"].map(|name| good(name, Value::Int(5)));
    let messages = all(&mut publisher, &readings, ClockState::default());
    let told: Vec<_> = messages.iter().map(said).collect();
    assert_eq!(told[0], ("gw/boiler/alarm", "5"));
    assert_eq!(told[1].0, "gw/boiler/text");
    assert_eq!(told[2].0, "gw/boiler");
    assert!(told[2].1.ends_with(r#""id":"gw-7-3","values":{"flow":5,"return":5}}"#), "{told:?}");
    let only_own = all(&mut publisher, &[good("alarm", Value::Int(5))], ClockState::default());
    assert_eq!(only_own.len(), 1);
}

#[test]
fn the_same_set_of_points_has_the_same_number_in_any_order() {
    let mut publisher = publisher(Format::Together { units: false }, &[]);
    let mut points = |names: &[&str]| {
        let readings: Vec<_> = names.iter().map(|name| good(name, Value::Int(1))).collect();
        let messages = all(&mut publisher, &readings, ClockState::default());
        let Body::Device { points, .. } = messages[0].body else { panic!("{messages:?}") };
        points
    };
    assert_eq!(points(&["a", "b", "c"]), points(&["c", "a", "b"]));
    assert_ne!(points(&["a", "b", "c"]), points(&["a", "b"]));
    assert_ne!(points(&["ab"]), points(&["ba"]));
}

#[test]
fn a_bare_value_is_what_it_is_and_one_that_is_not_good_is_not_published() {
    let mut publisher = publisher(Format::Each(PointFormat::Value), &[]);
    let list = Value::List(Arc::from([Some(Value::Text("a\"".into())), None]));
    for (value, expected) in [
        (Value::Float { value: 21.4, decimals: Some(2) }, "21.40"),
        (Value::Bool(true), "true"),
        (Value::Text("a \"b\"".into()), "a \"b\""),
        (Value::UInt(u64::MAX), "18446744073709551615"),
        (list, r#"["a\"",null]"#),
    ] {
        let message = one(&mut publisher, &good("flow", value), ClockState::Unsynced);
        assert_eq!(said(&message), ("gw/boiler/flow", expected));
        assert_eq!(message.body, Body::Worded { unsynced: None });
    }
    let not_good = [of("flow", Value::Int(1), stale()), of("flow", None, stale())];
    assert!(all(&mut publisher, &not_good, ClockState::default()).is_empty());
    assert_eq!(publisher.published(), 5);
}

#[test]
fn a_template_has_its_fields_filled_in_as_they_stand() {
    let filled = |text: &str, reading: &Reading| {
        let mut publisher = publisher(Format::Each(template(text)), &[]);
        let message = one(&mut publisher, reading, ClockState::default());
        self::text(&message).to_owned()
    };
    let number = good("flow", Value::Float { value: 21.4, decimals: Some(1) });
    let words = good("flow", Value::Text("a\"b\n".into()));
    assert_eq!(
        filled(r#"{"v":{value},"t":{time_ms}}"#, &number),
        r#"{"v":21.4,"t":1795230600123}"#
    );
    assert_eq!(filled(r#"{"v":{value},"u":{unit}}"#, &words), r#"{"v":"a\"b\n","u":"°C"}"#);
    assert_eq!(filled(r#"{"v":"<{value}>"}"#, &words), r#"{"v":"<a\"b\n>"}"#);
    assert_eq!(filled("{value} {unit}", &words), "a\"b\n °C");
    let line = "flow,site={gateway},device={device} {point}={value} {time_ns}";
    assert_eq!(filled(line, &number), "flow,site=gw,device=boiler flow=21.4 1795230600123000000");
    let everything = r#"[{time},{time_s},"{clock}",{id},{quality},{reason},"{reason}",{unit}]"#;
    let bare = Reading { unit: None, ..of("flow", None, Quality::Good) };
    assert_eq!(
        filled(everything, &bare),
        r#"["2026-11-21T03:10:00.123Z",1795230600,"synced","gw-7-1","good",null,"",null]"#
    );
    assert_eq!(
        filled(r#"{"v":{value},"q":{quality},"why":{reason}}"#, &of("flow", None, stale())),
        r#"{"v":null,"q":"stale","why":"no \"answer\""}"#
    );
}

#[test]
fn a_template_that_cannot_say_the_quality_is_for_good_values_only() {
    let mut silent = publisher(Format::Each(template(r#"{"v":{value}}"#)), &[]);
    let reading = of("flow", Value::Int(1), stale());
    assert!(all(&mut silent, std::slice::from_ref(&reading), ClockState::default()).is_empty());
    let mut frank = publisher(Format::Each(template("{value} {quality}")), &[]);
    assert_eq!(text(&one(&mut frank, &reading, ClockState::default())), "1 stale");
}

/// What a format says before and after its time is set right, taken a minute after a boot in 1970.
fn redated(format: PointFormat, value: Value) -> (String, String) {
    let mut publisher = publisher(Format::Each(format), &[]);
    let reading = Reading { taken: moment(60_000, 60_000), ..good("flow", value) };
    let message = one(&mut publisher, &reading, ClockState::Unsynced);
    let right = Marks { time: Some(RIGHT), late: false };
    let touched = retouch(&message.payload, message.body, right);
    let late = Marks { time: None, late: true };
    if let Body::Worded { .. } = message.body {
        assert_eq!(
            retouch(&message.payload, message.body, late),
            message.payload,
            "no room for it"
        );
    }
    (text(&message).to_owned(), String::from_utf8(touched.to_vec()).expect("text"))
}

#[test]
fn every_time_of_a_template_is_set_right_and_nothing_that_only_looks_like_it() {
    let words = r#"{"v":{value},"t":{time_ms},"s":{time_s},"at":{time},"c":"{clock}"}"#;
    let (said, right) = redated(template(words), Value::Int(60_000));
    let expected = r#"{"v":60000,"t":60000,"s":60,"at":"1970-01-01T00:01:00.000Z","c":"unsynced"}"#;
    assert_eq!(said, expected);
    assert_eq!(
        right,
        r#"{"v":60000,"t":1795230600123,"s":1795230600,"at":"2026-11-21T03:10:00.123Z","c":"synced"}"#
    );
    let (said, right) = redated(template("{time_ns}{value}"), Value::Int(60_000));
    assert_eq!((&*said, &*right), ("6000000000060000", "179523060012300000060000"));
    let (said, right) = redated(template("{value}"), Value::Int(60_000));
    assert_eq!((&*said, &*right), ("60000", "60000"));
    let like_ours = Value::Text(r#"{"value":1,"time":"x","clock":"unsynced"}"#.into());
    let (said, right) = redated(PointFormat::Value, like_ours);
    assert_eq!(said, right, "a device said that");
}

#[test]
fn the_time_of_a_device_is_set_right_whatever_its_points_are_called() {
    let mut publisher = publisher(Format::Together { units: false }, &[]);
    let mut readings = ["time", "late", "clock"].map(|name| good(name, Value::Text("x".into())));
    for (later, reading) in readings.iter_mut().enumerate() {
        reading.taken = moment(60_000, 60_000 + later as u64);
    }
    readings[1].value = Some(Value::Bool(true));
    let messages = all(&mut publisher, &readings, ClockState::Unsynced);
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(message.body.unsynced_at(), Some(60_002), "the last of them");
    let values = r#""id":"gw-7-1","span_ms":2,"values":{"time":"x","late":true,"clock":"x"}}"#;
    let before = format!(r#"{{"time":"1970-01-01T00:01:00.000Z","clock":"unsynced",{values}"#);
    assert_eq!(text(message), before);
    let touch = |payload: &Bytes, time, late| retouch(payload, message.body, Marks { time, late });
    let right = touch(&message.payload, Some(RIGHT), false);
    assert_eq!(right, format!(r#"{{"time":"2026-11-21T03:10:00.123Z",{values}"#));
    let late = touch(&right, None, true);
    let expected = right.strip_suffix(b"}").map(|all| [all, br#","late":true}"#].concat());
    assert_eq!(Some(late.to_vec()), expected);
    assert_eq!(touch(&late, Some(RIGHT), true), late, "once");
    assert_eq!(touch(&message.payload, None, false), message.payload);
}

#[test]
fn a_poll_during_which_the_clock_was_set_spans_what_has_passed() {
    let mut publisher = publisher(Format::Together { units: false }, &[]);
    let mut readings = ["a", "b"].map(|name| good(name, Value::Int(1)));
    readings[0].taken = moment(60_000, 60_000);
    readings[1].taken = Moment {
        mono: readings[0].taken.mono + Duration::from_millis(30),
        ..moment(1_795_230_600_123, 60_030)
    };
    let messages = all(&mut publisher, &readings, ClockState::Synced { since_ms: 60_010 });
    let begin = r#"{"time":"2026-11-21T03:10:00.123Z","id":"gw-7-1","span_ms":30,"#;
    assert!(text(&messages[0]).starts_with(begin), "{messages:?}");
}

fn any_value() -> impl Strategy<Value = Value> {
    let float = (-1e12..1e12f64, prop::option::of(0..9u8));
    let one = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::UInt),
        float.prop_map(|(value, decimals)| Value::Float { value, decimals }),
        any::<String>().prop_map(|text| Value::Text(text.into())),
    ];
    let list = prop::collection::vec(prop::option::of(one.clone()), 0..4);
    prop_oneof![4 => one, 1 => list.prop_map(|list| Value::List(list.into()))]
}

proptest! {
    #[test]
    fn whatever_a_device_says_its_message_is_json_and_every_good_value_is_in_it(
        said in prop::collection::btree_map("[^/+#\\x00]{1,8}", (any_value(), any::<bool>()), 1..8),
        is_synced in any::<bool>(),
        units in any::<bool>(),
    ) {
        let quality = |is_good: bool| if is_good { Quality::Good } else { stale() };
        let said: Vec<_> = said.into_iter().collect();
        let readings = said.iter().map(|(name, (value, is_good))| {
            of(name, value.clone(), quality(*is_good))
        });
        let readings: Vec<_> = readings.collect();
        let mut publisher = publisher(Format::Together { units }, &[]);
        let clock = if is_synced { ClockState::default() } else { ClockState::Unsynced };
        let messages = all(&mut publisher, &readings, clock);
        prop_assert_eq!(messages.len(), 1);
        let marks = Marks { time: Some(RIGHT), late: true };
        let touched = retouch(&messages[0].payload, messages[0].body, marks);
        for payload in [&messages[0].payload, &touched] {
            let json: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
            for (name, (value, is_good)) in &said {
                let mut expected = String::new();
                crate::payload::push_value(&mut expected, value);
                let expected: serde_json::Value = serde_json::from_str(&expected).expect("JSON");
                let (own, bad) = (&json["values"][name], &json["bad"][name]);
                if *is_good {
                    prop_assert_eq!(own, &expected);
                    prop_assert!(bad.is_null());
                } else {
                    prop_assert!(own.is_null());
                    prop_assert_eq!(&bad["value"], &expected);
                }
            }
        }
        let json: serde_json::Value = serde_json::from_slice(&touched).expect("JSON");
        prop_assert_eq!(&json["time"], &RIGHT.to_string());
        prop_assert_eq!((json.get("clock"), &json["late"]), (None, &true.into()));
    }

    #[test]
    fn a_template_that_is_json_gives_json_whatever_a_device_says(value in any_value(), unit in any::<Option<String>>()) {
        let text = r#"{"v":{value},"s":"<{value}>","u":{unit},"w":"{unit}","t":[{time},{time_ms}]}"#;
        let mut publisher = publisher(Format::Each(template(text)), &[]);
        let reading = Reading { unit: unit.as_deref().map(Into::into), ..good("flow", value.clone()) };
        let message = one(&mut publisher, &reading, ClockState::Unsynced);
        let right = Marks { time: Some(RIGHT), late: true };
        for payload in [&message.payload, &retouch(&message.payload, message.body, right)] {
            let json: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
            prop_assert_eq!(json["u"].as_str(), unit.as_deref());
            prop_assert_eq!(json["w"].as_str(), unit.as_deref().or(Some("")));
            if let Value::Text(text) = &value {
                prop_assert_eq!(json["v"].as_str(), Some(&**text));
                let quoted = format!("<{text}>");
                prop_assert_eq!(json["s"].as_str(), Some(&*quoted));
            }
        }
    }

    #[test]
    fn any_text_is_a_template_or_an_error_and_what_is_no_field_stands(text in any::<String>()) {
        if let Ok(template) = Template::parse(&text)
            && !text.contains('{')
        {
            let mut publisher = publisher(Format::Each(PointFormat::Template(Arc::new(template))), &[]);
            let message = one(&mut publisher, &good("flow", Value::Int(1)), ClockState::default());
            prop_assert_eq!(self::text(&message), text);
        }
    }
}
