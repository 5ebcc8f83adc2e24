//! shell: `fieldpost scan`: finds the units of a bus, on its port or through a running gateway.
#![allow(clippy::disallowed_methods, reason = "a command reads the clock and waits for its scan")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::queue::is_closed_pipe;
use super::scan_screen::Screen;
use super::{ExitStatus, scan_json};
use crate::commission::Asker;
use crate::commission::scan::setting::{Choice, Setting};
use crate::commission::scan::{News, Place, Road, Scan, ScanSettings, Way, advice, paste, words};
use crate::config::{self, Endpoint, SystemSecrets, TemplateFolder};
use crate::field::modbus::pdu::ReadRange;
use crate::field::{BusSettings, Fingerprint, Parity, PortSettings, Table, TcpSettings, UnitId};
use crate::service::Signals;

/// How long a unit on a port of this machine has, beyond the silence that ends a request.
const TIMEOUT_PORT: Duration = Duration::from_millis(100);
/// One behind a converter, whose network and line take time of their own.
const TIMEOUT_CONVERTER: Duration = Duration::from_millis(300);
/// One on a network: gateways wait a second for their units as a rule.
const TIMEOUT_NETWORK: Duration = Duration::from_millis(1_100);
/// Where Modbus TCP listens (Modbus messaging on TCP/IP 1.0b, section 3.1.3).
const PORT_OF_MODBUS: u16 = 502;
/// What many converters listen at.
const PORT_OF_CONVERTERS: u16 = 4001;
/// What our own processes are called.
const PROGRAM: &str = "fieldpost";
/// The highest unit id (Modbus over serial line 1.02, section 2.2).
const UNIT_MAX: u8 = 247;

const NOTES: &str = "\
Without --baud, --parity and the like, the settings are tried that one meets: unit ids 1 to 16 at each of them first, then the \
rest. A setting with units is asked to its end, and no other after it unless --all-settings says so.\n\n\
What was found goes to standard output as configuration to paste, progress and advice to standard error. Ctrl-C stops, and \
what was found until then is printed.\n\n\
Exit status: 0 if a unit was found; 1 if none was, or the port failed; 2 if the command line or the configuration is wrong.";

/// Arguments of `scan`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = NOTES)]
pub struct ScanArgs {
    /// A serial port with Modbus RTU on it, such as /dev/ttyUSB0
    #[arg(value_name = "PORT", group = "where")]
    pub port: Option<String>,
    /// The same, in the words of the configuration
    #[arg(long, value_name = "PORT", group = "where")]
    pub modbus_rtu: Option<String>,
    /// A serial port with Modbus ASCII on it
    #[arg(long, value_name = "PORT", group = "where")]
    pub modbus_ascii: Option<String>,
    /// A device with Modbus TCP, or a Modbus gateway with a line behind it
    #[arg(long, value_name = "HOST[:PORT]", group = "where")]
    pub modbus_tcp: Option<String>,
    /// The same in datagrams
    #[arg(long, value_name = "HOST[:PORT]", group = "where")]
    pub modbus_udp: Option<String>,
    /// A converter that passes the bytes of Modbus RTU on
    #[arg(long, value_name = "HOST:PORT", group = "where")]
    pub modbus_rtu_over_tcp: Option<String>,
    /// A converter that passes the characters of Modbus ASCII on
    #[arg(long, value_name = "HOST:PORT", group = "where")]
    pub modbus_ascii_over_tcp: Option<String>,
    /// A bus of the running gateway: asked while nothing else is due, at the settings it has
    #[arg(long, value_name = "NAME", group = "where")]
    pub bus: Option<String>,
    /// The configuration of the running gateway; templates of your own lie beside it
    #[arg(short, long, value_name = "FILE", default_value = "/etc/fieldpost/fieldpost.yaml")]
    pub config: PathBuf,
    /// Only these baud rates: 9600,19200
    #[arg(long, value_name = "RATES", value_delimiter = ',', value_parser = rate)]
    pub baud: Vec<u32>,
    /// Only these parities: none,even,odd
    #[arg(long, value_name = "PARITIES", value_delimiter = ',')]
    pub parity: Vec<ScanParity>,
    /// Only these stop bits: 1,2
    #[arg(long, value_name = "BITS", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=2))]
    pub stop_bits: Vec<u8>,
    /// Only these data bits, with Modbus ASCII: 7,8
    #[arg(long, value_name = "BITS", value_delimiter = ',', requires = "modbus_ascii",
        value_parser = clap::value_parser!(u8).range(7..=8))]
    pub data_bits: Vec<u8>,
    /// Only these unit ids: 1-32,100
    #[arg(long, short, value_name = "IDS", default_value = "1-247", value_parser = units)]
    pub units: Units,
    /// What each id is asked for: the first register or bit of this table
    #[arg(long, value_name = "TABLE", default_value = "holding")]
    pub ask: ScanTable,
    /// How long each id has for its answer [default: 100ms on a port, 300ms behind a converter, 1.1s on a network]
    #[arg(long, value_name = "TIME", value_parser = patience)]
    pub timeout: Option<Duration>,
    /// Go on with other settings when units were found
    #[arg(long)]
    pub all_settings: bool,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// A parity on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ScanParity {
    /// No parity bit.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// A table on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ScanTable {
    /// Holding registers (function 3).
    Holding,
    /// Input registers (function 4).
    Input,
    /// Coils (function 1).
    Coil,
    /// Discrete inputs (function 2).
    Discrete,
}

