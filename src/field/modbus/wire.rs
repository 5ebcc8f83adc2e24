//! core: the transactions of one opened port or connection, whatever its framing.

use std::time::{Duration, Instant};

use super::link::Link;
use super::numbered::Numbered;
use super::receiver::Wrap;
use super::transaction::{Ended, Outcome, Question};
use crate::field::{BusSettings, PortSettings};

/// What runs over one opened port or connection.
#[derive(Debug)]
pub struct Wire {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Single { link: Box<Link>, open: Option<(u64, Question)>, ended: Option<Ended> },
    Numbered(Numbered),
}

impl Wire {
    /// For the port of `bus`, opened at `now`; `first_id` is the first transaction id where there are any.
    #[must_use]
    pub fn new(bus: &BusSettings, first_id: u16, now: Instant) -> Self {
        let timeout = bus.timeout;
        let single = |link| Kind::Single { link: Box::new(link), open: None, ended: None };
        let kind = match &bus.port {
            PortSettings::Rtu(serial) => single(Link::rtu(serial, timeout, now)),
            PortSettings::Ascii(serial) => single(Link::ascii(serial, timeout, now)),
            PortSettings::RtuOverTcp(_) => single(Link::over_tcp(Wrap::Rtu, timeout, now)),
            PortSettings::AsciiOverTcp(_) => single(Link::over_tcp(Wrap::Ascii, timeout, now)),
            PortSettings::Tcp(_) | PortSettings::Tls(..) => {
                Kind::Numbered(Numbered::tcp(first_id, bus.in_flight))
            }
            PortSettings::Udp(_) => Kind::Numbered(Numbered::udp(first_id, bus.in_flight)),
        };
        Self { kind }
    }

    /// Whether one more question may be asked.
    #[must_use]
    pub fn has_room(&self) -> bool {
        match &self.kind {
            Kind::Single { open, .. } => open.is_none(),
            Kind::Numbered(numbered) => numbered.open_count() < numbered.window(),
        }
    }

    /// How many questions may be under way, as far as is known by now.
    #[must_use]
    pub fn window(&self) -> usize {
        match &self.kind {
            Kind::Single { .. } => 1,
            Kind::Numbered(numbered) => numbered.window(),
        }
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match &self.kind {
            Kind::Single { open, .. } => open.is_none(),
            Kind::Numbered(numbered) => numbered.open_count() == 0,
        }
    }

    /// Whether the adapter receives what it sends.
    #[must_use]
    pub fn hears_itself(&self) -> bool {
        match &self.kind {
            Kind::Single { link, .. } => link.hears_itself(),
            Kind::Numbered(_) => false,
        }
    }

    /// Whether what was received before a question means nothing after it. Where frames have numbers, they tell.
    #[must_use]
    pub fn forgets_input(&self) -> bool {
        matches!(self.kind, Kind::Single { .. })
    }

    /// When the next request may be sent, where a line must be silent first.
    #[must_use]
    pub fn poll_ready(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Single { link, .. } => Some(link.poll_ready()),
            Kind::Numbered(_) => None,
        }
    }

    /// Why the port or connection must be opened again, if it must.
    #[must_use]
    pub fn unusable(&self) -> Option<&str> {
        match &self.kind {
            Kind::Single { link, .. } => link.unusable(),
            Kind::Numbered(numbered) => numbered.unusable(),
        }
    }

    /// Begins a transaction at `now` that ends as `ticket`; the device has `timeout` for its answer. Returns the bytes
    /// to send at once.
    pub fn ask(
        &mut self,
        ticket: u64,
        question: Question,
        timeout: Duration,
        now: Instant,
    ) -> Vec<u8> {
        match &mut self.kind {
            Kind::Single { link, open, .. } => {
                *open = Some((ticket, question.clone()));
                link.set_timeout(timeout);
                link.ask(question, now)
            }
            Kind::Numbered(numbered) => numbered.ask(ticket, question, timeout, now),
        }
    }

    /// Takes bytes that were read at `now`, in a transaction or between two.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        match &mut self.kind {
            Kind::Single { link, open, ended } => {
                let outcome = link.handle_bytes(bytes, now);
                end(outcome, open, ended);
            }
            Kind::Numbered(numbered) => numbered.handle_bytes(bytes, now),
        }
    }

    /// When [`Wire::handle_timeout`] must be called, if anything is under way.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Single { link, .. } => link.poll_timeout(),
            Kind::Numbered(numbered) => numbered.poll_timeout(),
        }
    }

    /// Ends what has its time over.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.kind {
            Kind::Single { link, open, ended } => {
                let outcome = link.handle_timeout(now);
                end(outcome, open, ended);
            }
            Kind::Numbered(numbered) => numbered.handle_timeout(now),
        }
    }

    /// Ends everything that is under way because the port or connection failed.
    pub fn handle_port_failure(&mut self, reason: &str) {
        match &mut self.kind {
            Kind::Single { link, open, ended } => {
                let outcome = link.handle_port_failure(reason);
                end(outcome, open, ended);
            }
            Kind::Numbered(numbered) => numbered.handle_port_failure(reason),
        }
    }

    /// The next transaction that ended.
    pub fn poll_ended(&mut self) -> Option<Ended> {
        match &mut self.kind {
            Kind::Single { ended, .. } => ended.take(),
            Kind::Numbered(numbered) => numbered.poll_ended(),
        }
    }
}

fn end(outcome: Option<Outcome>, open: &mut Option<(u64, Question)>, ended: &mut Option<Ended>) {
    if let Some(outcome) = outcome
        && let Some((ticket, question)) = open.take()
    {
        *ended = Some(Ended { ticket, question, outcome });
    }
}
