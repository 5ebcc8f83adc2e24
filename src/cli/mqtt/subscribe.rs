//! shell: `fieldpost sub`: prints what is published.
#![allow(clippy::disallowed_methods, reason = "a command reads the clock and waits")]

use std::future::pending;
use std::io::{self, Write as _};
use std::num::NonZeroU64;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout};

use super::args::{MqttArgs, Plan, qos, seconds};
use super::template::Template;
use super::text::Format;
use super::{Usage, run, trace};
use crate::backoff::Backoff;
use crate::cli::ExitStatus;
use crate::client::{ClientError, ClientEvent, Connection, Session};
use crate::model::{QoS, TopicFilter, TopicName};
use crate::mqtt::{Publish, RetainHandling, SubscribeFilter};

/// Bytes gathered before they are printed, if more have come.
const BATCH_BYTES: usize = 256 * 1024;
/// The first pause before a lost connection is tried again.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_LONGEST: Duration = Duration::from_secs(30);
/// How long the broker has to take the removals of `--remove-retained` at the end.
const REMOVAL_MAX: Duration = Duration::from_secs(10);

/// Arguments of `sub`.
#[derive(Debug, Clone, clap::Args)]
pub struct SubArgs {
    /// Topic filter to subscribe to; may be given several times
    #[arg(short, long = "topic", value_name = "FILTER")]
    topics: Vec<String>,
    /// Print nothing that this filter takes; may be given several times
    #[arg(short = 'T', long = "filter-out", value_name = "FILTER")]
    filter_out: Vec<String>,
    /// Unsubscribe from this filter; may be given several times
    #[arg(short = 'U', long = "unsubscribe", value_name = "FILTER")]
    unsubscribe: Vec<String>,
    /// The highest QoS wanted
    #[arg(short, long, value_name = "QOS", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Do not try again when the connection is lost
    #[arg(long)]
    no_reconnect: bool,

    /// End after so many messages, with status 0; what was not printed is left to the broker
    #[arg(short = 'C', value_name = "COUNT", help_heading = "End")]
    count: Option<NonZeroU64>,
    /// End after so many seconds, with status 27
    #[arg(short = 'W', value_name = "SECONDS", value_parser = seconds, help_heading = "End")]
    timeout: Option<Duration>,
    /// End when the broker has answered the subscriptions
    #[arg(short = 'E', help_heading = "End")]
    exit_subscribed: bool,

    /// Leave out retained messages
    #[arg(short = 'R', conflicts_with_all = ["retained_only", "remove_retained"], help_heading = "Messages")]
    no_stale: bool,
    /// Only retained messages; end at the first other one
    #[arg(long, help_heading = "Messages")]
    retained_only: bool,
    /// Remove the retained messages that come from the broker; those under -T stay
    #[arg(long, help_heading = "Messages")]
    remove_retained: bool,

    /// Print the topic before the payload
    #[arg(short, long, help_heading = "Output")]
    verbose: bool,
    /// Print no newline after a message
    #[arg(short = 'N', help_heading = "Output")]
    no_newline: bool,
    /// Print as a format says: %t topic, %p payload, %x and %X in hexadecimal, %l its length, %q QoS, %r retained, %m
    /// packet id, %j and %J JSON as mosquitto_sub writes it, %I and %U time (UTC), and of MQTT 5 %A topic alias, %C content
    /// type, %D correlation data, %E expiry, %F format, %P user properties, %R response topic, %S subscription ids; %% a %,
    /// \n \t \0 and the like; `%-12.12t` for widths
    #[arg(
        short = 'F',
        value_name = "FORMAT",
        allow_hyphen_values = true,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    format: Option<String>,
    /// Print a JSON object a line: topic, payload (payload_base64 if it is no UTF-8), qos, retain, mid, properties, time
    #[arg(long, conflicts_with_all = ["verbose", "format", "no_newline"], help_heading = "Output")]
    json: bool,

    /// Where and who
    #[command(flatten)]
    mqtt: MqttArgs,
}

/// Prints what is published until it is told to end.
///
/// # Errors
/// The broker cannot be reached, refuses us or is lost, or nothing can be printed.
pub fn subscribe(args: &SubArgs) -> anyhow::Result<ExitStatus> {
    let planned = args.mqtt.plan().and_then(|plan| Ok((Wanted::read(args, &plan)?, plan)));
    run(planned, async |(wanted, plan)| Watch::new(args, plan, wanted)?.run().await)
}