/// Unit ids in the order they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units(pub Vec<u8>);

/// Scans.
///
/// # Errors
/// The port cannot be opened, no gateway runs, or `out` cannot be written to.
pub fn scan(args: &ScanArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (place, road) = match place(args) {
        Ok(found) => found,
        Err(words) => {
            eprintln!("fieldpost scan: {words}");
            return Ok(ExitStatus::Wrong);
        }
    };
    let settings = settings(args, &place);
    let mut screen = Screen::new(args.quiet);
    let begin = Instant::now();
    let scan = runtime.block_on(run(settings, &place, road, &mut screen));
    // A question that waits at a gateway need not be waited for.
    runtime.shutdown_background();
    let scan = scan?;
    screen.clear();
    match &advice(&scan, &place)[..] {
        [] => eprintln!("{}", told(&scan, begin.elapsed())),
        [first, rest @ ..] => {
            eprintln!("{first}");
            rest.iter().for_each(|line| eprintln!("  - {line}"));
        }
    }
    let text = if args.json {
        format!("{:#}\n", scan_json::to_json(&scan, &place))
    } else {
        paste(&scan, &place)
    };
    match write!(out, "{text}").map_err(anyhow::Error::from) {
        // Whoever read has seen enough.
        Err(error) if !is_closed_pipe(&error) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let found = scan.found().next().is_some();
    Ok(if found { ExitStatus::Done } else { ExitStatus::Failed })
}

async fn run(
    settings: ScanSettings,
    place: &Place,
    mut road: Road,
    screen: &mut Screen,
) -> anyhow::Result<Scan> {
    let mut signals = Signals::listen().context("cannot listen for Ctrl-C")?;
    let mut scan = Scan::new(settings, Instant::now());
    let others = road.open(scan.setting(0)).await.map_err(|error| busy(&error.to_string()))?;
    if let Some(gateway) = others.iter().find(|it| it.contains(PROGRAM)) {
        // Whoever may do everything is not kept out.
        return Err(busy(&format!(
            "{} is held by {gateway} (two that ask disturb each other)",
            place.address()
        )));
    }
    if !others.is_empty() {
        screen.say(&format!("{} has the port open, too; answers may go there", others.join(", ")));
    }
    screen.say(&announced(&scan, place));
    while let Some(ask) = scan.poll_ask(Instant::now()) {
        let setting = scan.setting(ask.setting);
        tokio::select! {
            outcome = road.ask(ask, setting) => match outcome {
                Ok((outcome, more)) => scan.handle_outcome(outcome, more, Instant::now()),
                Err(error) if scan.progress().asked == 0 => return Err(error.into()),
                // What was found is worth more than the error.
                Err(error) => scan.handle_failure(&error.to_string()),
            },
            _ = signals.next() => scan.handle_stop(),
        }
        while let Some(news) = scan.poll_news() {
            match news {
                News::Unit(index) => {
                    let case = scan.cases().get(index).filter(|case| case.is_found());
                    if let Some(case) = case {
                        let at = scan
                            .setting(case.setting)
                            .map_or(String::new(), |it| format!(" at {it}"));
                        screen.say(&format!(
                            "unit {}{at}: {}",
                            case.unit.0,
                            words::unit(&scan, case, place)
                        ));
                    }
                }
                News::Left(setting) => {
                    let setting = scan.setting(setting).map_or(String::new(), |it| it.to_string());
                    screen.say(&format!("{setting} is left: noise comes whatever is asked"));
                }
            }
        }
        screen.show(&scan);
    }
    Ok(scan)
}

/// Why a port cannot be used; one that our own gateway has need not be freed.
fn busy(words: &str) -> anyhow::Error {
    if words.contains(PROGRAM) {
        anyhow::anyhow!(
            "{words}; a gateway that runs need not be stopped: `fieldpost scan --bus NAME -c FILE` scans through it"
        )
    } else {
        anyhow::anyhow!("{words}")
    }
}

/// What will be done, and how long it may take.
fn announced(scan: &Scan, place: &Place) -> String {
    let ScanSettings { settings, units, .. } = scan.settings();
    let settings = match settings.len() {
        1 => scan.setting(0).map_or(String::new(), |it| format!(" at {it}")),
        count => format!(" at {count} settings"),
    };
    let ids =
        if units.len() == 1 { "1 unit id".to_owned() } else { format!("{} unit ids", units.len()) };
    let left = clock(scan.progress().left);
    format!("asking {ids}{settings} on {}: up to {left}, Ctrl-C ends it", place.address())
}

fn told(scan: &Scan, took: Duration) -> String {
    let count = scan.found().count();
    if scan.answers_to_any() {
        return format!("1 device found in {}; it answers to every unit id", clock(took));
    }
    let units = if count == 1 { "1 unit".to_owned() } else { format!("{count} units") };
    let stopped = if scan.is_stopped() { ", stopped before the end" } else { "" };
    let failed =
        scan.failure().map_or(String::new(), |failure| format!(", ended because {failure}"));
    format!("{units} found in {}{stopped}{failed}", clock(took))
}

/// Minutes and seconds.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1_000);
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn settings(args: &ScanArgs, place: &Place) -> ScanSettings {
    let parity = |parity: &ScanParity| match parity {
        ScanParity::None => Parity::None,
        ScanParity::Even => Parity::Even,
        ScanParity::Odd => Parity::Odd,
    };
    let choice = Choice {
        baud: args.baud.clone(),
        data_bits: args.data_bits.clone(),
        parity: args.parity.iter().map(parity).collect(),
        stop_bits: args.stop_bits.clone(),
    };
    let settings = match &place.port {
        PortSettings::Rtu(serial) | PortSettings::Ascii(serial) if place.is_configured => {
            vec![Some(Setting::from(serial))]
        }
        PortSettings::Rtu(_) => Setting::to_try(&choice, false).into_iter().map(Some).collect(),
        PortSettings::Ascii(_) => Setting::to_try(&choice, true).into_iter().map(Some).collect(),
        PortSettings::Tcp(_)
        | PortSettings::Tls(..)
        | PortSettings::Udp(_)
        | PortSettings::RtuOverTcp(_)
        | PortSettings::AsciiOverTcp(_) => vec![None],
    };
    let timeout = place.timeout.or(args.timeout).unwrap_or(match place.way() {
        Way::Port => TIMEOUT_PORT,
        Way::Converter => TIMEOUT_CONVERTER,
        Way::Network => TIMEOUT_NETWORK,
    });
    let table = match args.ask {
        ScanTable::Holding => Table::Holding,
        ScanTable::Input => Table::Input,
        ScanTable::Coil => Table::Coil,
        ScanTable::Discrete => Table::DiscreteInput,
    };
    ScanSettings {
        settings,
        units: args.units.0.iter().copied().map(UnitId).collect(),
        first: ReadRange::new(table, 0, 1).expect("every table has a first register or bit"),
        timeout,
        goes_on: args.all_settings,
        is_network: place.way() == Way::Network,
        fingerprints: fingerprints(&args.config),
    }
}

/// What the templates say of their devices; those that cannot be used are `fieldpost templates`' to complain of.
fn fingerprints(config: &Path) -> Vec<Fingerprint> {
    let (cards, _) = config::templates(&TemplateFolder::beside(config), None, None);
    cards.into_iter().map(|card| card.fingerprint).collect()
}

fn patience(text: &str) -> Result<Duration, String> {
    let patience = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(1)..=Duration::from_secs(60);
    range
        .contains(&patience)
        .then_some(patience)
        .ok_or_else(|| "must be from 1ms to 60s".to_owned())
}

/// Reads `1-32,100`.
fn units(text: &str) -> Result<Units, String> {
    let number = |text: &str| {
        let unit = text.trim().parse::<u8>().ok().filter(|unit| (1..=255).contains(unit));
        unit.ok_or_else(|| {
            format!("`{text}` is no unit id: write 1 to {UNIT_MAX}, such as `1-32,100`")
        })
    };
    let mut all = Vec::new();
    for part in text.split(',') {
        let (from, to) = match part.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None => (number(part)?, number(part)?),
        };
        if from > to {
            return Err(format!("`{part}` ends before it begins: write `{to}-{from}`"));
        }
        all.extend((from..=to).filter(|unit| !all.contains(unit)).collect::<Vec<u8>>());
    }
    Ok(Units(all))
}

