//! shell: how a bus is named on the command line, and how it is reached: over its port, or through the gateway that has it.
#![allow(clippy::disallowed_methods, reason = "looks whether two paths are one device file")]

use std::path::PathBuf;
use std::time::Duration;

use super::snippet::{self, Key, quoted};
use crate::cli::place::Place;
use crate::commission::Asker;
use crate::config::{self, Settings, SystemSecrets};
use crate::control::is_listening;
use crate::field::{BusSettings, DeviceSettings, UnitId};

const CONFIG_DEFAULT: &str = "/etc/fieldpost/fieldpost.yaml";

const NO_BUS: &str = "no bus is named: write `--modbus-rtu /dev/ttyUSB0` or `--modbus-tcp 192.0.2.10`, or `--bus` or \
                      `--device` with a name that the configuration has";

/// Which bus, in the words of the configuration, or one that the configuration has.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Bus")]
pub struct BusArgs {
    /// A serial port with Modbus RTU
    #[arg(long, value_name = "PORT", group = "bus-port")]
    pub modbus_rtu: Option<String>,
    /// A serial port with Modbus ASCII
    #[arg(long, value_name = "PORT", group = "bus-port")]
    pub modbus_ascii: Option<String>,
    /// A Modbus TCP device or gateway
    #[arg(long, value_name = "HOST[:PORT]", group = "bus-port")]
    pub modbus_tcp: Option<String>,
    /// Modbus TCP frames over UDP
    #[arg(long, value_name = "HOST[:PORT]", group = "bus-port")]
    pub modbus_udp: Option<String>,
    /// A converter that passes the bytes of a serial line with Modbus RTU on
    #[arg(long, value_name = "HOST:PORT", group = "bus-port")]
    pub modbus_rtu_over_tcp: Option<String>,
    /// A converter that passes the bytes of a serial line with Modbus ASCII on
    #[arg(long, value_name = "HOST:PORT", group = "bus-port")]
    pub modbus_ascii_over_tcp: Option<String>,
    /// Bits per second of the serial port [default: 9600]
    #[arg(long, value_name = "RATE")]
    pub baud: Option<u32>,
    /// Parity of the serial port: none, even or odd [default: even]
    #[arg(long, value_name = "PARITY")]
    pub parity: Option<String>,
    /// Stop bits of the serial port, 1 or 2 [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub stop_bits: Option<u8>,
    /// Data bits of the serial port, 8, or 7 with Modbus ASCII
    #[arg(long, value_name = "COUNT")]
    pub data_bits: Option<u8>,
    /// How long a device has for its answer [default: 300ms, over a network 1s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// A bus of the configuration: asked through the gateway if that runs, so that its port need not be freed
    #[arg(long, value_name = "NAME", conflicts_with = "bus-port")]
    pub bus: Option<String>,
    /// A device of the configuration, which says bus and unit
    #[arg(long, value_name = "NAME", conflicts_with_all = ["bus-port", "bus"])]
    pub device: Option<String>,
    /// The gateway's configuration file
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_DEFAULT)]
    pub config: PathBuf,
}

/// A bus that can be asked.
#[derive(Debug)]
pub struct Station {
    /// What it is, in the words of the command line: `/dev/ttyUSB0` or `bus rs485`.
    pub name: String,
    /// Its settings.
    pub bus: BusSettings,
    /// The device that was named.
    pub device: Option<DeviceSettings>,
    /// Where the gateway that has the bus is asked.
    gateway: Option<Place>,
    /// What somebody should look at all the same.
    pub notes: Vec<String>,
}

