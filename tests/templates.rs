//! The templates that are part of the program: each against an answer of such a device, by the library and by whole gateways
//! with pymodbus at their end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests touch the machine, and a failure here fails the test"
)]

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use fieldpost::cli::{self, ExitStatus, TemplatesArgs};
use fieldpost::config::{self, NoTemplates, SystemSecrets, TemplateCard};
use fieldpost::field::modbus::decode::decode;
use fieldpost::field::modbus::pdu::{Data, ReadRange};
use fieldpost::field::{DeviceSettings, PointSettings, Sign, Table};
use fieldpost::model::{Quality, Value};
use serde_json::{Value as Json, json};
use support::{ModbusServer, Mosquitto, Site, Subscriber, wait_until};

/// What a device answers, recorded or simulated, and what that means.
struct Answer {
    /// YAML for `parameters`.
    parameters: String,
    registers: BTreeMap<(&'static str, u16), u16>,
    values: BTreeMap<String, Json>,
}

impl Answer {
    #[track_caller]
    fn of(template: &str) -> Self {
        let path = support::top().join(format!("tests/data/templates/{template}.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let json: Json = serde_json::from_str(&text).expect("JSON");
        assert!(json["from"].as_str().is_some_and(|from| !from.is_empty()), "{path:?}");
        let mut registers = BTreeMap::new();
        for (place, words) in json["registers"].as_object().expect("registers") {
            let (table, address) = place.split_once(' ').expect("a table and an address");
            let table = [Table::Coil, Table::DiscreteInput, Table::Holding, Table::Input]
                .into_iter()
                .find(|it| it.key() == table)
                .expect("a table");
            let first: u16 = address.parse().expect("an address");
            for (word, at) in words.as_str().expect("words").split(' ').zip(first..) {
                let word = u16::from_str_radix(word, 16).expect("a word");
                let before = registers.insert((table.key(), at), word);
                assert_eq!(before, None, "{path:?}: {place} overlaps with another");
            }
        }
        let values = json["values"].as_object().expect("values").clone().into_iter().collect();
        let parameters = json["parameters"].as_str().unwrap_or_default().to_owned();
        Self { parameters, registers, values }
    }

    /// What `point` is of this answer.
    fn decoded(&self, point: &PointSettings) -> (Option<Value>, Quality) {
        let place = point.place;
        let range = ReadRange::new(place.table, place.address, point.width()).expect("allowed");
        let words = (place.address..).take(usize::from(point.width())).map(|at| {
            let word = self.registers.get(&(place.table.key(), at));
            *word.unwrap_or_else(|| panic!("{} stands at {} {at}", point.name, place.table.key()))
        });
        let data = match place.table {
            Table::Coil | Table::DiscreteInput => Data::Bits(words.map(|it| it != 0).collect()),
            Table::Holding | Table::Input => Data::Registers(words.collect()),
        };
        decode(point, range, &data)
    }

    fn bank(&self) -> Vec<(&'static str, u16, u16)> {
        self.registers.iter().map(|((table, at), word)| (*table, *at, *word)).collect()
    }

    /// What all points that are published are of this answer.
    fn published(&self, device: &DeviceSettings) -> BTreeMap<String, Json> {
        let raw: Vec<_> = device.points.iter().map(|point| self.decoded(point)).collect();
        let mut all = BTreeMap::new();
        for (point, (value, quality)) in device.points.iter().zip(&raw) {
            let is_good = matches!(quality, Quality::Good | Quality::Invalid { .. });
            assert!(is_good, "{}: {quality:?}", point.name);
            if point.publish {
                all.insert(point.name.to_string(), value.as_ref().map_or(Json::Null, as_json));
            }
        }
        for made in &device.computed {
            let part = |index: usize| raw[index].0.as_ref().and_then(number);
            let value = made.formula.evaluate(&part);
            let value = value.map(|value| Value::Float { value, decimals: made.decimals });
            all.insert(made.name.to_string(), value.as_ref().map_or(Json::Null, as_json));
        }
        all
    }
}

fn as_json(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(**text),
        Value::List(items) => {
            items.iter().map(|it| it.as_ref().map_or(Json::Null, as_json)).collect()
        }
        Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float { .. } => {
            serde_json::from_str(&value.to_string()).expect("a number or a truth")
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    as_json(value).as_f64()
}

/// Whether they are the same, 1 and 1.0 being so.
fn is_same(one: &Json, other: &Json) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-9,
        _ => one == other,
    }
}

fn files() -> BTreeSet<String> {
    let entries = fs::read_dir(support::top().join("config/templates")).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names.map(|name| name.to_string_lossy().replace(".yaml", "")).collect()
}

fn cards() -> Vec<TemplateCard> {
    let (cards, wrong) = config::templates(&NoTemplates, None, None);
    assert!(wrong.is_empty(), "{}", wrong[0]);
    cards
}

fn device(template: &str, parameters: &str) -> DeviceSettings {
    let text = format!(
        "gateway: {{ id: g }}\nbuses: {{ b: {{ modbus-tcp: localhost }} }}\n\
         devices: {{ d: {{ bus: b, template: {template}, parameters: {{ {parameters} }} }} }}\n\
         uplinks: {{ u: {{ url: \"mqtt://localhost\" }} }}\n"
    );
    let parsed = config::parse("it", &text, &SystemSecrets::for_check());
    let mut parsed = parsed.unwrap_or_else(|complaints| panic!("{complaints}"));
    assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    parsed.settings.devices.pop().expect("one device")
}

#[test]
fn each_file_in_the_folder_is_part_of_the_program_and_says_where_it_is_from() {
    let cards = cards();
    let names: BTreeSet<String> = cards.iter().map(|card| card.name.clone()).collect();
    assert_eq!(names, files());
    assert!(names.len() >= 12, "{names:?}");
    for card in &cards {
        assert!(card.origin.url.is_some(), "{}: where is the document?", card.name);
        assert!(card.file.is_none() && !card.is_instead, "{}", card.name);
        let named: BTreeSet<_> = card.classes.iter().map(|(name, _)| &**name).collect();
        for point in card.device.points.iter().filter(|point| point.publish) {
            assert!(named.contains(&*point.name), "{}: the class of {}", card.name, point.name);
        }
    }
}

#[test]
fn no_two_points_of_a_template_overlap_but_for_bits_of_one_register() {
    for card in cards() {
        let mut taken: BTreeMap<(Table, u16), &PointSettings> = BTreeMap::new();
        for point in &card.device.points {
            for at in point.place.address..point.place.address + point.width() {
                let other = taken.insert((point.place.table, at), point);
                let picks = |it: &PointSettings| it.place.bit.is_some() || !it.bit_names.is_empty();
                let is_shared = other.is_none_or(|other| picks(other) && picks(point));
                assert!(is_shared, "{}: {}", card.name, point.name);
            }
        }
    }
}

#[test]
fn what_each_device_answers_means_what_its_manual_says() {
    for name in files() {
        let answer = Answer::of(&name);
        let found = answer.published(&device(&name, &answer.parameters));
        let names = |of: &BTreeMap<String, Json>| of.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&found), names(&answer.values), "{name}");
        for (point, value) in &answer.values {
            let found = &found[point];
            assert!(is_same(found, value), "{name}: {point} is {found} and not {value}");
        }
    }
}