/// What is asked of the broker and how it is printed.
#[derive(Debug)]
struct Wanted {
    subscribe: Vec<SubscribeFilter>,
    unsubscribe: Vec<TopicFilter>,
    filter_out: Vec<TopicFilter>,
    format: Format,
}

impl Wanted {
    fn read(args: &SubArgs, plan: &Plan) -> Result<Self, Usage> {
        let filter = |option: &str, text: &str| {
            TopicFilter::new(text).map_err(|error| Usage(format!("{option} {text}: {error}")))
        };
        let filters = |option: &str, texts: &[String]| {
            texts.iter().map(|text| filter(option, text)).collect::<Result<Vec<_>, _>>()
        };
        let mut topics = filters("-t", &args.topics)?;
        if let Some(topic) = &plan.url_topic {
            topics.push(filter("-L", topic)?);
        }
        let unsubscribe = filters("-U", &args.unsubscribe)?;
        if topics.is_empty() && unsubscribe.is_empty() {
            return Err(Usage("what to subscribe to? Add -t FILTER, as in -t 'site/#'".to_owned()));
        }
        let subscribe = |filter: TopicFilter| SubscribeFilter {
            filter,
            qos: qos(args.qos),
            no_local: false,
            retain_as_published: false,
            retain_handling: if args.no_stale {
                RetainHandling::DoNotSend
            } else {
                RetainHandling::Send
            },
        };
        let format = match &args.format {
            Some(text) => {
                let template = Template::parse(text);
                Format::Template(template.map_err(|error| Usage(format!("-F: {error}")))?)
            }
            None if args.json => Format::Json,
            None if args.verbose => Format::Verbose,
            None => Format::Payload,
        };
        Ok(Self {
            subscribe: topics.into_iter().map(subscribe).collect(),
            unsubscribe,
            filter_out: filters("-T", &args.filter_out)?,
            format,
        })
    }
}

/// Why it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All that was asked for is done.
    Done,
    /// The time of `-W` is over.
    TimedOut,
    /// Nobody reads what we print.
    Unread,
    /// No subscription was granted.
    Refused,
}

/// A watch over the broker's messages, over one connection after the other.
#[derive(Debug)]
struct Watch<'a> {
    args: &'a SubArgs,
    plan: Plan,
    wanted: Wanted,
    signals: [Signal; 3],
    /// When `-W` is over; counted from the first connection.
    deadline: Option<Instant>,
    printed: u64,
    /// No more messages are wanted.
    is_full: bool,
    batch: Vec<u8>,
    /// Printed or left out, and not acknowledged.
    taken: Vec<Publish>,
    /// The thread that prints, which a slow reader may hold up.
    printing: Option<JoinHandle<io::Result<()>>>,
}