impl BusArgs {
    fn keys(&self) -> Vec<Key> {
        let text = |key, value: &Option<String>| Some((key, quoted(value.as_deref()?)));
        let number = |key, value: Option<u32>| Some((key, value?.to_string()));
        let timeout = self.timeout.map(|timeout| ("timeout", format!("{}ms", timeout.as_millis())));
        [
            text("modbus-rtu", &self.modbus_rtu),
            text("modbus-ascii", &self.modbus_ascii),
            text("modbus-tcp", &self.modbus_tcp),
            text("modbus-udp", &self.modbus_udp),
            text("modbus-rtu-over-tcp", &self.modbus_rtu_over_tcp),
            text("modbus-ascii-over-tcp", &self.modbus_ascii_over_tcp),
            number("baud", self.baud),
            text("parity", &self.parity),
            number("stop_bits", self.stop_bits.map(u32::from)),
            number("data_bits", self.data_bits.map(u32::from)),
            timeout,
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Finds the bus, and whether a gateway has it; `unit` is one of it that is to be asked.
    ///
    /// # Errors
    /// What is wrong with the command line or the configuration, in lines for the operator.
    pub fn find(&self, unit: Option<u8>) -> Result<Station, String> {
        let keys = self.keys();
        let is_named = self.bus.is_some() || self.device.is_some();
        if !is_named {
            if keys.is_empty() {
                return Err(NO_BUS.to_owned());
            }
            let at_zero = [("holding", "0".to_owned())];
            let snippet = snippet::parse(&keys, unit.unwrap_or(1), &at_zero)?;
            return Ok(self.with_its_gateway(snippet.bus, snippet.warnings));
        }
        if let Some((key, _)) = keys.first() {
            return Err(format!(
                "the configuration says what `--{}` is: leave it out, or name the port instead of the bus",
                key.replace('_', "-")
            ));
        }
        let settings = load(&self.config)?;
        let device = self.device.as_deref().map(|name| find_device(&settings, name)).transpose()?;
        let name = match (&device, &self.bus) {
            (Some(device), _) => device.bus.to_string(),
            (None, Some(name)) => name.clone(),
            (None, None) => return Err("name a bus".to_owned()),
        };
        let bus = settings.buses.iter().find(|bus| *bus.name == *name).cloned();
        let Some(bus) = bus else { return Err(no_bus(&settings, &name)) };
        if let Some(unit) =
            unit.filter(|unit| bus.port.serial().is_some() && !(1..=247).contains(unit))
        {
            return Err(format!("unit {unit} is none of a serial line: those are 1 to 247"));
        }
        let place = place(&settings);
        let is_running = place.sockets().iter().any(|socket| is_listening(socket));
        Ok(Station {
            name: format!("bus {name}"),
            bus,
            device,
            gateway: is_running.then_some(place),
            notes: Vec::new(),
        })
    }

    /// A port of the command line: if the gateway of the configuration runs and has it, it is asked through that.
    fn with_its_gateway(&self, bus: BusSettings, mut notes: Vec<String>) -> Station {
        let name = match (&bus.port.serial(), &self.keys().first()) {
            (Some(serial), _) => serial.path.to_string(),
            (None, Some((_, endpoint))) => endpoint.trim_matches('"').to_owned(),
            (None, None) => String::new(),
        };
        if let Some((its, place)) = self.gateway_with(&bus) {
            notes.push(format!(
                "{name} belongs to the gateway that runs, as bus `{}`: it is asked through that, with its settings",
                its.name
            ));
            return Station { name, bus: its, device: None, gateway: Some(place), notes };
        }
        Station { name, bus, device: None, gateway: None, notes }
    }

    fn gateway_with(&self, bus: &BusSettings) -> Option<(BusSettings, Place)> {
        let wanted = std::fs::canonicalize(&*bus.port.serial()?.path).ok()?;
        let settings = load(&self.config).ok()?;
        let is_it = |its: &&BusSettings| {
            let path = its.port.serial().map(|serial| std::fs::canonicalize(&*serial.path));
            path.is_some_and(|path| path.is_ok_and(|path| path == wanted))
        };
        let its = settings.buses.iter().find(is_it)?.clone();
        let place = place(&settings);
        place.sockets().iter().any(|socket| is_listening(socket)).then_some((its, place))
    }
}

impl Station {
    /// The unit to ask: the one that is said, or that of the device, or 1.
    #[must_use]
    pub fn unit(&self, said: Option<u8>) -> UnitId {
        let device = self.device.as_ref().map(|device| device.unit);
        said.map(UnitId).or(device).unwrap_or(UnitId(1))
    }

    /// Opens its port or finds its gateway; needs a runtime.
    #[must_use]
    pub fn asker(&self) -> Asker {
        match &self.gateway {
            Some(place) => Asker::through_gateway(
                place.sockets(),
                place.state_dir.clone(),
                self.bus.name.to_string(),
            ),
            None => Asker::direct(self.bus.clone()),
        }
    }
}

fn load(file: &std::path::Path) -> Result<Settings, String> {
    match config::load(file, &SystemSecrets::for_check()) {
        Ok(parsed) => Ok(parsed.settings),
        Err(complaints) => Err(complaints.to_string().trim_end().to_owned()),
    }
}

fn place(settings: &Settings) -> Place {
    let queue = &settings.queue;
    Place { state_dir: queue.state_dir.clone(), runtime_dir: queue.runtime_dir.clone() }
}

fn find_device(settings: &Settings, name: &str) -> Result<DeviceSettings, String> {
    let device = settings.devices.iter().find(|device| *device.name == *name);
    let known: Vec<&str> = settings.devices.iter().map(|device| &*device.name).collect();
    device.cloned().ok_or_else(|| {
        format!("the configuration has no device `{name}`; it has {}", known.join(", "))
    })
}

fn no_bus(settings: &Settings, name: &str) -> String {
    if settings.lines.iter().any(|line| *line.name == *name) {
        return format!(
            "`{name}` is a plain serial line: what comes over it cannot be asked for by register"
        );
    }
    let known: Vec<&str> = settings.buses.iter().map(|bus| &*bus.name).collect();
    format!("the configuration has no bus `{name}`; it has {}", known.join(", "))
}
