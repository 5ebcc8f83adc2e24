//! core: the whole file as written, and what it makes the program run with.

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::bridge;
use super::broker::Broker;
use super::bus::Bus;
use super::device::Device;
use super::fields::{Field, Fields, Later};
use super::format;
use super::log_level;
use super::name;
use super::notes::{At, Given, Notes, Spot};
use super::reach;
use super::secret::SecretSource;
use super::settings::{GatewaySettings, LogSettings, Settings};
use super::template::{self, Library};
use super::tree::Node;
use super::uplink::{self, Uplink};
use crate::clock::ClockTrust;
use crate::payload::Format;
use crate::store::{QueueSettings, WhenFull};
use crate::uplink::UplinkSettings;

const EXAMPLE: &str =
    "begin with `gateway:`, `buses:`, `devices:` and `uplinks:`, each at the start of a line";
const GATEWAY_EXAMPLE: &str = "write `gateway: { id: pump-house }`";
const STATE_DIR_DEFAULT: &str = "/var/lib/fieldpost";
const SIZE_DEFAULT_BYTES: u64 = 256 << 20;
const SIZE_LEAST: (u64, &str) = (1 << 20, "1MiB");
const COMMIT_EVERY_DEFAULT: Duration = Duration::from_secs(1);
const AGE_DEFAULT: Duration = Duration::from_secs(30 * 86_400);
const ID_CHARACTERS_MAX: usize = 64;

const LATER: &[Later] = &[("console", "remove it: this version has no web page")];

/// `gateway` as written.
#[derive(Debug)]
struct Gateway {
    id: Given<Rc<str>>,
    state_dir: Given<Rc<str>>,
    runtime_dir: Given<Rc<str>>,
    clock: Given<ClockTrust>,
    format: Given<Format>,
}

/// The whole file as written.
#[derive(Debug)]
pub(super) struct File {
    gateway: Gateway,
    /// Every name under `buses`, also of those that could not be read.
    bus_names: Vec<Rc<str>>,
    buses: Vec<Bus>,
    devices: Vec<Device>,
    uplinks: Vec<Uplink>,
    broker: Option<Broker>,
    size_bytes_max: Given<u64>,
    age_max: Given<Duration>,
    commit_every: Given<Duration>,
    when_full: Given<WhenFull>,
    level: Given<Rc<str>>,
}

impl File {
    pub(super) fn read(
        root: &Node,
        library: &mut Library<'_>,
        notes: &mut Notes<'_>,
    ) -> Option<Self> {
        let spot = Spot::root().at(root.span);
        let mut fields = Fields::open(root, spot, EXAMPLE, notes)?;
        let gateway = read_gateway(&mut fields, notes);
        let folder = fields.given("templates", notes, |field, notes| {
            field.text("write a directory such as `/etc/fieldpost/templates`", notes)
        });
        if let Some(folder) = folder.written() {
            library.open(Rc::clone(&folder.value));
        }
        let broker = fields.take_filled("broker");
        // Without devices it serves its clients all the same, and what they publish has somewhere to go.
        let needs_devices = broker.is_none();
        let example = "rs485: { modbus-rtu: /dev/ttyUSB0 }";
        let buses = section(&mut fields, "buses", needs_devices, example, notes);
        let bus_names = buses.iter().map(|field| Rc::clone(&field.name)).collect();
        let buses: Vec<Bus> = buses.into_iter().filter_map(|f| Bus::read(&f, notes)).collect();
        let example = "meter: { bus: rs485, unit: 1, points: { power: { input: 52, type: f32 } } }";
        let devices: Vec<Device> = section(&mut fields, "devices", needs_devices, example, notes)
            .into_iter()
            .filter_map(|field| read_device(&field, library, notes))
            .collect();
        let uplinks = read_uplinks(&mut fields, needs_devices, notes);
        let broker = broker.and_then(|field| Broker::read(&field, notes));
        let (size_bytes_max, age_max, commit_every, when_full) = read_queue(&mut fields, notes);
        let level = read_log(&mut fields, notes);
        let instead =
            [("bus", "buses"), ("device", "devices"), ("mqtt", "uplinks"), ("logging", "log")];
        fields.finish(LATER, &instead, notes);
        name::warn_of_twins(buses.iter().map(|bus| &bus.name), notes);
        name::warn_of_twins(devices.iter().map(|device| &device.name), notes);
        name::warn_of_twins(uplinks.iter().map(|uplink| &uplink.name), notes);
        Some(Self {
            gateway,
            bus_names,
            buses,
            devices,
            uplinks,
            broker,
            size_bytes_max,
            age_max,
            commit_every,
            when_full,
            level,
        })
    }