/// Where to scan, and how to ask there.
fn place(args: &ScanArgs) -> Result<(Place, Road), String> {
    let serial = |path: &String| {
        let usual = Setting { baud: 9_600, data_bits: 8, parity: Parity::None, stop_bits: 1 };
        if path.starts_with('/') { Ok(usual.on(path)) } else { Err(no_path(path)) }
    };
    let to = |text: &String, usual| endpoint(text, usual);
    let port = if let Some(bus) = &args.bus {
        return through_gateway(args, bus);
    } else if let Some(path) = args.port.as_ref().or(args.modbus_rtu.as_ref()) {
        PortSettings::Rtu(serial(path)?)
    } else if let Some(path) = &args.modbus_ascii {
        PortSettings::Ascii(serial(path)?)
    } else if let Some(host) = &args.modbus_tcp {
        PortSettings::Tcp(to(host, Some(PORT_OF_MODBUS))?)
    } else if let Some(host) = &args.modbus_udp {
        PortSettings::Udp(to(host, Some(PORT_OF_MODBUS))?)
    } else if let Some(host) = &args.modbus_rtu_over_tcp {
        PortSettings::RtuOverTcp(to(host, None)?)
    } else if let Some(host) = &args.modbus_ascii_over_tcp {
        PortSettings::AsciiOverTcp(to(host, None)?)
    } else {
        return Err(nowhere());
    };
    let is_port = port.serial().is_some();
    if !is_port && is_line_chosen(args) {
        return Err("a baud rate, parity or bits belong to a serial port of this machine: what stands at the far end \
             has its own"
            .to_owned());
    }
    let bus = BusSettings {
        name: Arc::from(if is_port { "rs485" } else { "plant" }),
        port: port.clone(),
        timeout: TIMEOUT_NETWORK,
        probe_share: 5,
        in_flight: 1,
    };
    let place = Place {
        bus: bus.name.clone(),
        port,
        is_configured: false,
        timeout: None,
        known: Vec::new(),
    };
    let too_high = args.units.0.iter().find(|unit| **unit > UNIT_MAX);
    if let Some(unit) = too_high.filter(|_| place.way() != Way::Network) {
        return Err(format!("unit {unit} cannot be on a serial line: write 1 to {UNIT_MAX}"));
    }
    Ok((place, Road::direct(bus)))
}

