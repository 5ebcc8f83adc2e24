//! core: the kinds of what goes wrong on a bus, to be counted.

use crate::field::modbus::transaction::Failure;

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Nothing came.
    NoAnswer,
    /// Only the request itself came back.
    Echo,
    /// Bytes came that belong to no frame.
    Noise,
    /// A frame broke off.
    Short,
    /// A frame's checksum is wrong.
    Checksum,
    /// Another unit answered.
    WrongUnit,
    /// The answer is to something else: another function, another length, another write.
    WrongAnswer,
    /// Only answers to older questions came.
    Late,
    /// The device refused (exception).
    Refused,
    /// The port or connection failed meanwhile.
    Port,
    /// A frame came over as it was sent and fits no point.
    Unfit,
}

impl Trouble {
    /// All of them, in the order they are told.
    pub const ALL: [Self; 11] = [
        Self::NoAnswer,
        Self::Echo,
        Self::Noise,
        Self::Short,
        Self::Checksum,
        Self::WrongUnit,
        Self::WrongAnswer,
        Self::Late,
        Self::Refused,
        Self::Port,
        Self::Unfit,
    ];

    /// The word for it, as a key.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::Echo => "echo",
            Self::Noise => "noise",
            Self::Short => "short",
            Self::Checksum => "checksum",
            Self::WrongUnit => "wrong_unit",
            Self::WrongAnswer => "wrong_answer",
            Self::Late => "late",
            Self::Refused => "refused",
            Self::Port => "port",
            Self::Unfit => "unfit",
        }
    }

    /// The kind of `failure`; `None` if nothing went over the wire.
    #[must_use]
    pub fn of(failure: &Failure) -> Option<Self> {
        Some(match failure {
            Failure::NoAnswer => Self::NoAnswer,
            Failure::EchoOnly => Self::Echo,
            Failure::Noise { .. } => Self::Noise,
            Failure::Short { .. } => Self::Short,
            Failure::Crc { .. } | Failure::Lrc { .. } => Self::Checksum,
            Failure::WrongUnit { .. } => Self::WrongUnit,
            Failure::WrongFunction { .. }
            | Failure::WrongLength { .. }
            | Failure::OtherWrite
            | Failure::Malformed => Self::WrongAnswer,
            Failure::OnlyOlder { .. } => Self::Late,
            Failure::Refused { .. } | Failure::RefusedSomething { .. } => Self::Refused,
            Failure::Port { .. } => Self::Port,
            Failure::NotAsked { .. } => return None,
        })
    }
}

/// How often each kind happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Troubles([u64; Trouble::ALL.len()]);

impl Troubles {
    /// One more.
    pub fn add(&mut self, trouble: Trouble) {
        if let Some(count) = self.0.get_mut(trouble as usize) {
            *count += 1;
        }
    }

    /// How many of a kind.
    #[must_use]
    pub fn count(&self, trouble: Trouble) -> u64 {
        self.0.get(trouble as usize).copied().unwrap_or_default()
    }

    /// All that happened at all.
    pub fn iter(&self) -> impl Iterator<Item = (Trouble, u64)> {
        let all = Trouble::ALL.into_iter().map(|trouble| (trouble, self.count(trouble)));
        all.filter(|(_, count)| *count > 0)
    }

    /// How many of all kinds.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_and_a_word_of_its_own() {
        let mut troubles = Troubles::default();
        for (times, trouble) in (1..).zip(Trouble::ALL) {
            (0..times).for_each(|_| troubles.add(trouble));
        }
        let counts: Vec<u64> = troubles.iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=11).collect::<Vec<u64>>());
        assert_eq!(troubles.sum(), 66);
        let words: std::collections::BTreeSet<_> = Trouble::ALL.map(Trouble::word).into();
        assert_eq!(words.len(), Trouble::ALL.len());
    }
}