/// How much speaks for a template, of what this device answers; `None` if something speaks against it.
fn weight(card: &TemplateCard, answer: &Answer) -> Option<u32> {
    let mut weight = 0;
    for sign in &card.fingerprint.signs {
        let Sign::Value(point, _) = sign else { continue };
        let mut places = (point.place.address..).take(usize::from(point.width()));
        if places.any(|at| !answer.registers.contains_key(&(point.place.table.key(), at))) {
            continue;
        }
        let (value, _) = answer.decoded(point);
        if value.is_none_or(|value| sign.holds_for(&value) != Some(true)) {
            return None;
        }
        weight += sign.weight();
    }
    Some(weight)
}

#[test]
fn each_device_is_known_by_what_it_answers() {
    let cards = cards();
    for card in &cards {
        let answer = Answer::of(&card.name);
        let own = weight(card, &answer).unwrap_or_else(|| panic!("{}", card.name));
        let values = card.fingerprint.signs.iter().filter(|it| matches!(it, Sign::Value(..)));
        assert_eq!(own, values.map(Sign::weight).sum::<u32>(), "{}: all of them hold", card.name);
        let rivals = cards.iter().filter_map(|it| Some((&it.name, weight(it, &answer)?)));
        let stronger: Vec<_> = rivals.filter(|(_, weight)| *weight > own).collect();
        // Three have nothing in their registers that tells them from others.
        assert!(stronger.is_empty() || own == 0, "{}: {own}, and {stronger:?}", card.name);
    }
}