/// A bus of the gateway that runs with the configuration in `args`.
fn through_gateway(args: &ScanArgs, name: &str) -> Result<(Place, Road), String> {
    let parsed = config::load(&args.config, &SystemSecrets::for_check());
    let settings = parsed.map_err(|complaints| complaints.to_string())?.settings;
    let Some(bus) = settings.buses.iter().find(|bus| &*bus.name == name) else {
        let names: Vec<String> =
            settings.buses.iter().map(|bus| format!("`{}`", bus.name)).collect();
        let names = if names.is_empty() { "none".to_owned() } else { words::list(&names) };
        return Err(format!(
            "{} has no Modbus bus `{name}`; it has {names}",
            args.config.display()
        ));
    };
    if is_line_chosen(args) || args.all_settings {
        return Err(format!(
            "a running bus keeps its settings{}: others would disturb its devices; to try them, stop the gateway and scan \
             the port itself",
            bus.port
                .serial()
                .map_or(String::new(), |serial| format!(" ({})", Setting::from(serial)))
        ));
    }
    if args.timeout.is_some() {
        return Err(format!(
            "a running bus keeps its time-out ({} ms): leave `--timeout` out",
            bus.timeout.as_millis()
        ));
    }
    let devices = settings.devices.iter().filter(|device| device.bus == bus.name);
    let place = Place {
        bus: bus.name.clone(),
        port: bus.port.clone(),
        is_configured: true,
        timeout: Some(bus.timeout),
        known: devices.map(|device| (device.unit, device.name.clone())).collect(),
    };
    let (state_dir, runtime_dir) = (settings.queue.state_dir, settings.queue.runtime_dir);
    let gateway = super::place::Place { state_dir, runtime_dir };
    let sockets = gateway.sockets();
    let asker = Asker::through_gateway(sockets, gateway.state_dir, name.to_owned());
    Ok((place, Road::Gateway(asker)))
}

