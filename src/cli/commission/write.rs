//! shell: `fieldpost write`: one value to one unit, read back and confirmed.
#![allow(clippy::disallowed_methods, reason = "a command reads the clock and waits")]

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use super::bus_args::{BusArgs, Station};
use super::read::PointArgs;
use super::snippet::{self, Key, POINT};
use super::table::Registers;
use super::{HELD_BY, IF_GATEWAY, address, say};
use crate::cli::{ExitStatus, run::runtime};
use crate::command::order::setting;
use crate::command::request;
use crate::command::writing::{End, Next, Writing};
use crate::commission::Asker;
use crate::field::modbus::encode::Setting;
use crate::field::modbus::exchange::Exchange;
use crate::field::modbus::pdu::Data;
use crate::field::modbus::query::Query;
use crate::field::modbus::transaction::Question;
use crate::field::modbus::write::What;
use crate::field::{DeviceSettings, PointSettings, Rank, Table};

const NOTES: &str = "\
What is sent is shown first, and on a terminal you are asked. A value is sent once; whether the device took it is found out by \
reading it. A point of the configuration keeps to its limits.

A bus that a running gateway has is written to through that (--bus or --device, or its port); its log tells of it.

Exit status: 0; 1 if the device did not take it, or nothing was sent; 2 if the command line or the configuration is wrong.";

/// How long it may take until the write is sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `write`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = NOTES)]
pub struct WriteArgs {
    /// The value: a number, true or false, a name of the point's enum, a text, or a list [1, 2]
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
    #[command(flatten)]
    place: PlaceArgs,
    /// How many values stand one behind the other
    #[arg(long, value_name = "COUNT", conflicts_with = "point")]
    count: Option<u16>,
    /// The unit id [default: that of --device, else 1]
    #[arg(short, long, value_name = "ID", conflicts_with = "point")]
    unit: Option<u8>,
    /// Write and read these holding registers in one transaction (function 23); nothing is read back then
    #[arg(long, value_name = "ADDRESS")]
    then_read: Option<u16>,
    /// How many of them
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "then_read")]
    then_count: u16,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    meaning: PointArgs,
    #[command(flatten)]
    bus: BusArgs,
}

/// Where it is written to.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
struct PlaceArgs {
    /// A point of --device, with its type and limits
    #[arg(long, value_name = "NAME", requires = "device")]
    point: Option<String>,
    /// The holding register at this address
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    holding: Option<u32>,
    /// The coil at this address
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    coil: Option<u32>,
}

/// What is written, checked.
struct Order {
    point: PointSettings,
    setting: Setting,
}

/// Does it.
///
/// # Errors
/// There is no way to ask, or `out` cannot be written to.
pub fn write(args: &WriteArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let mut notes = Vec::new();
    let station = match args.bus.find(args.unit) {
        Ok(station) => station,
        Err(why) => {
            say(&why);
            return Ok(ExitStatus::Wrong);
        }
    };
    let order = match args.order(&station, &mut notes) {
        Ok(order) => order,
        Err(Wrong::Usage(why)) => {
            say(&why);
            return Ok(ExitStatus::Wrong);
        }
        Err(Wrong::Value(why)) => {
            say(&format!("refused: {why}"));
            return Ok(ExitStatus::Failed);
        }
    };
    notes.iter().chain(&station.notes).for_each(|note| say(note));
    let query = match args.query(&order.setting) {
        Ok(query) => query,
        Err(why) => {
            say(&why);
            return Ok(ExitStatus::Wrong);
        }
    };
    let question = Question::new(station.unit(args.unit), query);
    let words = hex(&question.query.request());
    writeln!(out, "{}, {question}: {} (request {words})", station.name, order.setting.value)?;
    out.flush()?;
    if !args.yes && io::stdin().is_terminal() && io::stdout().is_terminal() && !agreed(out)? {
        say("nothing was sent");
        return Ok(ExitStatus::Failed);
    }
    runtime()?.block_on(async {
        let asker = station.asker();
        let done = if matches!(question.query, Query::Exchange(_)) {
            exchange(&asker, &question, out).await
        } else {
            confirm(&asker, &question, &order, out).await
        };
        asker.close().await;
        done
    })
}

enum Wrong {
    /// The command line.
    Usage(String),
    /// What the point cannot become.
    Value(String),
}

impl WriteArgs {
    fn order(&self, station: &Station, notes: &mut Vec<String>) -> Result<Order, Wrong> {
        let (device, name) = match (&self.place.point, &station.device) {
            (Some(name), Some(device)) => {
                if let Some((key, _)) = self.meaning.keys().first() {
                    let key = key.replace('_', "-");
                    return Err(Wrong::Usage(format!(
                        "the configuration says --{key} of `{name}`"
                    )));
                }
                let is_one = device.points.iter().any(|point| *point.name == **name)
                    || device.computed.iter().any(|made| *made.name == **name);
                if !is_one {
                    let points: Vec<&str> =
                        device.points.iter().map(|point| &*point.name).collect();
                    return Err(Wrong::Usage(format!(
                        "device `{}` has no point `{name}`; it has {}",
                        device.name,
                        points.join(", ")
                    )));
                }
                (device.clone(), name.as_str())
            }
            _ => {
                let bus = [("modbus-tcp", snippet::quoted("localhost"))];
                let mut snippet = snippet::parse(&bus, 1, &self.keys()).map_err(Wrong::Usage)?;
                notes.append(&mut snippet.warnings);
                notes.extend(station.device.as_ref().and_then(|device| self.limits_there(device)));
                (snippet.device, POINT)
            }
        };
        let request = request::parse(self.value.as_bytes(), Some(name));
        let request = request.map_err(|misread| Wrong::Value(misread.reason))?;
        let asked = request.wishes.first().ok_or(Wrong::Value("no value".to_owned()))?;
        let (index, setting) = setting(&device, asked).map_err(Wrong::Value)?;
        let point = device.points.get(index).cloned();
        Ok(Order { point: point.ok_or(Wrong::Value("no point".to_owned()))?, setting })
    }