    /// Applies defaults and checks what concerns more than one key; `None` only together with an error in `notes`.
    pub(super) fn settle(
        &self,
        secrets: &dyn SecretSource,
        notes: &mut Notes<'_>,
    ) -> Option<Settings> {
        self.check_ports(notes);
        self.check_units(notes);
        self.check_sessions(notes);
        let id = self.gateway.id.or(Rc::from(""));
        let buses = self.buses.iter().filter_map(|bus| bus.settle(notes)).collect();
        let lines = self.buses.iter().filter_map(|bus| bus.settle_line(notes)).collect();
        let (mut devices, mut formats) = (Vec::new(), Vec::new());
        for device in &self.devices {
            let settled = device.settle(&self.bus_names, &self.buses, notes);
            let Some(mut settled) = settled else { continue };
            let format = device.format(&self.gateway.format);
            settled.set_together(|point| format.is_together(point));
            formats.push((Arc::clone(&settled.name), format));
            devices.push(settled);
        }
        let uplinks: Vec<(Spot, UplinkSettings)> = self
            .uplinks
            .iter()
            .filter_map(|uplink| {
                Some((uplink.name.spot.clone(), uplink.settle(&id, secrets, notes)?))
            })
            .collect();
        bridge::check(&uplinks, notes);
        if self.broker.is_none() && !uplinks.is_empty() {
            let writable = self.devices.iter().flat_map(|device| device.writable(&id));
            reach::check(writable, &uplinks, notes);
        }
        let uplinks = uplinks.into_iter().map(|(_, uplink)| uplink).collect();
        let broker = self.broker.as_ref().map(|broker| broker.settle(notes)).unwrap_or_default();
        // While anything is wrong, a bus may look idle only because of that.
        if notes.has_errors() {
            return None;
        }
        self.warn_of_idle_buses(notes);
        Some(Settings {
            gateway: GatewaySettings {
                id: Arc::from(&*id),
                clock: self.gateway.clock.or(ClockTrust::Auto),
            },
            buses,
            lines,
            devices,
            formats,
            uplinks,
            broker,
            queue: QueueSettings {
                state_dir: PathBuf::from(&*self.gateway.state_dir.or(Rc::from(STATE_DIR_DEFAULT))),
                size_bytes_max: self.size_bytes_max.or(SIZE_DEFAULT_BYTES),
                age_max: self.age_max.or(AGE_DEFAULT),
                commit_every: self.commit_every.or(COMMIT_EVERY_DEFAULT),
                runtime_dir: self.gateway.runtime_dir.written().map(|at| PathBuf::from(&*at.value)),
                when_full: self.when_full.or(WhenFull::DropOldest),
            },
            log: LogSettings { level: Arc::from(&*self.level.or(Rc::from("info"))) },
        })
    }

    /// A serial port has one owner; a TCP device may have several, and many do not.
    fn check_ports(&self, notes: &mut Notes<'_>) {
        let mut known: HashMap<String, &Bus> = HashMap::new();
        for bus in &self.buses {
            let Some(port) = bus.port() else { continue };
            let Some(first) = known.get(&port.value) else {
                known.insert(port.value, bus);
                continue;
            };
            let message =
                format!("`{}` is the port of the bus `{}` already", port.value, first.name.value);
            if port.value.starts_with('/') {
                let remedy = "put the devices of both on one bus: a serial port has one owner";
                notes.error(&port.spot, message, remedy);
            } else {
                let remedy =
                    "put the devices of both on one bus: many devices allow one connection";
                notes.warning(&port.spot, message, remedy);
            }
        }
    }

