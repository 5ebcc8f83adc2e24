//! core: what was promised to whom, what has arrived, and what a power cut did to either.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::payload::Number;
use crate::model::QoS;

/// Something that happened to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Its publisher was told that it is safe.
    Told(Number),
    /// The store said that it is kept.
    Kept(Number),
    /// It went on towards the upstream: a packet of it left, or an acknowledgement came.
    Moved(Number),
    /// It was sent with DUP: again, or for the first time if the link was lost between the decision and the sending.
    Repeated(Number),
    /// It arrived at the upstream, and not as a repeat.
    Arrived(Number),
    /// The bounded queue dropped it.
    Dropped(Number),
    /// Something arrived that nobody published.
    Garbled,
}

/// Who relies on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// Nobody so far.
    None,
    /// The store keeps it since then.
    Kept(Instant),
    /// Somebody was told that it is safe.
    Told,
}

#[derive(Debug, Clone)]
struct Record {
    qos: QoS,
    promise: Promise,
    arrived: bool,
    dropped: bool,
    moved: Option<Instant>,
}

/// What a cut cost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    pub(super) lost: Vec<Number>,
    pub(super) doubled: Vec<Number>,
    pub(super) garbled: usize,
    pub(super) allowed_lost: usize,
    pub(super) allowed_doubled: usize,
}

/// The messages of a run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    records: Vec<Record>,
    /// Promised, not arrived and not dropped.
    owed: BTreeSet<Number>,
    /// How long what the store keeps may be lost; `None` if it may not.
    commit_every: Option<Duration>,
}

impl Ledger {
    pub(super) fn new(commit_every: Option<Duration>) -> Self {
        Self { commit_every, ..Self::default() }
    }

    /// The number for another message.
    pub(super) fn next(&mut self, qos: QoS) -> Number {
        self.records.push(Record {
            qos,
            promise: Promise::None,
            arrived: false,
            dropped: false,
            moved: None,
        });
        self.records.len() - 1
    }

    /// How many messages there were.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Takes note of what happened.
    pub(super) fn handle_news(&mut self, news: News, now: Instant) {
        let (News::Told(number)
        | News::Kept(number)
        | News::Moved(number)
        | News::Repeated(number)
        | News::Arrived(number)
        | News::Dropped(number)) = news
        else {
            return;
        };
        let Some(record) = self.records.get_mut(number) else { return };
        match news {
            News::Told(_) => record.promise = Promise::Told,
            News::Kept(_) if record.promise == Promise::None => record.promise = Promise::Kept(now),
            News::Moved(_) => record.moved = Some(now),
            News::Repeated(_) => _ = record.moved.get_or_insert(now),
            News::Arrived(_) => record.arrived = true,
            News::Dropped(_) => record.dropped = true,
            News::Kept(_) | News::Garbled => {}
        }
        if record.promise != Promise::None && !record.arrived && !record.dropped {
            self.owed.insert(number);
        } else {
            self.owed.remove(&number);
        }
    }

    /// What a cut at `now` cost, by what happened afterwards until everything came to rest; `gone` was being dropped at
    /// that moment.
    pub(super) fn judge(&self, now: Instant, gone: &BTreeSet<Number>, after: &[News]) -> Verdict {
        let mut verdict = Verdict::default();
        let mut arrived = BTreeSet::new();
        let mut excused = gone.clone();
        let mut doubled = BTreeSet::new();
        for news in after {
            match news {
                News::Arrived(number) => {
                    let of = self.records.get(*number);
                    verdict.garbled += usize::from(of.is_none());
                    let before = of.is_some_and(|record| record.arrived);
                    if !arrived.insert(*number) || before {
                        doubled.insert(*number);
                    }
                }
                News::Dropped(number) => _ = excused.insert(*number),
                News::Garbled => verdict.garbled += 1,
                News::Told(_) | News::Kept(_) | News::Moved(_) | News::Repeated(_) => {}
            }
        }
        let recent = |at: Instant| self.commit_every.is_some_and(|every| now <= at + every);
        for number in doubled {
            let Some(record) = self.records.get(number) else { continue };
            if record.qos < QoS::ExactlyOnce {
                continue;
            }
            if record.moved.is_some_and(recent) {
                verdict.allowed_doubled += 1;
            } else {
                verdict.doubled.push(number);
            }
        }
        for number in self.owed.iter().filter(|number| !arrived.contains(number)) {
            let Some(record) = self.records.get(*number) else { continue };
            match record.promise {
                _ if excused.contains(number) => {}
                Promise::Kept(at) if recent(at) => verdict.allowed_lost += 1,
                Promise::Kept(_) | Promise::Told | Promise::None => verdict.lost.push(*number),
            }
        }
        verdict
    }

    /// Life goes on from after a cut: what was lost is gone for good, and was counted.
    pub(super) fn go_on(&mut self, after: &[News], now: Instant) {
        for news in after {
            self.handle_news(*news, now);
        }
        self.owed.clear();
    }
}
