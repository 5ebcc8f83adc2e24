//! shell: the turnstile of all listeners, asked by every connection: who may come in, and what is said of those who may not.
#![allow(clippy::disallowed_methods, reason = "this shell tells the turnstile the time")]

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::task::AbortHandle;
use tracing::{debug, warn};

use super::counters::{BrokerCounters, Seen};
use super::quiet::Quiet;
use super::settings::Limits;
use super::turnstile::{Full, Ticket, Turnstile};
use super::visitor::Peer;

/// Addresses whose warnings are kept apart; those of more at a time are not said.
const QUIET_MAX: usize = 256;

/// What all listeners of one broker share.
#[derive(Debug)]
pub struct Door {
    state: Mutex<State>,
    counters: BrokerCounters,
}

/// Warnings that are kept apart: of which listener, what, which address, and which of several.
type Warning = (usize, Seen, Option<IpAddr>, Option<&'static str>);

#[derive(Debug)]
struct State {
    turnstile: Turnstile,
    /// How to end those who have not said CONNECT.
    waiting: HashMap<Ticket, AbortHandle>,
    quiet: HashMap<Warning, Quiet>,
}

impl Door {
    /// The door of a broker with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let (turnstile, waiting, quiet) = (Turnstile::new(limits), HashMap::new(), HashMap::new());
        let state = Mutex::new(State { turnstile, waiting, quiet });
        Arc::new(Self { state, counters: BrokerCounters::default() })
    }

    /// What has been seen here since the start.
    #[must_use]
    pub fn counters(&self) -> &BrokerCounters {
        &self.counters
    }

    pub(super) fn add_listener(&self, connections_max: Option<u32>) -> usize {
        self.state().turnstile.add_listener(connections_max)
    }

    /// Somebody dialled. Gives its pass and whether its address comes too often.
    pub(super) fn handle_arrival(
        self: &Arc<Self>,
        listener: &Named,
        peer: Peer,
    ) -> Option<(Pass, bool)> {
        self.counters.see(Seen::Dialled);
        let mut state = self.state();
        let arrival = state.turnstile.handle_arrival(listener.index, peer.ip(), Instant::now())?;
        let evicted = arrival.evicted.and_then(|ticket| state.waiting.remove(&ticket));
        // Its pass asks for the state when it goes.
        drop(state);
        if let Some(evicted) = evicted {
            evicted.abort();
            let what =
                "connections that say no CONNECT fill the listener; the longest waiting one ended";
            self.say(listener, Seen::Evicted, &peer, &what);
        }
        let pass = Pass { door: self.clone(), ticket: arrival.ticket, is_inside: false };
        Some((pass, arrival.too_often))
    }

    /// Remembers how to end a connection while it waits.
    pub(super) fn remember(&self, ticket: Ticket, handle: AbortHandle) {
        let mut state = self.state();
        if state.turnstile.is_waiting(ticket) {
            state.waiting.insert(ticket, handle);
        }
    }

    /// Counts a peer that speaks something else, and says so unless the same was said of this address just before.
    pub(super) fn say_foreign(&self, listener: &Named, peer: &Peer, what: &'static str) {
        self.say_one_of(listener, Seen::WrongProtocol, Some(what), peer, &what);
    }

    /// Counts what others may provoke, and says it unless the like was said of this address just before.
    pub(super) fn say(&self, listener: &Named, seen: Seen, peer: &Peer, what: &dyn fmt::Display) {
        self.say_one_of(listener, seen, None, peer, what);
    }

    fn say_one_of(
        &self,
        listener: &Named,
        seen: Seen,
        kind: Option<&'static str>,
        peer: &Peer,
        what: &dyn fmt::Display,
    ) {
        self.counters.see(seen);
        let (mut state, now) = (self.state(), Instant::now());
        let key = (listener.index, seen, peer.ip(), kind);
        if state.quiet.len() >= QUIET_MAX && !state.quiet.contains_key(&key) {
            state.quiet.retain(|_, quiet| quiet.is_pausing(now));
        }
        let unsaid = match state.quiet.len() {
            QUIET_MAX.. if !state.quiet.contains_key(&key) => None,
            _ => state.quiet.entry(key).or_default().handle(now),
        };
        drop(state);
        match unsaid {
            Some(unsaid) => {
                let unsaid = Some(unsaid).filter(|count| *count > 0);
                warn!(listener = %listener.name, %peer, unsaid, "{what}");
            }
            None => debug!(listener = %listener.name, %peer, "{what}"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener by number and name.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) index: usize,
    /// As in the log: `mqtt://127.0.0.1:1883`.
    pub(super) name: Box<str>,
}

/// What a connection holds as long as it lasts; its place is free again when this goes.
#[derive(Debug)]
pub(super) struct Pass {
    door: Arc<Door>,
    ticket: Ticket,
    is_inside: bool,
}

impl Pass {
    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// CONNECT has come.
    pub(super) fn handle_connect(&self) {
        let mut state = self.door.state();
        state.turnstile.handle_connect(self.ticket);
        state.waiting.remove(&self.ticket);
    }

    /// The client may connect and comes in, if there is room.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn enter(&mut self) -> Result<(), Full> {
        let mut state = self.door.state();
        state.turnstile.handle_entry(self.ticket)?;
        self.is_inside = true;
        self.door.counters.set_connected(state.turnstile.inside().into());
        self.door.counters.see(Seen::Connected);
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.door.state();
        state.turnstile.handle_end(self.ticket, self.is_inside);
        state.waiting.remove(&self.ticket);
        self.door.counters.set_connected(state.turnstile.inside().into());
    }
}
