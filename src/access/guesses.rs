//! core: passwords that were wrong, by address: whoever guesses must pause.
//!
//! What is counted are *different* wrong answers: a device with an old password that tries it again and again guesses
//! nothing, and must not lock out its neighbours behind the same address.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Different wrong answers from one address within [`WINDOW`] after which it must pause.
pub(super) const WRONG_MAX: usize = 10;
/// How long a wrong answer counts.
const WINDOW: Duration = Duration::from_secs(60);
/// How long an address must pause.
pub(super) const PAUSE: Duration = Duration::from_secs(60);
/// Addresses that are remembered at most.
const ADDRESSES_MAX: usize = 1024;

/// What is known of an answer before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: it must be looked at.
    Unknown,
    /// It was wrong a moment ago.
    WrongAgain,
    /// The address must pause.
    Paused,
}

/// Wrong answers of each address.
#[derive(Debug)]
pub(super) struct Guesses {
    /// Keyed at random, so that what is kept tells nothing of a password.
    marks: RandomState,
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Debug, Default)]
struct Address {
    wrong: Vec<(u64, Instant)>,
    paused_until: Option<Instant>,
    /// Answers that were not looked at in this pause.
    refused: u64,
}

impl Address {
    /// Forgets what is over; gives how many answers were refused in a pause that is.
    fn forget(&mut self, now: Instant) -> Option<u64> {
        self.wrong.retain(|(_, at)| *at + WINDOW > now);
        let over = self.paused_until.take_if(|until| *until <= now);
        over.map(|_| std::mem::take(&mut self.refused))
    }

    fn last(&self) -> Option<Instant> {
        self.wrong.iter().map(|(_, at)| *at).chain(self.paused_until).max()
    }
}

impl Guesses {
    pub(super) fn new(marks: RandomState) -> Self {
        Self { marks, addresses: HashMap::new() }
    }

    /// Whether the answer of `user` from `address` must be looked at, and how many were not in a pause that is over.
    pub(super) fn judge(
        &mut self,
        address: IpAddr,
        user: &str,
        password: &[u8],
        now: Instant,
    ) -> (Verdict, Option<u64>) {
        let mark = self.marks.hash_one((user, password));
        let Some(known) = self.addresses.get_mut(&network(address)) else {
            return (Verdict::Unknown, None);
        };
        let refused = known.forget(now);
        let verdict = if known.paused_until.is_some() {
            known.refused += 1;
            Verdict::Paused
        } else if known.wrong.iter().any(|(wrong, _)| *wrong == mark) {
            Verdict::WrongAgain
        } else {
            Verdict::Unknown
        };
        (verdict, refused)
    }

    /// An answer was wrong. Gives whether the address must pause from here on.
    pub(super) fn handle_wrong(
        &mut self,
        address: IpAddr,
        user: &str,
        password: &[u8],
        now: Instant,
    ) -> bool {
        let mark = self.marks.hash_one((user, password));
        let address = network(address);
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            self.make_room(now);
        }
        let known = self.addresses.entry(address).or_default();
        known.forget(now);
        if known.wrong.iter().all(|(wrong, _)| *wrong != mark) {
            known.wrong.push((mark, now));
        }
        if known.wrong.len() < WRONG_MAX || known.paused_until.is_some() {
            return false;
        }
        known.wrong.clear();
        known.paused_until = Some(now + PAUSE);
        true
    }

    /// The passwords have changed: what was wrong may be right.
    pub(super) fn handle_users_changed(&mut self) {
        self.addresses.values_mut().for_each(|address| address.wrong.clear());
    }

    /// Forgets what is over, or else the address that has been quiet for longest.
    fn make_room(&mut self, now: Instant) {
        self.addresses.values_mut().for_each(|address| _ = address.forget(now));
        self.addresses.retain(|_, address| address.last().is_some());
        if self.addresses.len() >= ADDRESSES_MAX {
            let quietest = self.addresses.iter().min_by_key(|(_, address)| address.last());
            if let Some(address) = quietest.map(|(address, _)| *address) {
                self.addresses.remove(&address);
            }
        }
    }
}

/// An IPv6 host has a whole network of addresses to choose from (RFC 6177): they count as one.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn wrong(guesses: &mut Guesses, address: IpAddr, count: usize, now: Instant) -> bool {
        (0..count).any(|n| guesses.handle_wrong(address, "ann", &n.to_be_bytes(), now))
    }

    #[test]
    fn ten_different_answers_within_a_minute_make_an_address_pause_for_a_minute() {
        let (mut guesses, start) = (Guesses::new(RandomState::new()), Instant::now());
        assert!(!wrong(&mut guesses, HERE, WRONG_MAX - 1, start));
        assert_eq!(guesses.judge(HERE, "ann", b"right", start).0, Verdict::Unknown);
        assert!(guesses.handle_wrong(HERE, "bob", b"x", start + Duration::from_secs(59)));
        let paused = start + Duration::from_secs(59);
        assert_eq!(guesses.judge(HERE, "ann", b"right", paused).0, Verdict::Paused);
        let elsewhere = IpAddr::from([192, 0, 2, 8]);
        assert_eq!(guesses.judge(elsewhere, "ann", b"right", paused).0, Verdict::Unknown);
        let after = guesses.judge(HERE, "ann", b"right", paused + PAUSE);
        assert_eq!(after, (Verdict::Unknown, Some(1)));
    }

    #[test]
    fn answers_that_are_older_than_a_minute_do_not_count() {
        let (mut guesses, start) = (Guesses::new(RandomState::new()), Instant::now());
        assert!(!wrong(&mut guesses, HERE, WRONG_MAX - 1, start));
        assert!(!guesses.handle_wrong(HERE, "ann", b"x", start + WINDOW));
    }

    #[test]
    fn the_same_wrong_answer_again_and_again_is_one_and_is_known_at_once() {
        let (mut guesses, start) = (Guesses::new(RandomState::new()), Instant::now());
        for _ in 0..100 {
            assert!(!guesses.handle_wrong(HERE, "ann", b"old", start));
        }
        assert_eq!(guesses.judge(HERE, "ann", b"old", start).0, Verdict::WrongAgain);
        assert_eq!(guesses.judge(HERE, "bob", b"old", start).0, Verdict::Unknown);
        guesses.handle_users_changed();
        assert_eq!(guesses.judge(HERE, "ann", b"old", start).0, Verdict::Unknown);
    }

    #[test]
    fn the_addresses_of_one_network_count_as_one_in_ipv6() {
        let (mut guesses, start) = (Guesses::new(RandomState::new()), Instant::now());
        let host = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        for n in 0..10u16 {
            guesses.handle_wrong(host(n), "ann", &n.to_be_bytes(), start);
        }
        assert_eq!(guesses.judge(host(99), "ann", b"x", start).0, Verdict::Paused);
        let other = IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]);
        assert_eq!(guesses.judge(other, "ann", b"x", start).0, Verdict::Unknown);
    }

    #[test]
    fn the_number_of_addresses_is_bounded_and_the_quietest_is_forgotten() {
        let (mut guesses, start) = (Guesses::new(RandomState::new()), Instant::now());
        wrong(&mut guesses, HERE, WRONG_MAX, start);
        for n in 0..5_000u32 {
            guesses.handle_wrong(IpAddr::from(n.to_be_bytes()), "ann", b"x", start);
        }
        assert!(guesses.addresses.len() <= ADDRESSES_MAX);
        assert_eq!(guesses.judge(HERE, "ann", b"x", start).0, Verdict::Paused, "the loudest stays");
    }
}
