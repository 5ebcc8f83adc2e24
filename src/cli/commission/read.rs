//! shell: `fieldpost read`: one range of a unit in every interpretation, or what the unit says of itself.
#![allow(clippy::disallowed_methods, reason = "waits between two looks")]

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value as Json, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::bus_args::{BusArgs, Station};
use super::snippet::{self, Key, POINT};
use super::table::{Registers, bits_json, bits_text, manual};
use super::{IF_GATEWAY, address, identify, is_held, say};
use crate::cli::{ExitStatus, queue::is_closed_pipe, run::runtime};
use crate::commission::{Asker, Identification};
use crate::field::modbus::decode::decode;
use crate::field::modbus::fifo::Fifo;
use crate::field::modbus::file_record::FileRecord;
use crate::field::modbus::pdu::{Data, ExceptionCode, ReadRange};
use crate::field::modbus::query::Query;
use crate::field::modbus::transaction::{Failure, Outcome, Question};
use crate::field::{PointSettings, Rank, Table, UnitId};

const NOTES: &str = "\
Addresses count from 0, as on the wire and in the configuration: what a manual calls 40101 is --holding 100, \
and 0x0064 is the same.

A bus that a running gateway has is asked through that (--bus or --device, or its port): nothing need be stopped, and the \
gateway's own reads go before.

Exit status: 0; 1 if the unit gave nothing; 2 if the command line or the configuration is wrong.";

/// Arguments of `read`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = NOTES)]
pub struct ReadArgs {
    #[command(flatten)]
    what: What,
    /// How many registers or bits
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,
    /// The first record of --file
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "file")]
    record: u16,
    /// The unit id [default: that of --device, else 1]
    #[arg(short, long, value_name = "ID")]
    unit: Option<u8>,
    /// Again and again, until Ctrl-C
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    every: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    point: PointArgs,
    #[command(flatten)]
    bus: BusArgs,
}

/// What is read.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Holding registers from this address on (function 3)
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    holding: Option<u32>,
    /// Input registers from this address on (function 4)
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    input: Option<u32>,
    /// Coils from this address on (function 1)
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    coil: Option<u32>,
    /// Discrete inputs from this address on (function 2)
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    discrete: Option<u32>,
    /// The registers of the queue at this address (function 24)
    #[arg(long, value_name = "ADDRESS")]
    fifo: Option<u16>,
    /// Registers of this file, from --record on (function 20)
    #[arg(long, value_name = "NUMBER")]
    file: Option<u16>,
    /// What the unit says of itself (functions 43/14 and 17)
    #[arg(long)]
    identify: bool,
}

/// What the registers mean, in the words of a point.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Point")]
pub(super) struct PointArgs {
    /// The type of the value: u16, i16, u32, f32, bcd, string …
    #[arg(long = "type", value_name = "TYPE")]
    value_type: Option<String>,
    /// Factor of the value
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    scale: Option<f64>,
    /// Added to the value after that
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    offset: Option<f64>,
    /// Which register comes first: big or little
    #[arg(long, value_name = "ORDER")]
    word_order: Option<String>,
    /// Which byte of a register comes first: big or little
    #[arg(long, value_name = "ORDER")]
    byte_order: Option<String>,
    /// A bit of the register, 0 the lowest
    #[arg(long, value_name = "BIT")]
    bit: Option<u8>,
    /// Bytes of a string
    #[arg(long, value_name = "BYTES")]
    length: Option<u16>,
}

