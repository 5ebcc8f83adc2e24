//! core: who may come in: how many at once, how many that have not said CONNECT, how often from one address.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::settings::{Limits, PerAddress};

/// Addresses whose rate is remembered at most; beyond, all is forgotten rather than memory filled.
const ADDRESSES_MAX: usize = 4096;

/// One connection as the turnstile knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket {
    listener: usize,
    number: u64,
}

/// Clients beyond the bounds at a time: each of them takes over a connection that is about to end. After a power failure of
/// a switch many come back at once.
const TAKING_OVER_MAX: u32 = 64;

/// What becomes of somebody who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The connection's own.
    pub(super) ticket: Ticket,
    /// Whether its address comes more often than it may.
    pub(super) too_often: bool,
    /// Whose connection must end to make room for it.
    pub(super) evicted: Option<Ticket>,
}

/// Why somebody who said CONNECT is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The counts of all listeners.
#[derive(Debug)]
pub(super) struct Turnstile {
    limits: Limits,
    listeners: Vec<Lobby>,
    inside: u32,
    next: u64,
    rates: HashMap<IpAddr, Rate>,
}

/// Those of one listener.
#[derive(Debug, Default)]
struct Lobby {
    /// Who has not said CONNECT, the longest waiting first, and whom half-open connections are counted for.
    waiting: BTreeMap<u64, Option<IpAddr>>,
    /// How many of them each address has.
    by_address: HashMap<IpAddr, u32>,
    inside: u32,
    inside_max: Option<u32>,
}

impl Turnstile {
    /// A turnstile without listeners.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, listeners: Vec::new(), inside: 0, next: 0, rates: HashMap::new() }
    }

    /// Adds a listener with room for `inside_max` clients; gives its number.
    pub(super) fn add_listener(&mut self, inside_max: Option<u32>) -> usize {
        self.listeners.push(Lobby { inside_max, ..Lobby::default() });
        self.listeners.len() - 1
    }

    /// How many clients are in.
    pub(super) fn inside(&self) -> u32 {
        self.inside
    }

    /// Somebody dialled; `None` is a Unix socket, whose file says who may.
    pub(super) fn handle_arrival(
        &mut self,
        listener: usize,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Option<Arrival> {
        let counted = |per: PerAddress| address.and_then(|address| per.counts(address));
        let counted_rate = counted(self.limits.connection_rate);
        let address = counted(self.limits.half_open_per_address);
        let too_often = counted_rate.is_some_and(|address| !self.takes(address, now));
        let lobby = self.listeners.get_mut(listener)?;
        let theirs = address.and_then(|address| lobby.by_address.get(&address)).copied();
        let evicted = if theirs.unwrap_or(0) >= self.limits.half_open_per_address.max {
            lobby.waiting.iter().find(|(_, other)| **other == address).map(|(number, _)| *number)
        } else if lobby.waiting.len()
            >= usize::try_from(self.limits.half_open).unwrap_or(usize::MAX)
        {
            lobby.waiting.first_key_value().map(|(number, _)| *number)
        } else {
            None
        };
        if let Some(number) = evicted {
            lobby.leave(number);
        }
        let number = self.next;
        self.next += 1;
        lobby.waiting.insert(number, address);
        if let Some(address) = address {
            *lobby.by_address.entry(address).or_default() += 1;
        }
        let evicted = evicted.map(|number| Ticket { listener, number });
        Some(Arrival { ticket: Ticket { listener, number }, too_often, evicted })
    }

    /// Whether a ticket's owner has not said CONNECT.
    pub(super) fn is_waiting(&self, ticket: Ticket) -> bool {
        self.listeners.get(ticket.listener).is_some_and(|l| l.waiting.contains_key(&ticket.number))
    }

    /// Somebody said CONNECT and waits no longer. `false` if it had to make room for another before.
    pub(super) fn handle_connect(&mut self, ticket: Ticket) -> bool {
        let was_waiting = self.is_waiting(ticket);
        if let Some(lobby) = self.listeners.get_mut(ticket.listener) {
            lobby.leave(ticket.number);
        }
        was_waiting
    }

    /// A client that may connect comes in, if there is room.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn handle_entry(&mut self, ticket: Ticket) -> Result<(), Full> {
        self.let_in(ticket, 0, 0)
    }

    /// A client comes in that is connected already, and gets that connection's place once it has ended; `is_here` if that
    /// came to the same listener.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn handle_takeover(&mut self, ticket: Ticket, is_here: bool) -> Result<(), Full> {
        self.let_in(ticket, if is_here { TAKING_OVER_MAX } else { 0 }, TAKING_OVER_MAX)
    }

    /// Lets a client in where so many more than the bounds are inside.
    fn let_in(&mut self, ticket: Ticket, more_here: u32, more: u32) -> Result<(), Full> {
        let lobby = self.listeners.get_mut(ticket.listener).ok_or(Full)?;
        let is_full = |inside: u32, max: u32, more| inside >= max.saturating_add(more);
        if lobby.inside_max.is_some_and(|max| is_full(lobby.inside, max, more_here))
            || is_full(self.inside, self.limits.connections, more)
        {
            return Err(Full);
        }
        lobby.inside += 1;
        self.inside += 1;
        Ok(())
    }

    /// A connection has ended; `was_inside` if it had come in.
    pub(super) fn handle_end(&mut self, ticket: Ticket, was_inside: bool) {
        let Some(lobby) = self.listeners.get_mut(ticket.listener) else { return };
        lobby.leave(ticket.number);
        if was_inside {
            lobby.inside = lobby.inside.saturating_sub(1);
            self.inside = self.inside.saturating_sub(1);
        }
    }

    /// Whether the rate of an address allows one more.
    fn takes(&mut self, address: IpAddr, now: Instant) -> bool {
        let pace = Duration::from_secs(1) / self.limits.connection_rate.max.max(1);
        if self.rates.len() >= ADDRESSES_MAX && !self.rates.contains_key(&address) {
            self.rates.retain(|_, rate| rate.free_at > now);
            if self.rates.len() >= ADDRESSES_MAX {
                self.rates.clear();
            }
        }
        let rate = self.rates.entry(address).or_insert(Rate { free_at: now });
        let free_at = rate.free_at.max(now) + pace;
        // A second's worth may come at once.
        let takes = free_at <= now + Duration::from_secs(1).max(pace);
        if takes {
            rate.free_at = free_at;
        }
        takes
    }
}