fn is_line_chosen(args: &ScanArgs) -> bool {
    !(args.baud.is_empty()
        && args.parity.is_empty()
        && args.stop_bits.is_empty()
        && args.data_bits.is_empty())
}

fn endpoint(text: &str, usual: Option<u16>) -> Result<TcpSettings, String> {
    let parsed = match usual {
        Some(port) => Endpoint::parse(text, port),
        None => Endpoint::parse_with_port(text, PORT_OF_CONVERTERS),
    };
    let Endpoint { host, port } =
        parsed.map_err(|misread| format!("`{text}` {}: {}", misread.message, misread.remedy))?;
    Ok(TcpSettings { host: Arc::from(&*host), port })
}

/// A baud rate.
fn rate(text: &str) -> Result<u32, String> {
    let rate = text.parse().ok().filter(|rate| *rate > 0);
    rate.ok_or_else(|| format!("`{text}` is no baud rate: write one or more, such as `9600,19200`"))
}

fn no_path(path: &str) -> String {
    if path.starts_with('.') {
        return format!(
            "`{path}` is not the path of a serial port: write it from the root on, such as `/dev/ttyUSB0`"
        );
    }
    if path.parse::<std::net::IpAddr>().is_ok() {
        return format!(
            "`{path}` is no serial port: write `--modbus-tcp {path}`, or of a converter `--modbus-rtu-over-tcp {path}:PORT`"
        );
    }
    if Endpoint::parse_with_port(path, PORT_OF_CONVERTERS).is_ok() {
        return format!(
            "`{path}` is no serial port: write `--modbus-tcp {path}`, or `--modbus-rtu-over-tcp {path}`"
        );
    }
    format!(
        "`{path}` is not the path of a serial port: write `/dev/{path}`; `ls -l /dev/serial/by-id` shows yours"
    )
}

/// What to write when nothing was named: the adapters there are.
fn nowhere() -> String {
    let ports = std::fs::read_dir("/dev/serial/by-id").into_iter().flatten().flatten();
    let mut ports: Vec<String> =
        ports.map(|it| format!("\n  fieldpost scan {}", it.path().display())).collect();
    ports.sort_unstable();
    if ports.is_empty() {
        ports.push(
            "\n  fieldpost scan /dev/ttyUSB0    (no adapter is plugged in as far as can be seen)"
                .to_owned(),
        );
    }
    format!(
        "where? Write one of{}\n  fieldpost scan --modbus-tcp HOST\n  fieldpost scan --bus NAME    (of the running gateway)",
        ports.concat()
    )
}
