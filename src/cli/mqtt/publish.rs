//! shell: `fieldpost pub`: publishes a message, a file, or each line of standard input.
#![allow(clippy::disallowed_methods, reason = "a command reads files, the clock and its input")]

use std::future::pending;
use std::io::{self, BufRead as _, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::args::{MqttArgs, Plan, qos, seconds, topic_name};
use super::{Usage, run, trace};
use crate::cli::ExitStatus;
use crate::client::{ClientError, ClientEvent, Connection, Session};
use crate::model::{QoS, TopicName};
use crate::mqtt::{Publish, ReasonCode};

/// Lines read ahead of the broker.
const LINES_AHEAD: usize = 1000;
/// Refused messages that are named one by one.
const REFUSALS_NAMED: u64 = 5;

/// Arguments of `pub`.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct PubArgs {
    /// Topic to publish to
    #[arg(short, long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Publish this text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true, group = "what")]
    message: Option<String>,
    /// Publish what this file holds, as one message
    #[arg(short, long, value_name = "FILE", group = "what")]
    file: Option<PathBuf>,
    /// Publish all of standard input as one message
    #[arg(short, long, group = "what")]
    stdin_file: bool,
    /// Publish each line of standard input as a message, also empty ones
    #[arg(short = 'l', long, group = "what")]
    stdin_line: bool,
    /// Publish an empty message; with -r it removes the retained one
    #[arg(short, long, group = "what")]
    null_message: bool,
    /// QoS
    #[arg(short, long, value_name = "QOS", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Ask the broker to retain it
    #[arg(short, long)]
    retain: bool,
    /// Publish it so many times
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "stdin_line")]
    repeat: u64,
    /// Wait so many seconds after one is delivered, before the next
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "repeat")]
    repeat_delay: Option<Duration>,

    /// Where and who
    #[command(flatten)]
    mqtt: MqttArgs,
}

/// Publishes, and ends when the broker has taken all of it.
///
/// # Errors
/// The broker cannot be reached, refuses us or is lost, or the input cannot be read.
pub fn publish(args: &PubArgs) -> anyhow::Result<ExitStatus> {
    let planned = args.mqtt.plan().and_then(|plan| Ok((args.template(&plan)?, plan)));
    run(planned, async |(template, plan)| {
        let source = args.source()?;
        Run { source, template, plan, published: 0, settled: 0, refused: 0 }.run(args).await
    })
}

impl PubArgs {
    /// What each message has but its payload.
    fn template(&self, plan: &Plan) -> Result<Publish, Usage> {
        let topic = match (&self.topic, &plan.url_topic) {
            (Some(_), Some(_)) => {
                return Err(Usage("-t and the topic in -L: one of them is too many".to_owned()));
            }
            (Some(topic), None) => topic_name("-t", topic)?,
            (None, Some(topic)) => topic_name("-L", topic)?,
            (None, None) => return Err(Usage("where to? Add -t TOPIC".to_owned())),
        };
        let properties = &plan.properties;
        let travelling = Some(&properties.publish).filter(|properties| !properties.is_empty());
        Ok(Publish {
            dup: false,
            qos: qos(self.qos),
            retain: self.retain,
            topic: Some(topic),
            packet_id: None,
            payload: Bytes::new(),
            properties: travelling.cloned().map(Arc::new),
            message_expiry: properties.message_expiry,
            topic_alias: properties.topic_alias,
            subscription_ids: Vec::new(),
        })
    }

    /// The payloads; files are read before the broker is bothered.
    fn source(&self) -> anyhow::Result<Source> {
        let payload = if self.stdin_line {
            return Ok(Source::Lines(read_lines()));
        } else if let Some(path) = &self.file {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?.into()
        } else if self.stdin_file {
            let mut all = Vec::new();
            io::stdin().lock().read_to_end(&mut all).context("cannot read standard input")?;
            all.into()
        } else {
            Bytes::from(self.message.clone().unwrap_or_default())
        };
        Ok(Source::Same { payload, left: self.repeat, due: None })
    }
}

/// Where payloads come from.
#[derive(Debug)]
enum Source {
    /// The same so many more times, the next not before `due`.
    Same { payload: Bytes, left: u64, due: Option<Instant> },
    /// Lines of standard input.
    Lines(mpsc::Receiver<io::Result<Bytes>>),
    /// Nothing more.
    Dry,
}