/// When everything an address has used up of its rate is free again.
#[derive(Debug)]
struct Rate {
    free_at: Instant,
}

impl Lobby {
    fn leave(&mut self, number: u64) {
        let Some(Some(address)) = self.waiting.remove(&number) else { return };
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
    const B: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn turnstile(change: impl FnOnce(&mut Limits)) -> (Turnstile, Instant) {
        let mut limits = Limits::default();
        change(&mut limits);
        let mut turnstile = Turnstile::new(limits);
        turnstile.add_listener(None);
        turnstile.add_listener(Some(1));
        (turnstile, Instant::now())
    }

    #[test]
    fn the_longest_silent_one_makes_room() {
        let (mut turnstile, now) = turnstile(|limits| limits.half_open = 2);
        let arrive =
            |turnstile: &mut Turnstile| turnstile.handle_arrival(0, None, now).expect("a listener");
        let (first, second) = (arrive(&mut turnstile), arrive(&mut turnstile));
        assert_eq!((first.evicted, second.evicted), (None, None));
        assert!(turnstile.handle_connect(first.ticket));
        let third = arrive(&mut turnstile);
        assert_eq!(third.evicted, None);
        assert_eq!(arrive(&mut turnstile).evicted, Some(second.ticket));
        assert!(!turnstile.handle_connect(second.ticket), "its CONNECT comes too late");
        assert!(!turnstile.is_waiting(second.ticket) && turnstile.is_waiting(third.ticket));
    }

    #[test]
    fn one_address_makes_room_for_itself_and_costs_the_others_nothing() {
        let (mut turnstile, now) = turnstile(|limits| limits.half_open_per_address.max = 1);
        let b = turnstile.handle_arrival(0, B, now).expect("a listener");
        let a = turnstile.handle_arrival(0, A, now).expect("a listener");
        let again = turnstile.handle_arrival(0, A, now).expect("a listener");
        assert_eq!(again.evicted, Some(a.ticket));
        turnstile.handle_end(again.ticket, false);
        assert_eq!(turnstile.handle_arrival(0, A, now).expect("a listener").evicted, None);
        assert!(turnstile.is_waiting(b.ticket));
    }

    #[test]
    fn connections_are_bounded_for_all_and_for_each_listener() {
        let (mut turnstile, now) = turnstile(|limits| limits.connections = 2);
        let enter = |turnstile: &mut Turnstile, listener| {
            let ticket = turnstile.handle_arrival(listener, A, now).expect("a listener").ticket;
            assert!(turnstile.handle_connect(ticket));
            turnstile.handle_entry(ticket).map(|()| ticket)
        };
        let first = enter(&mut turnstile, 1).expect("there is room");
        assert_eq!(enter(&mut turnstile, 1), Err(Full), "the listener is full");
        enter(&mut turnstile, 0).expect("there is room");
        assert_eq!(enter(&mut turnstile, 0), Err(Full), "the broker is full");
        turnstile.handle_end(first, true);
        assert_eq!(turnstile.inside(), 1);
        enter(&mut turnstile, 1).expect("there is room again");
    }

    #[test]
    fn who_takes_over_a_connection_needs_no_place_of_its_own() {
        let (mut turnstile, now) = turnstile(|limits| limits.connections = 1);
        let dial = |turnstile: &mut Turnstile| {
            let ticket = turnstile.handle_arrival(1, A, now).expect("a listener").ticket;
            assert!(turnstile.handle_connect(ticket));
            ticket
        };
        let first = dial(&mut turnstile);
        turnstile.handle_entry(first).expect("there is room");
        let second = dial(&mut turnstile);
        assert_eq!(turnstile.handle_entry(second), Err(Full));
        assert_eq!(turnstile.handle_takeover(second, false), Err(Full), "the listener is full");
        turnstile.handle_takeover(second, true).expect("the first one is about to end");
        turnstile.handle_end(first, true);
        assert_eq!(turnstile.inside(), 1);
        let more = (0..100).filter(|_| {
            let ticket = dial(&mut turnstile);
            turnstile.handle_takeover(ticket, true).is_ok()
        });
        assert_eq!(more.count(), 64, "who only says so fills no more than that");
    }

    #[test]
    fn an_address_may_come_so_often_a_second_and_others_are_not_counted_with_it() {
        let (mut turnstile, now) = turnstile(|limits| limits.connection_rate.max = 3);
        let often = |turnstile: &mut Turnstile, address, ms| {
            let now = now + Duration::from_millis(ms);
            turnstile.handle_arrival(0, address, now).expect("a listener").too_often
        };
        let burst: Vec<bool> = (0..5).map(|_| often(&mut turnstile, A, 0)).collect();
        assert_eq!(burst, [false, false, false, true, true]);
        assert!(!often(&mut turnstile, B, 0) && !often(&mut turnstile, None, 0));
        assert!(!often(&mut turnstile, A, 334) && often(&mut turnstile, A, 335));
        assert!(!often(&mut turnstile, A, 2000));
    }

    #[test]
    fn the_addresses_remembered_are_bounded() {
        let (mut turnstile, now) = turnstile(|limits| limits.half_open = 1);
        for number in 0..10_000u32 {
            let address = Some(IpAddr::V4(number.into()));
            turnstile.handle_arrival(0, address, now).expect("a listener");
        }
        assert!(turnstile.rates.len() <= ADDRESSES_MAX, "{}", turnstile.rates.len());
        assert_eq!(turnstile.listeners[0].by_address.len(), 1);
    }
}