#[test]
fn parameters_make_a_family_of_one_template() {
    let names = |device: &DeviceSettings| {
        device.points.iter().map(|point| point.name.to_string()).collect::<Vec<_>>()
    };
    let single = device("eastron-sdm630", "phases: 1");
    assert!(!names(&single).contains(&"voltage_l2".to_owned()));
    assert!(!names(&single).contains(&"energy_import_l1".to_owned()));
    let relays = device("waveshare-relay", "channels: 32");
    assert_eq!(relays.points.len(), 32);
    let last = relays.points.last().expect("there are some");
    assert_eq!((&*last.name, last.place.address), ("relay_32", 31));
    assert!(last.writable.is_some());
    let inverter = device("sunspec-inverter", "base: 0, common_length: 65, phases: 1");
    let power = inverter.points.iter().find(|point| &*point.name == "power").expect("it is there");
    assert_eq!(power.place.address, 83);
}

/// A gateway reads the devices of these templates, simulated by pymodbus, and all they say arrives.
#[test]
fn whole_gateways_publish_what_devices_of_five_templates_say() {
    let templates = [
        "sunspec-inverter",
        "eastron-sdm630",
        "socomec-countis-e34",
        "danfoss-fc51",
        "waveshare-relay",
    ];
    let answers: Vec<(&str, Answer)> =
        templates.iter().map(|name| (*name, Answer::of(name))).collect();
    let servers: Vec<ModbusServer> = answers
        .iter()
        .map(|(_, answer)| ModbusServer::pymodbus_tcp(&answer.bank(), None))
        .collect();
    let broker = Mosquitto::start();
    let far = Subscriber::paho(broker.port(), "far", "gw/+/+");
    let (mut buses, mut devices) = (String::new(), String::new());
    for ((name, answer), server) in answers.iter().zip(&servers) {
        buses +=
            &format!("  {name}: {{ modbus-tcp: \"127.0.0.1:{}\", timeout: 5s }}\n", server.port());
        let parameters = &answer.parameters;
        devices += &format!(
            "  {name}: {{ bus: {name}, unit: 1, template: {name}, parameters: {{ {parameters} }} }}\n"
        );
    }
    let site = Site::new();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}\nbuses:\n{buses}devices:\n{devices}uplinks: {{ far: {{ url: \"{}\" }} }}\n",
        broker.url(),
    ));
    // The same again as a template of the operator's own.
    let built_in = support::top().join("config/templates/waveshare-relay.yaml");
    let text = fs::read_to_string(built_in).expect("it is there");
    fs::create_dir(site.path().join("templates")).expect("a directory");
    let own = site.path().join("templates/waveshare-relay.yaml");
    fs::write(own, format!("{text}# ours\n")).expect("a file");
    let mut gateway = site.start();
    gateway.wait_for_log("template of your own taken instead of the one that is built in");
    let arrived = || {
        let mut seen: BTreeMap<String, Json> = BTreeMap::new();
        for message in far.received() {
            let reading: Json = serde_json::from_str(&message.payload).unwrap_or_default();
            if let Some(value) = reading.get("value") {
                seen.insert(message.topic.clone(), value.clone());
            }
        }
        seen
    };
    let wanted: usize = answers.iter().map(|(_, answer)| answer.values.len()).sum();
    wait_until("every point of every device arrives", || {
        assert!(!gateway.process().has_ended(), "{}", gateway.log());
        arrived().len() >= wanted
    });
    let arrived = arrived();
    for (name, answer) in &answers {
        for (point, value) in &answer.values {
            let found = &arrived[&format!("gw/{name}/{point}")];
            assert!(is_same(found, value), "{name}: {point} is {found} and not {value}");
        }
    }
    assert!(gateway.sigterm().success(), "{}", gateway.log());
}

#[test]
fn a_template_of_the_operators_own_goes_before_the_one_that_is_built_in_and_that_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let own = dir.path().join("templates");
    fs::create_dir(&own).expect("a directory");
    let text = "name: eastron-sdm120\ntitle: Ours\nclass: energy-meter\nsource: { title: ours }\npoints: { power: { holding: 7 } }\n";
    fs::write(own.join("eastron-sdm120.yaml"), text).expect("a file");
    let file = dir.path().join("fieldpost.yaml");
    let yaml = "gateway: { id: g }\nbuses: { b: { modbus-tcp: localhost } }\ndevices: { d: { bus: b, template: eastron-sdm120 } }\nuplinks: { u: { url: \"mqtt://localhost\" } }\n";
    fs::write(&file, yaml).expect("a file");
    let check = |json| {
        let args = cli::CheckArgs { file: file.clone(), topic: None, plan: true, json };
        let mut out = Vec::new();
        let status = cli::check(&args, &mut out).expect("a vector takes everything");
        assert_eq!(status, ExitStatus::Done);
        String::from_utf8(out).expect("text")
    };
    let out = check(false);
    assert!(
        out.contains("1 point, ") && out.contains("instead of the one that is built in"),
        "{out}"
    );
    assert!(out.contains("1 transaction"), "{out}");
    let report: Json = serde_json::from_str(&check(true)).expect("JSON");
    assert_eq!(report["templates"][0]["template"], "eastron-sdm120");
    assert_eq!(report["templates"][0]["instead_of_built_in"], true);
    // Another folder, in which there is none.
    fs::write(&file, format!("templates: elsewhere\n{yaml}")).expect("a file");
    let out = check(false);
    assert!(out.contains("13 points") && !out.contains("instead of"), "{out}");
}

