//! shell: the turnstile of all listeners, asked by every connection: who may come in, and what is said of those who may not.
#![allow(clippy::disallowed_methods, reason = "this shell tells the turnstile the time")]

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::counters::{BrokerCounters, Seen};
use super::settings::Limits;
use super::turnstile::{Full, Ticket, Turnstile};
use super::visitor::Peer;
use crate::quiet::Quiet;

/// Lines a minute of each kind about one address: of what is amiss, and of clients that come and go.
const WARNINGS_SAID: u32 = 1;
const VISITS_SAID: u32 = 30;

/// What all listeners of one broker share.
#[derive(Debug)]
pub struct Door {
    state: Mutex<State>,
    counters: BrokerCounters,
}

#[derive(Debug)]
struct State {
    turnstile: Turnstile,
    /// How to end those who have not said CONNECT.
    waiting: HashMap<Ticket, AbortHandle>,
    warnings: Quiet<Source>,
    visits: Quiet<Source>,
}

/// Of which listener, what, whose address, and which of several.
type Source = (usize, Seen, Option<IpAddr>, Option<&'static str>);

impl Door {
    /// The door of a broker with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let (turnstile, waiting) = (Turnstile::new(limits), HashMap::new());
        let (warnings, visits) = (Quiet::new(WARNINGS_SAID), Quiet::new(VISITS_SAID));
        let state = Mutex::new(State { turnstile, waiting, warnings, visits });
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
        self.say_one_of(listener, (Seen::WrongProtocol, Some(what)), peer, Whom::default(), &what);
    }

    /// Counts what others may provoke, and says it unless the like was said of this address just before.
    pub(super) fn say(&self, listener: &Named, seen: Seen, peer: &Peer, what: &dyn fmt::Display) {
        self.say_of(listener, seen, peer, Whom::default(), what);
    }

    /// The same of a client that has said who it is.
    pub(super) fn say_of(
        &self,
        listener: &Named,
        seen: Seen,
        peer: &Peer,
        whom: Whom<'_>,
        what: &dyn fmt::Display,
    ) {
        self.say_one_of(listener, (seen, None), peer, whom, what);
    }

    fn say_one_of(
        &self,
        listener: &Named,
        (seen, kind): (Seen, Option<&'static str>),
        peer: &Peer,
        whom: Whom<'_>,
        what: &dyn fmt::Display,
    ) {
        self.counters.see(seen);
        let source = (listener.index, seen, peer.ip(), kind);
        let unsaid = self.state().warnings.handle(&source, Instant::now());
        let Whom { client_id, user } = whom;
        match unsaid {
            Some(unsaid) => {
                let unsaid = Some(unsaid).filter(|count| *count > 0);
                warn!(listener = %listener.name, %peer, client_id, user, unsaid, "{what}");
            }
            None => debug!(listener = %listener.name, %peer, client_id, user, "{what}"),
        }
    }

    /// Counts a client that came or went; whether that is to be said.
    pub(super) fn may_say(&self, listener: &Named, seen: Seen, address: Option<IpAddr>) -> bool {
        self.counters.see(seen);
        let source = (listener.index, seen, address, None);
        self.state().visits.handle(&source, Instant::now()).is_some()
    }

    /// Says how much was left unsaid in the minute that is over.
    pub(super) fn tell_unsaid(&self) {
        let now = Instant::now();
        let (warnings, visits) = {
            let mut state = self.state();
            (state.warnings.handle_timeout(now), state.visits.handle_timeout(now))
        };
        for ((_, seen, address, _), unsaid) in warnings {
            warn!(address = address.map(display), unsaid, "more {}", seen.words());
        }
        for ((_, seen, address, _), unsaid) in visits {
            info!(address = address.map(display), unsaid, "more {}", seen.words());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who a client says it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Whom<'a> {
    pub(super) client_id: Option<&'a str>,
    pub(super) user: Option<&'a str>,
}

/// A listener by number and name.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) index: usize,
    /// As in the log: `mqtt://127.0.0.1:1883`.
    pub(super) name: Arc<str>,
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

    /// CONNECT has come. `false` if this connection has to make room for another, which nobody undoes any more.
    pub(super) fn handle_connect(&self) -> bool {
        let mut state = self.door.state();
        state.waiting.remove(&self.ticket);
        state.turnstile.handle_connect(self.ticket)
    }

    /// The client may connect and comes in, if there is room.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn enter(&mut self) -> Result<(), Full> {
        self.let_in(Turnstile::handle_entry)
    }

    /// The client comes in that is connected already; `is_here` if by this listener.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn take_over(&mut self, is_here: bool) -> Result<(), Full> {
        self.let_in(|turnstile, ticket| turnstile.handle_takeover(ticket, is_here))
    }

    fn let_in(
        &mut self,
        handle: impl FnOnce(&mut Turnstile, Ticket) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let mut state = self.door.state();
        handle(&mut state.turnstile, self.ticket)?;
        self.is_inside = true;
        self.door.counters.set_connected(state.turnstile.inside().into());
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