    fn check_units(&self, notes: &mut Notes<'_>) {
        let mut known: HashMap<(Rc<str>, u8), &Rc<str>> = HashMap::new();
        for device in &self.devices {
            let Some((bus, unit)) = device.address() else { continue };
            let Some(first) = known.get(&(Rc::clone(bus), unit.value)) else {
                known.insert((Rc::clone(bus), unit.value), &device.name.value);
                continue;
            };
            let message =
                format!("unit {} of the bus `{bus}` is the device `{first}` already", unit.value);
            let remedy = "put the points of both under one device, unless that is what you want";
            notes.warning(&unit.spot, message, remedy);
        }
    }

    fn check_sessions(&self, notes: &mut Notes<'_>) {
        let mut known: HashMap<String, &Rc<str>> = HashMap::new();
        for uplink in &self.uplinks {
            for session in uplink.sessions(&self.gateway.id.or(Rc::from(""))) {
                let others =
                    known.get(&session.value).filter(|first| **first != &uplink.name.value);
                if let Some(first) = others {
                    let message =
                        format!("the uplink `{first}` goes to this broker with the same client id");
                    let remedy = "add `client_id:` with another name: a broker throws out the first of two with one id";
                    notes.error(&session.spot, message, remedy);
                }
                known.entry(session.value).or_insert(&uplink.name.value);
            }
        }
    }

    fn warn_of_idle_buses(&self, notes: &mut Notes<'_>) {
        for bus in &self.buses {
            if !self.devices.iter().any(|device| device.is_on(&bus.name.value)) {
                let message = format!("no device is on the bus `{}`", bus.name.value);
                notes.warning(&bus.name.spot, message, "remove it, or add its devices");
            }
        }
    }
}

/// Reads a device, with the template it uses under it.
fn read_device(
    field: &Field<'_>,
    library: &mut Library<'_>,
    notes: &mut Notes<'_>,
) -> Option<Device> {
    match template::apply(field, library, notes) {
        Some(node) => Device::read(&field.with(&node), notes).map(Device::with_template),
        None => Device::read(field, notes),
    }
}

/// Takes a group whose keys are names; `example` says what it should hold. Complains when it is missing and needed.
fn section<'n>(
    fields: &mut Fields<'n>,
    key: &'static str,
    is_needed: bool,
    example: &str,
    notes: &mut Notes<'_>,
) -> Vec<Field<'n>> {
    let help = format!("write `{key}:` and below it, indented, `{example}`");
    let Some(field) = fields.take(key) else {
        if is_needed {
            notes.error(&fields.head(), format!("the file has no `{key}`"), help);
        }
        return Vec::new();
    };
    let key_spot = field.key_spot.clone();
    let Some(mut group) = field.fields(&help, notes) else { return Vec::new() };
    let all = group.take_all();
    if all.is_empty() {
        notes.error(&key_spot, format!("`{key}` is empty"), help);
    }
    all
}

