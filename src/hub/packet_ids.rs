//! core: which packet ids a session may give, and which may be open at the other side without our knowledge (MQTT 5.0
//! sections 2.2.1 and 4.3.3).
//!
//! What is staged does not survive a power cut, so after one the other side may hold packet ids of QoS 2 messages that
//! we know nothing of; a new message under such an id would be taken for a repeat and swallowed. So ids for QoS 2 are
//! reserved ahead, in blocks that are committed before their first use, and after a power cut all of the last block that
//! is not known to be in use is released (PUBREL) before it is given again. Until all of it is, it stays reserved, the
//! blocks reserved meanwhile begin where it does, and a start has it released again: a process may end before the other
//! side is reached.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

/// The last packet id given to a message; 65,535 is left for an uplink's SUBSCRIBE.
pub const MESSAGE_ID_MAX: u16 = u16::MAX - 1;
/// Ids reserved at a time: one commit for so many messages, and at most so many releases after a power cut.
const BLOCK: u16 = 8192;

/// The packet ids of one session.
#[derive(Debug, Default)]
pub struct PacketIds {
    last: u16,
    /// The first that may be open, round to the last that may be given to a QoS 2 message.
    reserved: Option<(NonZeroU16, NonZeroU16)>,
    /// May be open at the other side.
    distrusted: BTreeSet<NonZeroU16>,
    /// Where the block began of which ids may be open.
    lost_from: Option<NonZeroU16>,
    /// PUBREL was sent on this connection, PUBCOMP has not come.
    closing: BTreeSet<NonZeroU16>,
}

impl PacketIds {
    /// Whether so many ids are to be released that none of the rest may be left beside `in_use` ones: after a damage all
    /// of them may be open.
    pub fn is_exhausted(&self, in_use: usize) -> bool {
        self.distrusted.len() + self.closing.len() + in_use >= usize::from(MESSAGE_ID_MAX)
    }

    /// The next id that is not in use. There must be one: see [`Self::is_exhausted`].
    pub fn next(&mut self, in_use: impl Fn(NonZeroU16) -> bool) -> NonZeroU16 {
        loop {
            self.last = if self.last >= MESSAGE_ID_MAX { 1 } else { self.last + 1 };
            if let Some(id) = NonZeroU16::new(self.last)
                && !in_use(id)
                && !self.distrusted.contains(&id)
                && !self.closing.contains(&id)
            {
                return id;
            }
        }
    }

    /// Takes note of an id that a start found in use: the next one goes on from the highest, so that a freed one rests
    /// as long as it can.
    pub fn handle_known(&mut self, id: NonZeroU16) {
        self.last = self.last.max(id.get());
    }

    /// The block to be committed before `id` goes out with a QoS 2 message, if it is outside the last one; `oldest` is the
    /// id that has been in use longest.
    pub fn reserve(
        &mut self,
        id: NonZeroU16,
        oldest: NonZeroU16,
    ) -> Option<(NonZeroU16, NonZeroU16)> {
        if self.reserved.is_some_and(|(first, last)| distance(first, id) <= distance(first, last)) {
            return None;
        }
        let oldest = self.lost_from.unwrap_or(oldest);
        let length = u32::from(distance(oldest, id)) + u32::from(BLOCK);
        let round = u32::from(MESSAGE_ID_MAX);
        let last = forward(oldest, u16::try_from(length.min(round - 1)).unwrap_or(BLOCK));
        self.reserved = Some((oldest, last));
        self.reserved
    }

    /// What was staged is gone: every id from `first` round to `last` may be open, but those that are known.
    pub fn distrust(
        &mut self,
        first: NonZeroU16,
        last: NonZeroU16,
        known: impl IntoIterator<Item = NonZeroU16>,
    ) {
        let span = 0..=distance(first, last);
        self.distrusted = span.map(|steps| forward(first, steps)).collect();
        for id in known {
            self.distrusted.remove(&id);
        }
        self.lost_from = Some(first);
        // It stands in the store. Where it leaves no ids beside it, those given next lie in it: a block up to a little
        // behind them would be smaller, and what lies beyond would never be released.
        self.reserved = Some((first, last));
        self.last = last.get();
    }

    /// A connection is there: what was being released is released again.
    pub fn handle_resumed(&mut self) {
        self.distrusted.append(&mut self.closing);
    }

