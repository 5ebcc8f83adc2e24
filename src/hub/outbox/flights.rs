//! core: the messages under way of one session, in the order in which they were picked.
//!
//! They are mostly settled in the order in which they were picked, so they lie in a row that grows at one end and shrinks
//! at the other. What is settled out of order leaves a gap until the row is mostly gaps.

use std::collections::VecDeque;

use super::Flight;
use crate::hub::outgoing::FlightNumber;

/// Room that stays when nothing is under way.
const ROOM_MIN: usize = 16;

/// Flights by their numbers, which grow.
#[derive(Debug, Default)]
pub(super) struct Flights {
    row: VecDeque<(FlightNumber, Option<Flight>)>,
    count: usize,
}

impl Flights {
    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Adds one whose number is above all others.
    pub(super) fn push(&mut self, number: FlightNumber, flight: Flight) {
        debug_assert!(self.row.back().is_none_or(|(last, _)| *last < number), "numbers grow");
        self.row.push_back((number, Some(flight)));
        self.count += 1;
    }

    fn place(&self, number: FlightNumber) -> Option<usize> {
        // The first of all is the usual one.
        if self.row.front().is_some_and(|(first, _)| *first == number) {
            return Some(0);
        }
        self.row.binary_search_by_key(&number, |(number, _)| *number).ok()
    }

    pub(super) fn get_mut(&mut self, number: FlightNumber) -> Option<&mut Flight> {
        let place = self.place(number)?;
        self.row.get_mut(place)?.1.as_mut()
    }

    pub(super) fn remove(&mut self, number: FlightNumber) -> Option<Flight> {
        let place = self.place(number)?;
        let flight = self.row.get_mut(place)?.1.take()?;
        self.count -= 1;
        while self.row.front().is_some_and(|(_, flight)| flight.is_none()) {
            self.row.pop_front();
        }
        if self.row.len() > 2 * self.count + ROOM_MIN {
            self.row.retain(|(_, flight)| flight.is_some());
        }
        if self.count == 0 {
            self.row.shrink_to(ROOM_MIN);
        }
        Some(flight)
    }

    /// All of them, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = &Flight> {
        self.row.iter().filter_map(|(_, flight)| flight.as_ref())
    }

    /// All of them, in order, with their numbers.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (FlightNumber, &mut Flight)> {
        self.row.iter_mut().filter_map(|(number, flight)| Some((*number, flight.as_mut()?)))
    }

    /// Takes all of them out, in order.
    pub(super) fn take_all(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = (FlightNumber, Flight)> + use<> {
        self.count = 0;
        let row = std::mem::take(&mut self.row);
        row.into_iter().filter_map(|(number, flight)| Some((number, flight?)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::hub::outbox::Outgoing;
    use crate::model::{Body, Message, QoS, Seq, Timestamp, TopicName};

    fn flight(batch: u64) -> Flight {
        let message = Message {
            topic: TopicName::new("a").expect("a topic"),
            payload: bytes::Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            accepted: Timestamp::default(),
            expires: None,
            body: Body::Foreign,
        };
        let out = Outgoing {
            seq: Seq(batch),
            message: Arc::new(message),
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_ids: Vec::new(),
            shared: false,
            stored: None,
            batch,
            late: false,
        };
        let (released, sent, dup, found, given_up) = (false, true, true, false, None);
        Flight { out, packet_id: None, released, batch, sent, dup, found, given_up }
    }

    #[test]
    fn whatever_order_they_are_settled_in_the_others_stay() {
        let (mut flights, mut expected) = (Flights::default(), BTreeMap::new());
        let mut random = fastrand::Rng::with_seed(7);
        for number in 0..5000 {
            flights.push(FlightNumber(number), flight(number));
            expected.insert(number, number);
            // One of the first stays as long as all this takes.
            if expected.len() > 40 {
                let keys: Vec<u64> = expected.keys().copied().skip(1).collect();
                let key = *random.choice(&keys).expect("there are many");
                let removed = flights.remove(FlightNumber(key)).map(|flight| flight.batch);
                assert_eq!(removed, expected.remove(&key));
                assert!(flights.remove(FlightNumber(key)).is_none());
                assert!(flights.get_mut(FlightNumber(key)).is_none());
            }
            assert_eq!(flights.len(), expected.len());
            assert!(flights.row.len() <= 2 * 41 + ROOM_MIN);
        }
        assert!(flights.get_mut(FlightNumber(0)).is_some());
        assert!(flights.values().map(|flight| flight.batch).eq(expected.into_values()));
        assert_eq!(flights.take_all().count(), 40);
        assert_eq!(flights.len(), 0);
    }
}