fn read_gateway(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Gateway {
    let wrong = Gateway {
        id: Given::Wrong,
        state_dir: Given::Absent,
        runtime_dir: Given::Absent,
        clock: Given::Absent,
        format: Given::Absent,
    };
    let Some(field) = fields.take("gateway") else {
        notes.error(&fields.head(), "the file has no `gateway`", GATEWAY_EXAMPLE);
        return wrong;
    };
    let key_spot = field.key_spot.clone();
    let Some(mut gateway) = field.fields(GATEWAY_EXAMPLE, notes) else {
        return wrong;
    };
    let id = gateway.given("id", notes, gateway_id);
    if id.is_absent() {
        notes.error(&key_spot, "the gateway has no `id`", GATEWAY_EXAMPLE);
    }
    let state_dir = gateway.given("state_dir", notes, |field, notes| {
        uplink::absolute_path(field, "write a path such as `/var/lib/fieldpost`", notes)
    });
    let runtime_dir = gateway.given("runtime_dir", notes, |field, notes| {
        uplink::absolute_path(field, "write a path such as `/run/fieldpost`", notes)
    });
    let clock = gateway.given("clock", notes, |field, notes| {
        let choices = [
            ("auto", ClockTrust::Auto),
            ("trusted", ClockTrust::Trusted),
            ("kernel", ClockTrust::Kernel),
        ];
        field.choice(&choices, &[], notes)
    });
    let format = gateway.given("format", notes, format::read);
    gateway.finish(&[], &[("name", "id"), ("client_id", "id")], notes);
    Gateway { id, state_dir, runtime_dir, clock, format }
}

fn gateway_id(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
    let id = field.text(GATEWAY_EXAMPLE, notes)?;
    let remedy = format!(
        "write 1 to {ID_CHARACTERS_MAX} letters a to z, digits, `-`, `_` and `.`: it is the first level of every topic"
    );
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(bad) = id.value.chars().find(|c| !is_plain(*c)) {
        notes.error(&id.spot, format!("the id of the gateway holds {bad:?}"), remedy);
        return None;
    }
    if id.value.len() > ID_CHARACTERS_MAX {
        let message = format!("the id of the gateway has {} characters", id.value.len());
        notes.error(&id.spot, message, remedy);
        return None;
    }
    Some(id)
}

fn read_uplinks(fields: &mut Fields<'_>, is_needed: bool, notes: &mut Notes<'_>) -> Vec<Uplink> {
    let Some(field) = fields.take_filled("uplinks") else {
        if !is_needed {
            return Vec::new();
        }
        let message = "the file has no `uplinks`: readings are kept and go nowhere";
        notes.warning(
            &fields.head(),
            message,
            "write `uplinks: { cloud: { url: \"mqtts://…\" } }`",
        );
        return Vec::new();
    };
    let example = "write `uplinks: { cloud: { url: \"mqtts://broker.example.com:8883\" } }`";
    let key_spot = field.key_spot.clone();
    let Some(mut group) = field.fields(example, notes) else { return Vec::new() };
    let all = group.take_all();
    if all.is_empty() {
        notes.warning(&key_spot, "`uplinks` is empty: readings are kept and go nowhere", example);
    }
    all.into_iter().filter_map(|field| Uplink::read(&field, notes)).collect()
}

fn read_queue(
    fields: &mut Fields<'_>,
    notes: &mut Notes<'_>,
) -> (Given<u64>, Given<Duration>, Given<Duration>, Given<WhenFull>) {
    let example = "write `queue: { max_size: 256MiB, max_age: 30d }`";
    let Some(mut queue) =
        fields.take_filled("queue").and_then(|field| field.fields(example, notes))
    else {
        return (Given::Absent, Given::Absent, Given::Absent, Given::Absent);
    };
    let ages = Duration::from_secs(60)..=Duration::from_secs(3_650 * 86_400);
    let size = queue.given("max_size", notes, |field, notes| field.size_bytes(SIZE_LEAST, notes));
    let age = queue.given("max_age", notes, |field, notes| field.duration(ages, notes));
    let when_full = queue.given("when_full", notes, |field, notes| {
        let choices = [
            ("drop-oldest", WhenFull::DropOldest),
            ("drop-newest", WhenFull::DropNewest),
            ("thin", WhenFull::Thin),
        ];
        field.choice(&choices, &[], notes)
    });
    let commits = Duration::ZERO..=Duration::from_secs(3600);
    let commit_every =
        queue.given("commit_every", notes, |field, notes| field.duration(commits, notes));
    queue.finish(&[], &[("size", "max_size"), ("age", "max_age")], notes);
    (size, age, commit_every, when_full)
}

fn read_log(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Given<Rc<str>> {
    let example = "write `log: { level: info }`";
    let Some(mut log) = fields.take_filled("log").and_then(|field| field.fields(example, notes))
    else {
        return Given::Absent;
    };
    let level = log.given("level", notes, log_level::read);
    log.finish(&[], &[], notes);
    level
}
