//! What the hub carries: a topic, a payload and how it wants to be delivered.

use std::sync::Arc;

use bytes::Bytes;

use super::{QoS, Timestamp, TopicName};

/// The place of a message in the hub's order: grows by one with each message that is stored, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The MQTT 5.0 properties that travel with a message unchanged from publisher to subscriber (section 3.3.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageProperties {
    /// Payload format indicator: `Some(true)` says the payload is UTF-8 text (3.3.2.3.2).
    pub payload_is_utf8: Option<bool>,
    /// Content type (3.3.2.3.9).
    pub content_type: Option<Arc<str>>,
    /// Response topic (3.3.2.3.5).
    pub response_topic: Option<TopicName>,
    /// Correlation data (3.3.2.3.6).
    pub correlation_data: Option<Bytes>,
    /// User properties in the order they were given (3.3.2.3.7).
    pub user_properties: Vec<(Arc<str>, Arc<str>)>,
}

impl MessageProperties {
    /// Whether there is nothing to carry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whose words a payload is: what others said is passed on as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Body {
    /// Bytes of somebody else.
    #[default]
    Foreign,
    /// A reading as the gateway itself wrote it. Its time may be set right and it may be marked late on its way.
    Reading {
        /// When it was taken, in milliseconds since the boot, if the clock was not synchronised then.
        unsynced_at: Option<u64>,
    },
    /// Readings of several points of a device, as the gateway itself wrote them, with one time.
    Device {
        /// When the last of them was taken, in milliseconds since the boot, if the clock was not synchronised then.
        unsynced_at: Option<u64>,
        /// The same number for the same set of points: messages of one topic may tell of different ones.
        points: u32,
    },
    /// A reading in words that the operator chose. Nothing in it may be touched but the time, where that stands in it.
    Worded {
        /// Where that is, if the clock was not synchronised and the words tell the time.
        unsynced: Option<Unsynced>,
    },
}

impl Body {
    /// When it was taken, in milliseconds since the boot, if what it says of that is by a clock nobody could believe.
    #[must_use]
    pub fn unsynced_at(self) -> Option<u64> {
        match self {
            Self::Foreign => None,
            Self::Reading { unsynced_at } | Self::Device { unsynced_at, .. } => unsynced_at,
            Self::Worded { unsynced } => unsynced.map(|unsynced| unsynced.taken_ms),
        }
    }

    /// The same once its time has been set right.
    #[must_use]
    pub fn set_right(self) -> Self {
        match self {
            Self::Foreign => Self::Foreign,
            Self::Reading { .. } => Self::Reading { unsynced_at: None },
            Self::Device { points, .. } => Self::Device { unsynced_at: None, points },
            Self::Worded { .. } => Self::Worded { unsynced: None },
        }
    }
}

/// A time by a clock nobody could believe, in words that the operator chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unsynced {
    /// When the reading was taken, in milliseconds since the boot.
    pub taken_ms: u64,
    /// What the payload says of that.
    pub said: Timestamp,
    /// Where it says so.
    pub places: TimePlaces,
}

/// How a payload says a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeForm {
    /// RFC 3339, UTC, milliseconds.
    Rfc3339,
    /// Whole seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Nanoseconds since 1970.
    Nanoseconds,
    /// No time, but whether the clock may be believed: `synced` or `unsynced`.
    Clock,
}

/// Where a time stands in a payload: at most [`TimePlaces::MAX`] places, in the order they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TimePlaces([u32; TimePlaces::MAX]);

impl TimePlaces {
    /// How many places there can be.
    pub const MAX: usize = 4;

    const FORMS: [TimeForm; 5] = [
        TimeForm::Rfc3339,
        TimeForm::Seconds,
        TimeForm::Milliseconds,
        TimeForm::Nanoseconds,
        TimeForm::Clock,
    ];

    /// Notes one more place, behind the others: the first byte, below 2^28. One too many is left out.
    pub fn push(&mut self, form: TimeForm, at: usize) {
        let number = Self::FORMS.iter().position(|it| *it == form);
        let number = number.and_then(|number| u32::try_from(number + 1).ok());
        let at = u32::try_from(at).ok().filter(|at| *at < 1 << 28);
        if let (Some(free), Some(number), Some(at)) =
            (self.0.iter_mut().find(|place| **place == 0), number, at)
        {
            *free = at << 3 | number;
        }
    }

    /// The places: how the time is said, and the first byte.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (TimeForm, usize)> + '_ {
        self.0.iter().filter_map(|place| {
            let number = usize::try_from(place & 7).ok()?.checked_sub(1)?;
            Some((*Self::FORMS.get(number)?, usize::try_from(place >> 3).ok()?))
        })
    }

    /// As four numbers, to be kept.
    #[must_use]
    pub fn to_numbers(self) -> [u32; Self::MAX] {
        self.0
    }

    /// The inverse of [`Self::to_numbers`]; what is no place is passed over.
    #[must_use]
    pub fn from_numbers(numbers: [u32; Self::MAX]) -> Self {
        Self(numbers)
    }
}

/// A publication on its way through the hub. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: TopicName,
    /// What was published.
    pub payload: Bytes,
    /// How it was published; a delivery never has more than this.
    pub qos: QoS,
    /// Whether the publisher asked for it to be retained.
    pub retain: bool,
    /// Properties that travel unchanged; `None` is the common case and costs nothing.
    pub properties: Option<Arc<MessageProperties>>,
    /// When it entered the hub. A time that no set clock can have said ([`Timestamp::is_set`]) is one since the boot: the
    /// wall clock was not to be believed then.
    pub accepted: Timestamp,
    /// When it stops being worth delivering (message expiry interval, 3.3.2.3.3), by the same clock as `accepted`.
    pub expires: Option<Timestamp>,
    /// Whose words the payload is.
    pub body: Body,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_in_order_and_one_too_many_is_left_out() {
        let mut places = TimePlaces::default();
        assert_eq!(places.iter().count(), 0);
        for at in [0, 7, 300, (1 << 28) - 1, 9] {
            places.push(TimeForm::Nanoseconds, at);
        }
        let kept = TimePlaces::from_numbers(places.to_numbers());
        let all: Vec<_> =
            kept.iter().map(|(form, at)| (form == TimeForm::Nanoseconds, at)).collect();
        assert_eq!(all, [(true, 0), (true, 7), (true, 300), (true, (1 << 28) - 1)]);
        let mut too_far = TimePlaces::default();
        too_far.push(TimeForm::Clock, 1 << 28);
        assert_eq!(too_far, TimePlaces::default());
        assert_eq!(TimePlaces::from_numbers([7, 6, 0, 8]).iter().count(), 0);
    }
}
