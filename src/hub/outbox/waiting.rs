//! core: messages that wait in memory, and how many bytes of payload they hold.

use std::collections::VecDeque;

use crate::hub::outgoing::Outgoing;

/// Room that stays when nothing waits.
const ROOM_MIN: usize = 16;

/// Messages in the order in which they will be picked.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: VecDeque<Outgoing>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of payload; what several sessions wait for counts for each.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn front(&self) -> Option<&Outgoing> {
        self.messages.front()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Outgoing> {
        self.messages.iter()
    }

    pub(super) fn push_back(&mut self, out: Outgoing) {
        self.bytes += out.message.payload.len();
        self.messages.push_back(out);
    }

    pub(super) fn push_front(&mut self, out: Outgoing) {
        self.bytes += out.message.payload.len();
        self.messages.push_front(out);
    }

    pub(super) fn pop_front(&mut self) -> Option<Outgoing> {
        let out = self.messages.pop_front()?;
        self.bytes -= out.message.payload.len();
        if self.messages.is_empty() {
            self.messages.shrink_to(ROOM_MIN);
        }
        Some(out)
    }

    /// Keeps those of which `stays` says so.
    pub(super) fn retain(&mut self, stays: impl FnMut(&Outgoing) -> bool) {
        self.messages.retain(stays);
        self.recount();
    }

    /// All of them, oldest first.
    pub(super) fn take_all(&mut self) -> VecDeque<Outgoing> {
        self.bytes = 0;
        std::mem::take(&mut self.messages)
    }

    /// Puts messages back, each where it belongs by its place; those in memory only go first.
    pub(super) fn put_back(&mut self, messages: Vec<Outgoing>) {
        self.messages.extend(messages);
        let place = |out: &Outgoing| out.stored.as_ref().map(|_| out.seq);
        self.messages.make_contiguous().sort_by_key(place);
        self.recount();
    }

    fn recount(&mut self) {
        self.bytes = self.messages.iter().map(|out| out.message.payload.len()).sum();
    }
}