    /// The other side has lost the session, and with it every id.
    pub fn handle_session_lost(&mut self) {
        self.distrusted.clear();
        self.closing.clear();
    }

    /// Whether no id may be open any more, if some might have been when this was asked last.
    pub fn take_closed(&mut self) -> bool {
        let is_closed = self.distrusted.is_empty() && self.closing.is_empty();
        let is_news = is_closed && self.lost_from.take().is_some();
        if is_news {
            // The next block is a small one again, however many power cuts the last one stands for.
            self.reserved = None;
        }
        is_news
    }

    /// The next id to release, if fewer than `window` are being released.
    pub fn poll_release(&mut self, window: u16) -> Option<NonZeroU16> {
        if self.closing.len() >= usize::from(window) {
            return None;
        }
        let id = self.distrusted.pop_first()?;
        self.closing.insert(id);
        Some(id)
    }

    /// PUBCOMP came; tells whether it was for an id that was being released.
    pub fn handle_pubcomp(&mut self, id: NonZeroU16) -> bool {
        self.closing.remove(&id)
    }
}

/// Steps from `from` on to `to`, round the end if need be.
fn distance(from: NonZeroU16, to: NonZeroU16) -> u16 {
    let (from, to) = (u32::from(from.get()), u32::from(to.get()));
    let round = u32::from(MESSAGE_ID_MAX);
    u16::try_from((to + round - from) % round).unwrap_or(MESSAGE_ID_MAX)
}