    /// That a point of the device with limits of its own begins at this address: they are not kept here.
    fn limits_there(&self, device: &DeviceSettings) -> Option<String> {
        let table = if self.place.coil.is_some() { Table::Coil } else { Table::Holding };
        let address = self.place.holding.or(self.place.coil)?;
        let is_there = |point: &&PointSettings| {
            let has_limits = point.writable.is_some_and(|it| it.min.is_some() || it.max.is_some());
            has_limits && point.place.table == table && u32::from(point.place.address) == address
        };
        let name = &device.points.iter().find(is_there)?.name;
        Some(format!(
            "`{name}` stands there and has limits, which `--point {name}` keeps to; this does not"
        ))
    }

    fn keys(&self) -> Vec<Key> {
        let at = |key, address: Option<u32>| Some((key, address?.to_string()));
        let place = at("holding", self.place.holding).or(at("coil", self.place.coil));
        let count = self.count.map(|count| ("count", count.to_string()));
        let writable = Some(("writable", "true".to_owned()));
        [place, count, writable].into_iter().flatten().chain(self.meaning.keys()).collect()
    }

    fn query(&self, setting: &Setting) -> Result<Query, String> {
        let Some(from) = self.then_read else { return Ok(setting.write.clone().into()) };
        let words = match setting.write.what() {
            What::Register(word) => vec![*word],
            What::Registers(words) => words.clone(),
            What::Coil(_) | What::Coils(_) | What::Mask { .. } => {
                return Err("--then-read writes whole holding registers".to_owned());
            }
        };
        let to = setting.write.range().address();
        let exchange = Exchange::new(to, words, from, self.then_count);
        exchange.map(Query::Exchange).map_err(|error| error.to_string())
    }
}

fn agreed(out: &mut impl Write) -> io::Result<bool> {
    write!(out, "send it? [y/N] ")?;
    out.flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Writes and reads in one transaction.
async fn exchange(
    asker: &Asker,
    question: &Question,
    out: &mut impl Write,
) -> anyhow::Result<ExitStatus> {
    let outcome = asker.ask(Rank::First, question.clone()).await?;
    match (outcome.result, &question.query) {
        (Ok(Data::Registers(words)), Query::Exchange(exchange)) => {
            let first = exchange.read().address().into();
            let shown = Registers { table: Some(Table::Holding), first, words: &words };
            write!(out, "{}", shown.to_text())?;
            Ok(ExitStatus::Done)
        }
        (Ok(_), _) => Ok(ExitStatus::Done),
        (Err(failure), _) => {
            say(&format!("failed: {failure}"));
            Ok(ExitStatus::Failed)
        }
    }
}

/// Writes as a request under `…/set` is written: looked at, sent once, read back.
async fn confirm(
    asker: &Asker,
    question: &Question,
    order: &Order,
    out: &mut impl Write,
) -> anyhow::Result<ExitStatus> {
    let until = Instant::now() + PATIENCE;
    let mut writing = Writing::new(question.unit, &order.point, order.setting.clone(), until);
    loop {
        match writing.poll_next() {
            Next::Pause(pause) => tokio::time::sleep(pause).await,
            Next::Ask(question) => {
                let is_write = question.query.is_write();
                match asker.ask(Rank::First, question).await {
                    Ok(outcome) => writing.handle_outcome(&outcome.result, Instant::now()),
                    // Whether the gateway had sent it when it went away is not known.
                    Err(error) if is_write => {
                        say(&format!("unknown: {error}; whether the device took it is not known"));
                        return Ok(ExitStatus::Failed);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Next::Done(outcome) => {
                let said =
                    |value: Option<_>| value.map(|value: crate::model::Value| value.to_string());
                let before = said(outcome.before).map_or(String::new(), |it| format!(", was {it}"));
                let value = said(outcome.value).map_or(String::new(), |it| format!(": {it}"));
                let reason = outcome.reason.map_or(String::new(), |it| format!(" ({it})"));
                let line = format!("{}{value}{before}{reason}", outcome.end);
                return Ok(match outcome.end {
                    End::Confirmed | End::Written => {
                        writeln!(out, "{line}")?;
                        ExitStatus::Done
                    }
                    End::Refused | End::Failed | End::Unknown => {
                        say(&line);
                        if line.contains(HELD_BY) {
                            say(IF_GATEWAY);
                        }
                        ExitStatus::Failed
                    }
                });
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}