impl PointArgs {
    /// The keys that are given.
    pub(super) fn keys(&self) -> Vec<Key> {
        let text = |key, value: &Option<String>| Some((key, snippet::quoted(value.as_deref()?)));
        let number = |key, value: Option<String>| Some((key, value?));
        [
            text("type", &self.value_type),
            number("scale", self.scale.map(|it| it.to_string())),
            number("offset", self.offset.map(|it| it.to_string())),
            text("word_order", &self.word_order),
            text("byte_order", &self.byte_order),
            number("bit", self.bit.map(|it| it.to_string())),
            number("length", self.length.map(|it| it.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A point in the words of the command line.
struct Described {
    point: PointSettings,
    keys: Vec<Key>,
}

/// What is asked.
enum Ask {
    /// A range, and a point that begins with it if one was described.
    Range(ReadRange, Option<Box<Described>>),
    Fifo(Fifo),
    FileRecord(FileRecord),
    Identify,
}

/// Does it.
///
/// # Errors
/// There is no way to ask, or `out` cannot be written to.
pub fn read(args: &ReadArgs, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
    let mut notes = Vec::new();
    let found = args.bus.find(args.unit).and_then(|station| Ok((args.ask(&mut notes)?, station)));
    let (ask, station) = match found {
        Ok(found) => found,
        Err(why) => {
            say(&why);
            return Ok(ExitStatus::Wrong);
        }
    };
    notes.iter().chain(&station.notes).for_each(|note| say(note));
    let done = runtime()?.block_on(async {
        let asker = station.asker();
        let done = Reader { args, station: &station, asker: &asker, ask: &ask }.run(out).await;
        asker.close().await;
        done
    });
    match done {
        // Whoever read has seen enough.
        Err(error) if is_closed_pipe(&error) => Ok(ExitStatus::Done),
        done => done,
    }
}

impl ReadArgs {
    fn table(&self) -> Option<(Table, u32)> {
        let What { holding, input, coil, discrete, .. } = self.what;
        let of = |table, address: Option<u32>| Some((table, address?));
        of(Table::Holding, holding)
            .or(of(Table::Input, input))
            .or(of(Table::Coil, coil))
            .or(of(Table::DiscreteInput, discrete))
    }

    fn ask(&self, notes: &mut Vec<String>) -> Result<Ask, String> {
        let keys = self.point.keys();
        let Some((table, address)) = self.table() else {
            if let Some((key, _)) = keys.first() {
                return Err(format!("--{key} belongs to --holding, --input, --coil or --discrete"));
            }
            return match self.what {
                What { fifo: Some(address), .. } => Ok(Ask::Fifo(Fifo(address))),
                What { file: Some(file), .. } => {
                    let record = FileRecord::new(file, self.record, self.count);
                    record.map(Ask::FileRecord).map_err(|error| error.to_string())
                }
                What { .. } => Ok(Ask::Identify),
            };
        };
        let place = (table.key(), address.to_string());
        let described: Vec<Key> = [place].into_iter().chain(keys.iter().cloned()).collect();
        let bus = [("modbus-tcp", snippet::quoted("localhost"))];
        let mut snippet = snippet::parse(&bus, 1, &described)?;
        notes.append(&mut snippet.warnings);
        let point = snippet.device.points.pop().ok_or("this point does not say where it stands")?;
        let count = self.count.max(if keys.is_empty() { 1 } else { point.width() });
        let range = ReadRange::new(table, point.place.address, count);
        let range = range.map_err(|error| error.to_string())?;
        let described = Box::new(Described { point, keys: described });
        Ok(Ask::Range(range, (!keys.is_empty()).then_some(described)))
    }
}

struct Reader<'r> {
    args: &'r ReadArgs,
    station: &'r Station,
    asker: &'r Asker,
    ask: &'r Ask,
}

impl Reader<'_> {
    async fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
        let mut status = ExitStatus::Done;
        loop {
            let once = tokio::select! {
                once = self.once(out) => once?,
                () = interrupted(&mut interrupt) => return Ok(status),
            };
            let Some(every) = self.args.every else { return Ok(once) };
            status = once;
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = interrupted(&mut interrupt) => return Ok(status),
            }
            if !self.args.json {
                writeln!(out)?;
            }
        }
    }

    async fn once(&self, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
        let unit = self.station.unit(self.args.unit);
        let query = match self.ask {
            Ask::Identify => return self.identify(unit, out).await,
            Ask::Range(range, _) => Query::Read(*range),
            Ask::Fifo(fifo) => Query::Fifo(*fifo),
            Ask::FileRecord(record) => Query::FileRecord(*record),
        };
        let question = Question::new(unit, query);
        let Outcome { result, .. } = self.asker.ask(Rank::Idle, question.clone()).await?;
        let data = match result {
            Ok(data) => data,
            Err(failure) => {
                if self.args.json {
                    let report = json!({ "unit": unit.0, "error": failure.to_string() });
                    writeln!(out, "{report}")?;
                }
                say(&format!("{}, {question}: {failure}", self.station.name));
                if is_held(&failure) {
                    say(IF_GATEWAY);
                }
                self.hint(unit, &failure).await?;
                return Ok(ExitStatus::Failed);
            }
        };
        if self.args.json {
            writeln!(out, "{}", self.json(unit, &data))?;
        } else {
            write!(out, "{}", self.text(&data))?;
        }
        out.flush()?;
        Ok(ExitStatus::Done)
    }

    async fn identify(&self, unit: UnitId, out: &mut impl Write) -> anyhow::Result<ExitStatus> {
        let mut it = Identification::new(unit);
        while let Some(question) = it.poll_next() {
            let outcome = self.asker.ask(Rank::Idle, question).await?;
            it.handle_outcome(&outcome.result);
        }
        if self.args.json {
            writeln!(out, "{}", identify::to_json(&it))?;
        } else {
            write!(out, "{}", identify::to_text(&it))?;
        }
        let is_told = !it.objects().is_empty() || it.server_id().is_some();
        if !is_told {
            let said = if it.is_there() {
                "answers, and does not say what it is: read registers that its manual names"
            } else {
                "says nothing: is the id right, and the rate?"
            };
            say(&format!("{}, unit {}: the unit {said}", self.station.name, unit.0));
        }
        Ok(if is_told { ExitStatus::Done } else { ExitStatus::Failed })
    }

    fn registers<'w>(&self, words: &'w [u16]) -> Registers<'w> {
        let (table, first) = match self.ask {
            Ask::Range(range, _) => (Some(range.table()), u32::from(range.address())),
            Ask::FileRecord(_) => (None, self.args.record.into()),
            Ask::Fifo(_) | Ask::Identify => (None, 0),
        };
        Registers { table, first, words }
    }

    fn text(&self, data: &Data) -> String {
        let mut text = match (data, self.ask) {
            (Data::Bits(bits), Ask::Range(range, _)) => {
                bits_text(range.table(), range.address(), bits)
            }
            (Data::Registers(words), _) if words.is_empty() => "the queue is empty\n".to_owned(),
            (Data::Registers(words), _) => self.registers(words).to_text(),
            _ => String::new(),
        };
        if let Ask::Range(range, Some(described)) = self.ask {
            let Described { point, keys } = &**described;
            let keys: Vec<String> =
                keys.iter().map(|(key, value)| snippet::plain(key, value)).collect();
            let shown = match decode(point, *range, data) {
                (Some(value), _) => value.to_string(),
                (None, quality) => quality.reason().unwrap_or("no value").to_owned(),
            };
            text += &format!("\n{POINT} = {shown}\nNAME: {{ {} }}\n", keys.join(", "));
        }
        text
    }

    fn json(&self, unit: UnitId, data: &Data) -> Json {
        let mut report = json!({ "unit": unit.0 });
        match (data, self.ask) {
            (Data::Bits(bits), Ask::Range(range, _)) => {
                report["bits"] = bits_json(range.table(), range.address(), bits);
            }
            (Data::Registers(words), _) => report["registers"] = self.registers(words).to_json(),
            _ => {}
        }
        if let Ask::Range(range, Some(described)) = self.ask {
            let point = &described.point;
            let (value, quality) = decode(point, *range, data);
            // A value is written as JSON would have it, but for a text.
            let value = value.map(|value| value.to_string());
            let value = value.map(|text| serde_json::from_str(&text).unwrap_or(Json::from(text)));
            report["value"] = json!(value);
            report["quality"] = json!(quality.reason());
        }
        report
    }

    /// What else could be meant, where that can be found out.
    async fn hint(&self, unit: UnitId, failure: &Failure) -> anyhow::Result<()> {
        let (Failure::Refused { code }, Ask::Range(range, _)) = (failure, self.ask) else {
            return Ok(());
        };
        if !matches!(code, ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue) {
            return Ok(());
        }
        let (table, address, count) = (range.table(), range.address(), range.count());
        let base: u16 = if table == Table::Input { 30_001 } else { 40_001 };
        let of_manual = address.checked_sub(base).map(|address| (address, count));
        let one_less = address.checked_sub(1).map(|address| (address, count));
        let one_more = address.checked_add(1).map(|address| (address, count));
        let alone = (count > 1).then_some((address, 1));
        for (near, count) in [of_manual, one_less, one_more, alone].into_iter().flatten() {
            let Ok(near) = ReadRange::new(table, near, count) else { continue };
            let outcome = self.asker.ask(Rank::Idle, Question::new(unit, near)).await?;
            if outcome.result.is_ok() {
                let shown = manual(table, near.address().into());
                say(&format!(
                    "  {near} ({shown} in a manual) is answered: --{} {} --count {count}",
                    table.key(),
                    near.address()
                ));
            }
        }
        Ok(())
    }
}

async fn interrupted(signal: &mut Signal) {
    // `None` means that no signal can come any more, which is no interrupt.
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
