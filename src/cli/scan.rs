//! shell: `fieldpost scan`: finds the units of a bus, on its port or through a running gateway.
#![allow(clippy::disallowed_methods, reason = "a command reads the clock and waits for its scan")]

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::scan_road::{Road, RoadError};
use super::scan_screen::Screen;
use super::{ExitStatus, scan_json};
use crate::commission::scan::setting::{Choice, Setting};
use crate::commission::scan::{News, Place, Scan, ScanSettings, Way, advice, paste, words};
use crate::config::Endpoint;
use crate::field::modbus::pdu::ReadRange;
use crate::field::{Parity, PortSettings, Table, TcpSettings, UnitId};
use crate::service::Signals;

/// How long a unit on a port of this machine has, beyond the silence that ends a request.
const TIMEOUT_PORT: Duration = Duration::from_millis(100);
/// One behind a converter, whose network and line take time of their own.
const TIMEOUT_CONVERTER: Duration = Duration::from_millis(300);
/// One on a network: gateways wait a second for their units as a rule.
const TIMEOUT_NETWORK: Duration = Duration::from_millis(1_100);
/// Where Modbus TCP listens (Modbus messaging on TCP/IP 1.0b, section 3.1.3).
const PORT_OF_MODBUS: u16 = 502;
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
    /// The configuration of the running gateway
    #[arg(
        short,
        long,
        value_name = "FILE",
        requires = "bus",
        default_value = "/etc/fieldpost/fieldpost.yaml"
    )]
    pub config: PathBuf,
    /// Only these baud rates: 9600,19200
    #[arg(long, value_name = "RATES", value_delimiter = ',')]
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
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
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
    let scan = runtime.block_on(run(settings, &place, road, &mut screen))?;
    screen.clear();
    if args.json {
        writeln!(out, "{:#}", scan_json::to_json(&scan, &place))?;
    } else {
        write!(out, "{}", paste(&scan, &place))?;
    }
    let (first, rest) = match &advice(&scan, &place)[..] {
        [] => (told(&scan, begin.elapsed()), Vec::new()),
        [first, rest @ ..] => (first.clone(), rest.to_vec()),
    };
    screen.say(&first);
    rest.iter().for_each(|line| screen.say(&format!("  - {line}")));
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
    road.open().await?;
    let mut scan = Scan::new(settings, Instant::now());
    screen.say(&announced(&scan, place));
    while let Some(ask) = scan.poll_ask(Instant::now()) {
        let setting = scan.setting(ask.setting);
        tokio::select! {
            heard = road.ask(ask, setting) => scan.handle_heard(heard?, Instant::now()),
            _ = signals.next() => scan.handle_stop(),
        }
        while let Some(news) = scan.poll_news() {
            match news {
                News::Unit(index) => {
                    let case = scan.cases().get(index).filter(|case| case.is_found());
                    if let Some(case) = case {
                        let at = scan.setting(case.setting).map_or(String::new(), |it| format!(" at {it}"));
                        screen.say(&format!("unit {}{at}: {}", case.unit.0, words::unit(&scan, case, place)));
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

/// What will be done, and how long it may take.
fn announced(scan: &Scan, place: &Place) -> String {
    let ScanSettings { settings, units, .. } = scan.settings();
    let settings = match settings.len() {
        1 => scan.setting(0).map_or(String::new(), |it| format!(" at {it}")),
        count => format!(" at {count} settings"),
    };
    let ids = if units.len() == 1 { "1 unit id".to_owned() } else { format!("{} unit ids", units.len()) };
    let left = clock(scan.progress().left);
    format!("asking {ids}{settings} on {}: up to {left}, Ctrl-C ends it", place.address())
}

fn told(scan: &Scan, took: Duration) -> String {
    let count = scan.found().count();
    let units = if count == 1 { "1 unit".to_owned() } else { format!("{count} units") };
    let stopped = if scan.is_stopped() { ", stopped before the end" } else { "" };
    let failed = scan.failure().map_or(String::new(), |failure| format!(", ended because {failure}"));
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
    let timeout = args.timeout.unwrap_or(match place.way() {
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
    }
}

/// Reads `1-32,100`.
fn units(text: &str) -> Result<Units, String> {
    let number = |text: &str| {
        let unit = text.trim().parse::<u8>().ok().filter(|unit| (1..=255).contains(unit));
        unit.ok_or_else(|| format!("`{text}` is no unit id: write 1 to {UNIT_MAX}, such as `1-32,100`"))
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

fn endpoint(text: &str, default: Option<u16>) -> Result<TcpSettings, String> {
    let parsed = Endpoint::parse(text, default.unwrap_or(PORT_OF_MODBUS));
    let Endpoint { host, port } =
        parsed.map_err(|misread| format!("`{text}` {}: {}", misread.message, misread.remedy))?;
    if default.is_none() && !text.ends_with(&format!(":{port}")) {
        return Err(format!("`{text}` has no port: write `{host}:4001`, with the port of the converter"));
    }
    Ok(TcpSettings { host: Arc::from(&*host), port })
}