fn templates(name: Option<&str>, dir: &str, json: bool) -> (ExitStatus, String) {
    let args = TemplatesArgs { name: name.map(str::to_owned), dir: dir.into(), yaml: false, json };
    let mut out = Vec::new();
    let status = cli::templates(&args, &mut out).expect("a vector takes everything");
    (status, String::from_utf8(out).expect("text"))
}

#[test]
fn the_command_lists_templates_and_shows_one() {
    let (status, out) = templates(None, "nowhere", false);
    assert_eq!((status, out.lines().count()), (ExitStatus::Done, files().len() + 1), "{out}");
    let (status, out) = templates(Some("danfoss-fc51"), "nowhere", false);
    assert_eq!(status, ExitStatus::Done);
    for words in ["Danfoss", "2 registers at most", "holding 50009", "-100 to 100", "setpoint"] {
        assert!(out.contains(words), "{words}: {out}");
    }
    let (_, out) = templates(Some("sunspec-inverter"), "nowhere", false);
    assert!(out.contains("common_length") && out.contains("1400204883"), "{out}");
    let (_, out) = templates(Some("eastron-sdm120"), "nowhere", true);
    let report: Json = serde_json::from_str(&out).expect("JSON");
    let point = &report["templates"][0]["points"][2];
    assert_eq!((&point["name"], &point["unit"]), (&json!("power"), &json!("W")));
    assert_eq!((&point["class"], &point["place"]), (&json!("power"), &json!("input 12")));
    let args = TemplatesArgs {
        name: Some("xy-md02".to_owned()),
        dir: "nowhere".into(),
        yaml: true,
        json: false,
    };
    let mut out = Vec::new();
    cli::templates(&args, &mut out).expect("a vector takes everything");
    let file = support::top().join("config/templates/xy-md02.yaml");
    assert_eq!(out, fs::read(file).expect("it is there"), "a copy to begin one's own with");
    let (status, out) = templates(Some("sdm630"), "nowhere", false);
    assert_eq!(status, ExitStatus::Wrong);
    assert!(out.contains("did you mean `eastron-sdm630`"), "{out}");
    assert!(out.starts_with("fieldpost templates: error: ") && !out.contains("devices"), "{out}");
    let dir = support::top().join("tests/data/config/invalid/templates").display().to_string();
    let (status, out) = templates(Some("bad-points"), &dir, false);
    assert_eq!(status, ExitStatus::Wrong);
    assert!(out.contains("bad-points.yaml:8:"), "{out}");
}
