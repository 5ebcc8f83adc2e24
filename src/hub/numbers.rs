//! core: maps whose keys are numbers that we, or a peer within 16 bits, have given: they need no hash that withstands an
//! attack, and are looked into for every packet.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A map by number.
pub(super) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Spreads a number over 64 bits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NumberHasher(u64);

/// 2^64 over the golden ratio, odd: numbers next to each other come to lie far apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        // The map looks at both ends; the lower one would otherwise only know the lower end of the number.
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(SPREAD);
    }
}

/// Who waits for a turn: each once, first come, first served.
#[derive(Debug)]
pub(super) struct Turns<K> {
    order: VecDeque<K>,
    waiting: HashSet<K, BuildHasherDefault<NumberHasher>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { order: VecDeque::new(), waiting: HashSet::default() }
    }
}

impl<K: Copy + Eq + Hash> Turns<K> {
    /// Lets somebody wait who does not yet.
    pub(super) fn insert(&mut self, key: K) {
        if self.waiting.insert(key) {
            self.order.push_back(key);
        }
    }

    /// Whose turn it is.
    pub(super) fn pop_first(&mut self) -> Option<K> {
        loop {
            let key = self.order.pop_front()?;
            if self.waiting.remove(&key) {
                return Some(key);
            }
        }
    }

    /// Takes somebody out; who comes back before has the old place.
    pub(super) fn remove(&mut self, key: &K) {
        // Its place goes when its turn comes.
        self.waiting.remove(key);
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl<K: Copy + Eq + Hash> IntoIterator for Turns<K> {
    type Item = K;
    type IntoIter = std::vec::IntoIter<K>;

    /// Everybody, in turn.
    fn into_iter(mut self) -> Self::IntoIter {
        std::iter::from_fn(|| self.pop_first()).collect::<Vec<K>>().into_iter()
    }
}

impl<'a, K: Copy + Eq + Hash + 'a> Extend<&'a K> for Turns<K> {
    fn extend<I: IntoIterator<Item = &'a K>>(&mut self, keys: I) {
        keys.into_iter().for_each(|key| self.insert(*key));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::hash::BuildHasher as _;

    use super::*;

    #[test]
    fn everybody_has_one_turn_in_the_order_of_coming() {
        let mut turns = Turns::default();
        turns.extend(&[3_u32, 1, 3, 2]);
        turns.remove(&1);
        turns.insert(1);
        assert_eq!(std::iter::from_fn(|| turns.pop_first()).collect::<Vec<_>>(), [3, 1, 2]);
        assert!(turns.is_empty());
    }

    #[test]
    fn numbers_that_end_alike_do_not_meet_in_one_place() {
        let hasher = BuildHasherDefault::<NumberHasher>::default();
        for step in [1_u16, 2, 64, 256] {
            let places: BTreeSet<u64> = (0..256)
                .map(|number: u16| hasher.hash_one(number.wrapping_mul(step)) % 1024)
                .collect();
            assert!(places.len() > 120, "{step}: {}", places.len());
        }
    }
}