/// Reads lines on a thread of their own: standard input cannot be waited for otherwise.
fn read_lines() -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line);
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            let sent = match read {
                Ok(0) => return,
                Ok(_) => sender.blocking_send(Ok(line.into())),
                Err(error) => {
                    // The last word; a receiver that is gone does not miss it.
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    lines
}

/// One run of `pub`.
#[derive(Debug)]
struct Run {
    source: Source,
    template: Publish,
    plan: Plan,
    published: u64,
    settled: u64,
    refused: u64,
}

impl Run {
    async fn run(mut self, args: &PubArgs) -> anyhow::Result<ExitStatus> {
        let trace = args.mqtt.debug.then_some(trace as crate::client::Trace);
        let session = Session::new(self.plan.client.clone(), Instant::now());
        let opened = Connection::open(&self.plan.target, session, trace).await;
        let mut connection = opened.map_err(|(error, _)| error)?;
        let stopped = match self.pour(&mut connection, args.repeat_delay).await {
            Ok(stopped) => stopped,
            Err(error) => return Err(self.told(error)),
        };
        connection.close(self.plan.goodbye()).await?;
        if stopped {
            eprintln!("fieldpost: stopped; {}", self.count());
        }
        if self.refused > 0 {
            eprintln!(
                "fieldpost: the broker refused {} of {} messages",
                self.refused, self.published
            );
        }
        let is_whole = !stopped && self.refused == 0;
        Ok(if is_whole { ExitStatus::Done } else { ExitStatus::Failed })
    }

    /// Publishes until the source is dry and all is settled; gives whether a signal came before.
    async fn pour(
        &mut self,
        connection: &mut Connection,
        delay: Option<Duration>,
    ) -> anyhow::Result<bool> {
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        loop {
            while let Some(event) = connection.poll_event() {
                self.handle_event(event);
            }
            self.repeat(connection, delay)?;
            if matches!(self.source, Source::Dry) && connection.is_settled() {
                return Ok(false);
            }
            let due = self.due().filter(|_| connection.is_settled());
            let has_room = connection.has_room();
            tokio::select! {
                line = self.source.line(), if has_room => match line {
                    Some(line) => self.publish_lines(connection, line)?,
                    None => self.source = Source::Dry,
                },
                result = connection.step(true) => result?,
                () = at(due) => {}
                _ = int.recv() => return Ok(true),
                _ = term.recv() => return Ok(true),
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        match self.source {
            Source::Same { due, .. } => due,
            Source::Lines(_) | Source::Dry => None,
        }
    }

    /// Publishes the one payload as often as it is to be now.
    fn repeat(
        &mut self,
        connection: &mut Connection,
        delay: Option<Duration>,
    ) -> Result<(), ClientError> {
        while let Source::Same { payload, left, due } = &mut self.source {
            let is_due = due.is_none_or(|due| connection.is_settled() && due <= Instant::now());
            if *left == 0 {
                self.source = Source::Dry;
            } else if is_due && connection.has_room() {
                *left -= 1;
                *due = delay.map(|delay| Instant::now() + delay);
                let payload = payload.clone();
                self.publish(connection, payload)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Publishes a line and those that have been read already, as far as there is room.
    fn publish_lines(
        &mut self,
        connection: &mut Connection,
        line: io::Result<Bytes>,
    ) -> anyhow::Result<()> {
        let mut next = Some(line);
        while let Some(line) = next {
            self.publish(connection, line.context("cannot read standard input")?)?;
            next = match &mut self.source {
                Source::Lines(lines) if connection.has_room() => lines.try_recv().ok(),
                Source::Lines(_) | Source::Same { .. } | Source::Dry => None,
            };
        }
        Ok(())
    }

    fn publish(&mut self, connection: &mut Connection, payload: Bytes) -> Result<(), ClientError> {
        let publish = Publish { payload, ..self.template.clone() };
        connection.publish(publish)?;
        self.published += 1;
        Ok(())
    }

    fn handle_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Settled { topic, reason, text } => {
                self.settled += 1;
                if reason.is_failure() {
                    self.handle_refusal(&topic, reason, text.as_deref());
                }
            }
            ClientEvent::Connected(_)
            | ClientEvent::Subscribed(_)
            | ClientEvent::Unsubscribed
            | ClientEvent::Message(_) => {}
        }
    }

    fn handle_refusal(&mut self, topic: &TopicName, reason: ReasonCode, text: Option<&str>) {
        self.refused += 1;
        if self.refused <= REFUSALS_NAMED {
            let text = text.map(|text| format!(", it says: {text}")).unwrap_or_default();
            let number = self.settled;
            eprintln!(
                "fieldpost: the broker refused message {number} to `{topic}`: {reason}{text}"
            );
        }
    }

    /// What became of the messages that were read.
    fn count(&self) -> String {
        let published = self.published;
        if self.template.qos == QoS::AtMostOnce {
            return format!(
                "{published} messages were published, at QoS 0 nobody says what arrived"
            );
        }
        let open = published - self.settled;
        format!("of {published} messages {} are acknowledged, {open} are not", self.settled)
    }

    fn told(&self, error: anyhow::Error) -> anyhow::Error {
        if self.published > 1 { anyhow::anyhow!("{error:#}; {}", self.count()) } else { error }
    }
}

impl Source {
    /// The next line; `None` at the end, never if there are none.
    async fn line(&mut self) -> Option<io::Result<Bytes>> {
        match self {
            Self::Lines(lines) => lines.recv().await,
            Self::Same { .. } | Self::Dry => pending().await,
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => pending().await,
    }
}