/// The id `steps` after `from`, round the end if need be.
fn forward(from: NonZeroU16, steps: u16) -> NonZeroU16 {
    let place = (u32::from(from.get()) - 1 + u32::from(steps)) % u32::from(MESSAGE_ID_MAX);
    u16::try_from(place + 1).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).expect("not 0")
    }

    #[test]
    fn when_every_id_may_be_open_none_is_given_before_one_is_released() {
        let mut ids = PacketIds::default();
        ids.distrust(id(1), id(MESSAGE_ID_MAX), [id(7)]);
        assert!(ids.is_exhausted(1));
        let released = ids.poll_release(1).expect("there are many");
        assert!(ids.is_exhausted(1), "it is still open");
        assert!(ids.handle_pubcomp(released));
        assert!(!ids.is_exhausted(1));
        assert_eq!(ids.next(|known| known == id(7)), released);
    }

    #[test]
    fn a_block_is_reserved_once_and_the_next_when_it_is_used_up() {
        let mut ids = PacketIds::default();
        assert_eq!(ids.reserve(id(1), id(1)), Some((id(1), id(1 + BLOCK))));
        assert_eq!(ids.reserve(id(1 + BLOCK), id(1)), None);
        let next = ids.reserve(id(2 + BLOCK), id(BLOCK));
        assert_eq!(next, Some((id(BLOCK), id(2 + 2 * BLOCK))));
    }

    #[test]
    fn blocks_go_round_the_end_and_never_reach_the_id_of_a_subscribe() {
        let mut ids = PacketIds::default();
        let (first, last) = ids.reserve(id(65_000), id(64_990)).expect("a first block");
        assert_eq!(first, id(64_990));
        assert_eq!(last, forward(id(65_000), BLOCK));
        assert!(last.get() < BLOCK);
        assert_eq!(ids.reserve(id(65_534), id(1)), None);
        assert_eq!(ids.reserve(id(3), id(1)), None);
        assert_eq!(forward(id(65_534), 1), id(1));
        assert_eq!(distance(id(65_534), id(1)), 1);
    }

    #[test]
    fn an_id_in_use_since_long_ago_makes_the_block_a_whole_round_at_most() {
        let mut ids = PacketIds::default();
        let (first, last) = ids.reserve(id(60_000), id(1)).expect("a block");
        assert_eq!((first, last), (id(1), id(MESSAGE_ID_MAX)));
    }

    #[test]
    fn what_may_be_open_is_released_before_it_is_given_again() {
        let mut ids = PacketIds::default();
        ids.distrust(id(65_533), id(2), [id(1)]);
        assert_eq!(ids.next(|_| false), id(3));
        let released: Vec<_> = std::iter::from_fn(|| ids.poll_release(2)).collect();
        assert_eq!(released, [id(2), id(65_533)]);
        assert!(ids.handle_pubcomp(id(2)));
        assert!(!ids.handle_pubcomp(id(2)));
        assert_eq!(ids.poll_release(2), Some(id(65_534)));
        ids.handle_resumed();
        assert_eq!(ids.poll_release(9), Some(id(65_533)));
        ids.last = 65_532;
        assert_eq!(ids.next(|known| known == id(1)), id(2));
    }

    #[test]
    fn a_block_of_which_some_may_be_open_stays_reserved_when_ids_in_it_are_given_again() {
        let mut ids = PacketIds::default();
        ids.distrust(id(1), id(MESSAGE_ID_MAX), []);
        assert_eq!(ids.poll_release(9), Some(id(1)));
        assert!(ids.handle_pubcomp(id(1)));
        assert_eq!(ids.next(|_| false), id(1));
        assert_eq!(ids.reserve(id(1), id(1)), None, "65,533 others are still to be released");
    }

    #[test]
    fn a_block_reserved_while_some_may_be_open_begins_where_they_do() {
        let mut ids = PacketIds::default();
        assert!(!ids.take_closed(), "none was open");
        ids.distrust(id(5), id(6), []);
        assert_eq!(ids.reserve(id(7), id(7)), Some((id(5), id(7 + BLOCK))));
        assert_eq!((ids.poll_release(9), ids.poll_release(9)), (Some(id(5)), Some(id(6))));
        assert!(ids.handle_pubcomp(id(5)) && !ids.take_closed());
        assert!(ids.handle_pubcomp(id(6)) && ids.take_closed());
        assert!(!ids.take_closed(), "told once");
        assert_eq!(ids.reserve(id(8), id(7)), Some((id(7), id(8 + BLOCK))));
    }

    /// One session and its other side, through restarts and power cuts.
    #[derive(Default)]
    struct Model {
        ids: PacketIds,
        /// In use, oldest first.
        flights: Vec<NonZeroU16>,
        is_lost: bool,
        reserved: Option<(NonZeroU16, NonZeroU16)>,
        /// `flights` and `is_lost` as a power cut finds them.
        synced: (Vec<NonZeroU16>, bool),
        open: BTreeSet<NonZeroU16>,
    }

    impl Model {
        fn give(&mut self) {
            if self.ids.is_exhausted(self.flights.len()) {
                return;
            }
            let id = self.ids.next(|id| self.flights.contains(&id));
            let oldest = self.flights.first().copied().unwrap_or(id);
            self.flights.push(id);
            if let Some(block) = self.ids.reserve(id, oldest) {
                self.reserved = Some(block);
                self.synced = (self.flights.clone(), self.is_lost);
            }
            assert!(self.open.insert(id), "the message under {id} is taken for a repeat");
        }

        fn acknowledge(&mut self) {
            if !self.flights.is_empty() {
                self.open.remove(&self.flights.remove(0));
            }
        }

        fn release(&mut self, count: usize) {
            for _ in 0..count {
                let Some(id) = self.ids.poll_release(10) else { break };
                self.open.remove(&id);
                assert!(self.ids.handle_pubcomp(id));
            }
            if self.ids.take_closed() {
                assert!(self.open.iter().all(|id| self.flights.contains(id)), "one is left open");
                self.is_lost = false;
            }
        }

        fn power_cut(&mut self) {
            (self.flights, self.is_lost) = self.synced.clone();
            self.is_lost |= self.reserved.is_some();
            // What a start sends again is open then, whatever was before.
            self.open.extend(&self.flights);
            self.restart();
        }

        fn restart(&mut self) {
            self.synced = (self.flights.clone(), self.is_lost);
            self.ids = PacketIds::default();
            self.flights.iter().for_each(|id| self.ids.handle_known(*id));
            if let Some((first, last)) = self.reserved.filter(|_| self.is_lost) {
                self.ids.distrust(first, last, self.flights.iter().copied());
            }
        }
    }

    #[test]
    fn no_id_is_given_while_it_is_open_however_often_the_power_fails_before_all_are_released() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut model = Model::default();
        for _ in 0..1500 {
            match rng.u8(..100) {
                0..45 => model.give(),
                45..80 => model.acknowledge(),
                80..98 => model.release(rng.usize(..20)),
                98 if rng.u8(..20) == 0 => model.release(usize::MAX),
                98 => model.restart(),
                _ => model.power_cut(),
            }
        }
    }
}
