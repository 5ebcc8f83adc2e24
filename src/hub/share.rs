//! core: shared subscriptions: which member of each group gets a message (MQTT 5.0 section 4.8.2).

use std::cell::Cell;
use std::sync::Arc;

use super::session::Subscription;
use super::topic_tree::TopicTree;
use crate::model::{TopicFilter, TopicName};
use crate::store::SessionId;

/// How well a member can take a message; of the best ones each gets its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Readiness {
    /// Not at all: it has no connection, and the message would not be kept for it.
    No,
    /// Its queue is full.
    Full,
    /// It has no connection; the message is kept for it.
    Away,
    /// It is connected, and others wait for it already.
    Behind,
    /// It is connected, and nothing waits.
    Ready,
}

/// The sessions that share a filter under a name.
#[derive(Debug, Default)]
struct Group {
    members: Vec<(SessionId, Subscription)>,
    /// Whose turn it is.
    next: Cell<usize>,
}

impl Group {
    fn choose(
        &self,
        readiness: impl Fn(SessionId, &Subscription) -> Readiness,
    ) -> Option<(usize, &(SessionId, Subscription))> {
        let mut best = (Readiness::No, None);
        let (before, from) = self.members.split_at(self.next.get().min(self.members.len()));
        let first = before.len();
        let in_turn = from.iter().enumerate().map(|(at, member)| (first + at, member));
        for (at, member) in in_turn.chain(before.iter().enumerate()) {
            let ready = readiness(member.0, &member.1);
            if ready > best.0 {
                best = (ready, Some((at, member)));
            }
            if ready == Readiness::Ready {
                break;
            }
        }
        best.1
    }
}

/// Every group: by filter, and by the name it is shared under.
#[derive(Debug, Default)]
pub(super) struct Shares {
    groups: TopicTree<Arc<str>, Group>,
    members: usize,
}

impl Shares {
    /// Whether nobody shares anything.
    pub(super) fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// Members of all groups together.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// Adds a member or changes its subscription; tells whether it was one.
    pub(super) fn insert(
        &mut self,
        (name, filter): (&str, &TopicFilter),
        session: SessionId,
        subscription: Subscription,
    ) -> bool {
        let name: Arc<str> = name.into();
        if self.groups.get_mut(filter, &name).is_none() {
            self.groups.insert(filter, name.clone(), Group::default());
        }
        let Some(group) = self.groups.get_mut(filter, &name) else { return false };
        match group.members.iter_mut().find(|(member, _)| *member == session) {
            Some((_, have)) => {
                *have = subscription;
                true
            }
            None => {
                group.members.push((session, subscription));
                self.members += 1;
                false
            }
        }
    }

    /// Takes a member away, and its group with the last one.
    pub(super) fn remove(&mut self, (name, filter): (&str, &TopicFilter), session: SessionId) {
        let name: Arc<str> = name.into();
        let Some(group) = self.groups.get_mut(filter, &name) else { return };
        let before = group.members.len();
        group.members.retain(|(member, _)| *member != session);
        self.members -= before - group.members.len();
        if group.members.is_empty() {
            self.groups.remove(filter, &name);
        }
    }

    /// Finds one member of each group that takes `topic`, if one can take it. With `takes_turn` the next message goes to
    /// the next one.
    pub(super) fn choose(
        &self,
        topic: &TopicName,
        takes_turn: bool,
        readiness: impl Fn(SessionId, &Subscription) -> Readiness,
        mut found: impl FnMut(SessionId, &Subscription),
    ) {
        self.groups.matches(topic, |_, group| {
            if let Some((at, (session, subscription))) = group.choose(&readiness) {
                if takes_turn {
                    group.next.set((at + 1) % group.members.len());
                }
                found(*session, subscription);
            }
        });
    }

    /// The same in one group.
    pub(super) fn choose_in(
        &mut self,
        (name, filter): (&str, &TopicFilter),
        readiness: impl Fn(SessionId, &Subscription) -> Readiness,
    ) -> Option<(SessionId, Subscription)> {
        let group = self.groups.get_mut(filter, &name.into())?;
        let (at, (session, subscription)) = group.choose(readiness)?;
        group.next.set((at + 1) % group.members.len());
        Some((*session, subscription.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::QoS;

    fn shared_by(sessions: &[u32]) -> Shares {
        let mut shares = Shares::default();
        for session in sessions {
            let subscription = Subscription::from_options(1, None);
            let filter = TopicFilter::new("a/+").expect("well formed");
            assert!(!shares.insert(("g", &filter), SessionId(*session), subscription));
        }
        shares
    }

    fn chosen(shares: &Shares, readiness: impl Fn(u32) -> Readiness) -> Vec<u32> {
        let topic = TopicName::new("a/b").expect("well formed");
        let mut chosen = Vec::new();
        let ask = |session: SessionId, _: &Subscription| readiness(session.0);
        shares.choose(&topic, true, ask, |session, subscription| {
            assert_eq!(subscription.qos, QoS::AtLeastOnce);
            chosen.push(session.0);
        });
        chosen
    }

    #[test]
    fn members_take_turns() {
        let shares = shared_by(&[1, 2, 3]);
        let turns: Vec<u32> = (0..6).flat_map(|_| chosen(&shares, |_| Readiness::Ready)).collect();
        assert_eq!(turns, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn the_best_one_is_chosen_and_nobody_if_none_can() {
        let shares = shared_by(&[1, 2, 3]);
        let away =
            |best: u32| move |id: u32| if id == best { Readiness::Behind } else { Readiness::Away };
        assert_eq!(chosen(&shares, away(3)), [3]);
        assert_eq!(chosen(&shares, away(3)), [3]);
        assert_eq!(chosen(&shares, away(2)), [2]);
        assert!(chosen(&shares, |_| Readiness::No).is_empty());
    }

    #[test]
    fn the_last_member_takes_its_group_along() {
        let mut shares = shared_by(&[1, 2]);
        let filter = TopicFilter::new("a/+").expect("well formed");
        shares.remove(("g", &filter), SessionId(1));
        shares.remove(("g", &filter), SessionId(1));
        assert_eq!((shares.members(), chosen(&shares, |_| Readiness::Ready)), (1, vec![2]));
        shares.remove(("other", &filter), SessionId(2));
        shares.remove(("g", &filter), SessionId(2));
        assert!(shares.is_empty() && chosen(&shares, |_| Readiness::Ready).is_empty());
    }
}
