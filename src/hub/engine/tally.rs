//! core: how the engine stands in numbers, and what is said of that: messages that are retained in memory alone.

use std::sync::Arc;

use super::{Engine, Output};
use crate::hub::session::Session;
use crate::hub::tally::Tally;
use crate::model::{Message, Moment, QoS};
use crate::mqtt::ReasonCode;

impl Engine {
    /// What was counted since the start, and what is held.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            counts: self.counts,
            clients_peak: self.clients_peak,
            shared_subscriptions: self.shares.members() as u64,
            retained: self.retained.len() as u64,
            retained_bytes: self.retained.bytes() as u64,
            store_bytes: self.bounds.bytes_used(),
            commits: self.committed_batch,
            ..Tally::default()
        };
        for session in self.sessions.values() {
            tally.queued += session.outbox.queued();
            tally.queued_bytes += session.outbox.ready_bytes() as u64;
            if !session.is_uplink() {
                tally.subscriptions += session.subscriptions.len() as u64;
                let of = match session.link {
                    Some(_) => &mut tally.clients_connected,
                    None => &mut tally.clients_away,
                };
                *of += 1;
            }
        }
        tally
    }

    /// A client has come in: there may be more of them than ever.
    pub(super) fn note_peak(&mut self) {
        let is_up = |session: &Session| session.link.is_some();
        let uplinks = self.uplinks.values().filter_map(|id| self.sessions.get(id));
        let clients = self.connections.len() - uplinks.filter(|uplink| is_up(uplink)).count();
        self.clients_peak = self.clients_peak.max(clients as u64);
    }

    /// The gateway says something of itself that is worth nothing once it has stopped: it is delivered, and retained if it
    /// is to be, and never stored for that.
    pub fn handle_say_of_self(&mut self, mut message: Message, now: Moment) {
        self.clock.handle_entry(&mut message, now);
        message.qos = QoS::AtMostOnce;
        if message.retain {
            self.of_self.keep(&message);
        }
        let mut wanted = std::mem::take(&mut self.wanted);
        let copies = self.find_wanted(&message, None, true, &mut wanted);
        if !wanted.is_empty() {
            let message = Arc::new(message);
            self.deliver(&message, wanted.drain(..), now);
            copies.into_iter().for_each(|copy| _ = self.deliver(&message, [copy], now));
        }
        self.wanted = wanted;
    }

    /// The listener that a connected client came to; `None` if it is not connected.
    #[must_use]
    pub fn listener_of(&self, client_id: &str) -> Option<Arc<str>> {
        let session = self.clients.get(client_id).and_then(|id| self.sessions.get(id))?;
        session.link.as_ref()?;
        session.caller.as_ref().map(|caller| caller.listener.clone())
    }

    /// Ends the connection of a client by an operator's command; whether it had one.
    pub fn handle_send_away(&mut self, client_id: &str) -> bool {
        let session = self.clients.get(client_id).and_then(|id| self.sessions.get(id));
        let Some(link) = session.and_then(|session| session.link.as_ref()) else { return false };
        self.outputs.push_back(Output::Close(link.id, ReasonCode::AdministrativeAction));
        true
    }
}
