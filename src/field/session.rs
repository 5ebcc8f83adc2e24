//! shell: one opened port and one question after the other, without a schedule: for whoever looks for devices.
#![allow(clippy::disallowed_methods, reason = "reads the clock and waits for the port")]

use std::io;
use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};
use tracing::trace;

use super::modbus::transaction::{Ended, Failure, Outcome, Question};
use super::modbus::wire::Wire;
use super::port::{Port, others};
use super::{BusSettings, UnitId};

/// The longest frame is 260 bytes; noise may come with it.
const READ_BUFFER_LEN: usize = 512;
/// How long bytes may take to be handed to the system, and a line to fall silent.
const SEND_MAX: Duration = Duration::from_secs(2);

/// Why a port cannot be opened, in the words of the person who must change it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct NotOpened {
    words: String,
}

/// An opened port. A unit that left a question unanswered is asked its next one only after as long again: what it says
/// late is not taken for that. One that is later still is mistaken.
pub struct Session {
    settings: BusSettings,
    port: Port,
    wire: Wire,
    asked: u64,
    answered: bool,
    /// Who may still answer a question, and until when that is waited for.
    owed: Vec<(UnitId, Instant)>,
}

impl Session {
    /// Opens the port of `settings` for this program alone.
    ///
    /// # Errors
    /// [`NotOpened`] says why not, and what helps.
    pub async fn open(settings: BusSettings) -> Result<Self, NotOpened> {
        let opened = Port::open(&settings.port).await;
        let port = opened.map_err(|error| NotOpened { words: error.to_string() })?;
        let wire = Wire::new(&settings, fastrand::u16(..), Instant::now());
        Ok(Self { settings, port, wire, asked: 0, answered: false, owed: Vec::new() })
    }

    /// Who else has the serial port open, as far as that can be seen: answers may go there.
    pub async fn others(&self) -> Vec<String> {
        others(&self.settings.port).await
    }

    /// Why it must be opened again, if it must.
    #[must_use]
    pub fn unusable(&self) -> Option<&str> {
        self.wire.unusable()
    }

    /// Asks `question`, once; the unit has `patience` for the first character of its answer. Says how it ended.
    pub async fn ask(&mut self, question: Question, patience: Duration) -> Outcome {
        self.asked += 1;
        let (asked, unit) = (question.to_string(), question.unit);
        self.rest(unit).await;
        let ended = match self.run(question, patience).await {
            Ok(ended) => Some(ended),
            Err(error) => {
                self.wire.handle_port_failure(&self.port.explain(&error, self.answered));
                self.wire.poll_ended()
            }
        };
        let outcome = ended.map(|ended| ended.outcome).unwrap_or_else(|| Outcome {
            // The port failed before it could be asked.
            result: Err(Failure::Port {
                reason: self.wire.unusable().unwrap_or("the port is gone").to_owned(),
            }),
            dropped: Vec::new(),
        });
        let is_answered = matches!(outcome.result, Ok(_) | Err(Failure::Refused { .. }));
        self.answered |= is_answered;
        if !is_answered && !self.settings.port.has_numbers() {
            self.owed.push((unit, Instant::now() + patience));
        }
        trace!(target: "wire::modbus", asked, ?outcome, "question ended");
        outcome
    }

    /// Listens for `time`; returns how many bytes came. A port that fails is found by the next question.
    pub async fn listen(&mut self, time: Duration) -> usize {
        let (until, mut count) = (Instant::now() + time, 0);
        while Instant::now() < until {
            match self.read_until(until).await {
                Ok(read) => count += read,
                Err(_) => break,
            }
        }
        count
    }

    /// Lets the late answer of a unit come before it is asked something else.
    async fn rest(&mut self, unit: UnitId) {
        let now = Instant::now();
        self.owed.retain(|(_, until)| *until > now);
        let until = self.owed.iter().filter(|owed| owed.0 == unit).map(|owed| owed.1).max();
        if let Some(until) = until {
            self.listen(until.saturating_duration_since(now)).await;
        }
    }

    async fn run(&mut self, question: Question, patience: Duration) -> io::Result<Ended> {
        // A line that never falls silent is asked all the same; what comes of it says why.
        let patient_until = Instant::now() + patience.min(SEND_MAX);
        while let Some(ready) = self.wire.poll_ready()
            && Instant::now() < ready.min(patient_until)
        {
            self.read_until(ready.min(patient_until)).await?;
        }
        if self.wire.forgets_input() {
            self.port.clear_input()?;
        }
        let request = self.wire.ask(self.asked, question, patience, Instant::now());
        trace!(target: "wire::modbus", bus = %self.settings.name, bytes = %format_args!("{request:02x?}"), "sent");
        timeout(SEND_MAX, self.port.write(&request))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "nothing can be sent"))??;
        loop {
            while let Some(ended) = self.wire.poll_ended() {
                if ended.ticket == self.asked {
                    return Ok(ended);
                }
            }
            let deadline = self.wire.poll_timeout().unwrap_or_else(Instant::now);
            self.read_until(deadline).await?;
        }
    }

    async fn read_until(&mut self, deadline: Instant) -> io::Result<usize> {
        let mut buffer = [0; READ_BUFFER_LEN];
        match timeout_at(deadline.into(), self.port.read(&mut buffer)).await {
            Ok(read) => {
                let bytes = buffer.get(..read?).unwrap_or_default();
                trace!(target: "wire::modbus", bus = %self.settings.name, bytes = %format_args!("{bytes:02x?}"), "received");
                self.wire.handle_bytes(bytes, Instant::now());
                Ok(bytes.len())
            }
            Err(_) => {
                self.wire.handle_timeout(Instant::now());
                Ok(0)
            }
        }
    }
}