impl<'a> Watch<'a> {
    fn new(args: &'a SubArgs, plan: Plan, wanted: Wanted) -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let signals = [
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ];
        Ok(Self {
            args,
            plan,
            wanted,
            signals,
            deadline: None,
            printed: 0,
            is_full: false,
            batch: Vec::new(),
            taken: Vec::new(),
            printing: None,
        })
    }

    async fn run(mut self) -> anyhow::Result<ExitStatus> {
        let mut session = Session::new(self.plan.client.clone(), Instant::now());
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_LONGEST);
        let mut was_up = false;
        loop {
            let (error, lost) = match self.connect(session).await? {
                Ok(mut connection) => {
                    if was_up {
                        eprintln!("fieldpost: connected again");
                    }
                    was_up = true;
                    backoff.reset();
                    match self.serve(&mut connection).await? {
                        Ok(end) => return self.leave(connection, end).await,
                        Err(error) => (error, connection.into_session()),
                    }
                }
                Err(None) => return Ok(ended(self.interrupted())),
                Err(Some((error, session))) => (error, *session),
            };
            self.flush().await?;
            if !was_up || self.args.no_reconnect || !error.is_passing() {
                return Err(error.into());
            }
            let pause = backoff.next_pause(fastrand::f64());
            eprintln!("fieldpost: {error}; trying again in {:.1} s", pause.as_secs_f64());
            session = lost;
            if let Some(end) = self.pause(pause).await {
                return Ok(ended(end));
            }
        }
    }

    /// Connects and subscribes; `Err(None)` if it is to end before.
    #[allow(clippy::type_complexity, reason = "the session goes on to the next try")]
    async fn connect(
        &mut self,
        session: Session,
    ) -> anyhow::Result<Result<Connection, Option<(ClientError, Box<Session>)>>> {
        let trace = self.args.mqtt.debug.then_some(trace as crate::client::Trace);
        let target = self.plan.target.clone();
        let opened = tokio::select! {
            opened = Connection::open(&target, session, trace) => opened,
            () = interrupted(&mut self.signals) => return Ok(Err(None)),
            () = over(self.deadline) => return Ok(Err(None)),
        };
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(failure) => return Ok(Err(Some(failure))),
        };
        let timeout = self.args.timeout;
        self.deadline = self.deadline.or_else(|| Some(Instant::now() + timeout?));
        let properties = &self.plan.properties;
        if !self.wanted.unsubscribe.is_empty() {
            let user_properties = properties.unsubscribe.clone();
            connection.session().unsubscribe(self.wanted.unsubscribe.clone(), user_properties);
        }
        if !self.wanted.subscribe.is_empty() {
            let (filters, id) = (self.wanted.subscribe.clone(), properties.subscription_id);
            connection.session().subscribe(filters, id, properties.subscribe.clone());
        }
        Ok(Ok(connection))
    }

    /// Whether the time was over when it was to end, or a signal came.
    fn interrupted(&self) -> End {
        let is_over = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if is_over { End::TimedOut } else { End::Done }
    }

    async fn pause(&mut self, pause: Duration) -> Option<End> {
        tokio::select! {
            () = sleep(pause) => None,
            () = interrupted(&mut self.signals) => Some(End::Done),
            () = over(self.deadline) => Some(End::TimedOut),
        }
    }

    /// Prints what comes until it is to end; the inner error is a lost connection.
    async fn serve(
        &mut self,
        connection: &mut Connection,
    ) -> anyhow::Result<Result<End, ClientError>> {
        loop {
            if self.printing.is_none() {
                if let Some(end) = self.gather(connection)? {
                    return Ok(Ok(end));
                }
                if !self.batch.is_empty() {
                    self.print();
                } else {
                    self.acknowledge(connection);
                    if self.is_full {
                        return Ok(Ok(End::Done));
                    }
                }
            }
            let reads = self.printing.is_none();
            tokio::select! {
                printed = finished(&mut self.printing) => {
                    if !printed? {
                        return Ok(Ok(End::Unread));
                    }
                    self.acknowledge(connection);
                    if self.is_full && self.batch.is_empty() {
                        return Ok(Ok(End::Done));
                    }
                }
                // While nobody reads what we print, nothing is read from the broker either.
                result = connection.step(reads) => {
                    if let Err(error) = result {
                        // What had come before is printed all the same.
                        let _ = self.gather(connection)?;
                        return Ok(Err(error));
                    }
                }
                () = interrupted(&mut self.signals) => return Ok(Ok(End::Done)),
                () = over(self.deadline) => return Ok(Ok(End::TimedOut)),
            }
        }
    }

    /// Takes what has come, as far as it is wanted.
    fn gather(&mut self, connection: &mut Connection) -> anyhow::Result<Option<End>> {
        while !self.is_full && self.batch.len() < BATCH_BYTES {
            let Some(event) = connection.poll_event() else { break };
            match event {
                ClientEvent::Message(publish) => self.take(publish, connection)?,
                ClientEvent::Subscribed(results) => {
                    let refused = results.iter().filter(|(_, reason)| reason.is_failure());
                    for (filter, reason) in refused.clone() {
                        eprintln!(
                            "fieldpost: the broker refused the subscription to `{filter}`: {reason}"
                        );
                    }
                    if refused.count() == results.len() {
                        return Ok(Some(End::Refused));
                    }
                    self.is_full |= self.args.exit_subscribed;
                }
                ClientEvent::Unsubscribed => {
                    self.is_full |= self.wanted.subscribe.is_empty();
                }
                ClientEvent::Settled { topic, reason, .. } => {
                    if reason.is_failure() {
                        eprintln!("fieldpost: the broker did not remove `{topic}`: {reason}");
                    }
                }
                ClientEvent::Connected(_) => {}
            }
        }
        Ok(None)
    }

    fn take(&mut self, publish: Publish, connection: &mut Connection) -> anyhow::Result<()> {
        if self.args.retained_only && !publish.retain {
            self.is_full = true;
            return Ok(());
        }
        let is_wanted = publish.topic.as_ref().is_some_and(|topic| {
            !self.wanted.filter_out.iter().any(|filter| filter.matches(topic))
        });
        if !is_wanted || (self.args.no_stale && publish.retain) {
            self.taken.push(publish);
            return Ok(());
        }
        let ends_line = !self.args.no_newline;
        let format = &self.wanted.format;
        if let Err(error) = format.write(&publish, SystemTime::now(), ends_line, &mut self.batch) {
            eprintln!("fieldpost: {error}");
        } else {
            self.printed += 1;
        }
        self.is_full |= self.args.count.is_some_and(|count| self.printed >= count.get());
        if let Some(topic) = publish.topic.clone()
            && self.args.remove_retained
            && publish.retain
        {
            connection.publish(removal(topic))?;
        }
        self.taken.push(publish);
        Ok(())
    }

    fn print(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.printing = Some(tokio::task::spawn_blocking(move || {
            let mut out = io::stdout().lock();
            out.write_all(&batch)?;
            out.flush()
        }));
    }

    /// What was printed need not be kept by the broker.
    fn acknowledge(&mut self, connection: &mut Connection) {
        for publish in self.taken.drain(..) {
            connection.session().acknowledge(&publish);
        }
    }

    /// Prints what was gathered, without an acknowledgement: the connection is gone.
    async fn flush(&mut self) -> anyhow::Result<()> {
        finished_if_any(&mut self.printing).await?;
        if !self.batch.is_empty() {
            self.print();
            finished_if_any(&mut self.printing).await?;
        }
        self.taken.clear();
        Ok(())
    }

    async fn leave(mut self, mut connection: Connection, end: End) -> anyhow::Result<ExitStatus> {
        if end != End::Unread && self.printing.is_some() {
            // A reader that has stopped reading must not keep us.
            let patience = Duration::from_secs(1);
            if let Ok(printed) = timeout(patience, finished(&mut self.printing)).await
                && printed?
            {
                self.acknowledge(&mut connection);
            }
        }
        if self.args.remove_retained {
            let removed = async {
                while !connection.is_settled() {
                    connection.step(true).await?;
                    while let Some(event) = connection.poll_event() {
                        if let ClientEvent::Settled { topic, reason, .. } = event
                            && reason.is_failure()
                        {
                            eprintln!("fieldpost: the broker did not remove `{topic}`: {reason}");
                        }
                    }
                }
                Ok::<_, ClientError>(())
            };
            let patience = timeout(REMOVAL_MAX, removed).await;
            patience.context("the broker has not answered all removals")??;
        }
        // The broker may have more to say about us; what was asked for is done.
        let _ = connection.close(self.plan.goodbye()).await;
        Ok(ended(end))
    }
}

fn ended(end: End) -> ExitStatus {
    match end {
        End::Done | End::Unread => ExitStatus::Done,
        End::TimedOut => ExitStatus::TimedOut,
        End::Refused => ExitStatus::Failed,
    }
}

/// The empty retained message that removes one.
fn removal(topic: TopicName) -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: Some(topic),
        packet_id: None,
        payload: Bytes::new(),
        properties: None,
        message_expiry: None,
        topic_alias: None,
        subscription_ids: Vec::new(),
    }
}

/// Waits until what is being printed is out; never, if nothing is. Gives whether somebody reads it.
async fn finished(printing: &mut Option<JoinHandle<io::Result<()>>>) -> anyhow::Result<bool> {
    let Some(task) = printing else { return pending().await };
    let result = task.await;
    *printing = None;
    match result.context("the printing thread broke")? {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot print"),
    }
}

async fn finished_if_any(printing: &mut Option<JoinHandle<io::Result<()>>>) -> anyhow::Result<()> {
    if printing.is_some() {
        finished(printing).await?;
    }
    Ok(())
}

async fn interrupted(signals: &mut [Signal; 3]) {
    let [int, term, hup] = signals;
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
}

async fn over(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
