//! core: an operator removes waiting messages. Those in flight stay, and so does every session that is still wanted.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use crate::model::{Moment, Seq};
use crate::store::{
    DamagedSegment, Purged, PurgedSession, Selection, SessionId, SessionOwner, Slice,
};

/// Why an uplink's session is not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndUplinkError {
    /// There is no such session.
    #[error("no uplink of that name has anything stored")]
    Unknown,
    /// The uplink is in the configuration that the gateway runs on.
    #[error(
        "the gateway runs with this uplink; restart it with a configuration without the uplink first"
    )]
    Configured,
}

/// What goes of one session.
#[derive(Debug, Default)]
struct Going {
    seqs: BTreeSet<Seq>,
    /// The same as runs: nothing of the session between the first and the last of one stays.
    runs: Vec<(Seq, Seq)>,
    in_flight: u64,
    /// Everything of the session in this slice is in memory, settled, or goes.
    complete: bool,
}

impl Engine {
    /// Whether a purge may look at what the store has: not while it drops messages itself, nor before the purge before
    /// is durable. What is counted is counted once.
    #[must_use]
    pub fn can_purge(&self) -> bool {
        !self.bounds.is_trimming() && self.is_committed(self.purge_batch)
    }

    /// Takes out what `selection` means among a slice of the store that begins after `after`, or only counts it. It is
    /// durable when [`Self::last_purge`] is committed.
    pub fn handle_purge(
        &mut self,
        selection: &Selection,
        after: Seq,
        slice: &Slice,
        dry_run: bool,
        now: Moment,
    ) -> Purged {
        let mut going: BTreeMap<SessionId, Going> = BTreeMap::new();
        for (id, session) in &self.sessions {
            if session.durable && selection.includes(*id) {
                let chosen = self.going(*id, selection, after, slice);
                going.insert(*id, chosen);
            }
        }
        let mut purged = Purged::default();
        let mut stays: BTreeMap<Seq, bool> = BTreeMap::new();
        for stored in &slice.messages {
            let goes = |id: &SessionId| {
                going.get(id).is_some_and(|chosen| chosen.seqs.contains(&stored.seq))
            };
            let targets = || stored.targets.iter().map(|target| &target.session);
            if targets().any(goes) {
                let waits = |id: &SessionId| {
                    let session = self.sessions.get(id);
                    session.is_some_and(|session| !session.outbox.is_settled(stored.seq))
                };
                stays.insert(stored.seq, targets().any(|id| !goes(id) && waits(id)));
            }
        }
        purged.messages = stays.len() as u64;
        for (id, chosen) in going {
            let removed = chosen.seqs.len() as u64;
            let in_flight = chosen.in_flight;
            if removed > 0 || in_flight > 0 {
                purged.sessions.insert(id, PurgedSession { removed, in_flight });
            }
            if !dry_run {
                self.take_out(id, &chosen, &stays, slice.end(after), now);
            }
        }
        if !dry_run && !stays.is_empty() {
            self.deletes.extend(stays.iter().filter(|(_, stays)| !**stays).map(|(seq, _)| *seq));
            self.note_purge();
        }
        purged
    }

    fn going(&self, id: SessionId, selection: &Selection, after: Seq, slice: &Slice) -> Going {
        let Some(session) = self.sessions.get(&id) else { return Going::default() };
        let outbox = &session.outbox;
        let in_flight: BTreeSet<Seq> = outbox.inflight_seqs().collect();
        let loaded_to = outbox.loaded_to();
        let complete = after <= loaded_to && slice.damaged.is_empty();
        let mut going = Going { complete, ..Going::default() };
        let mut goes_on = false;
        for stored in &slice.messages {
            let seq = stored.seq;
            let is_its = stored.targets.iter().any(|target| target.session == id);
            if !is_its || outbox.is_settled(seq) {
                continue;
            }
            let taken = selection.takes(&stored.message);
            if in_flight.contains(&seq) {
                going.in_flight += u64::from(taken);
                goes_on = false;
            } else if taken {
                going.seqs.insert(seq);
                match going.runs.last_mut().filter(|_| goes_on) {
                    Some((_, last)) => *last = seq,
                    None => going.runs.push((seq, seq)),
                }
                // Nobody can tell whom a damaged segment in between is for.
                goes_on = slice.damaged.is_empty();
            } else {
                going.complete &= seq <= loaded_to;
                goes_on = false;
            }
        }
        going
    }

    fn take_out(
        &mut self,
        id: SessionId,
        going: &Going,
        stays: &BTreeMap<Seq, bool>,
        end: Seq,
        now: Moment,
    ) {
        let Some(session) = self.sessions.get_mut(&id).filter(|_| !going.seqs.is_empty()) else {
            return;
        };
        // Only what stands there for others could be read again.
        let others = going.runs.iter().filter_map(|&(first, last)| {
            let seqs = going.seqs.range(first..=last);
            let mut staying = seqs.filter(|seq| stays.get(seq).is_some_and(|stays| *stays));
            let first = *staying.next()?;
            Some((first, staying.next_back().copied().unwrap_or(first)))
        });
        let others: Vec<(Seq, Seq)> = others.collect();
        session.outbox.handle_purged(&going.seqs, &others, going.complete.then_some(end));
        self.note_purged(id, going.seqs.len() as u64, now);
    }

    /// Removes the segments of a slice that cannot be understood. Whom they were for nobody can tell.
    pub fn handle_purge_damaged(&mut self, slice: &Slice) {
        if !slice.damaged.is_empty() {
            self.changes.extend(slice.damaged.iter().map(DamagedSegment::delete));
            self.note_purge();
        }
    }

    /// Ends the session of an uplink that the configuration no longer has; what only it waited for goes with it.
    ///
    /// # Errors
    /// [`EndUplinkError`] if there is none, or it is still configured.
    pub fn handle_end_uplink(&mut self, name: &str, now: Moment) -> Result<(), EndUplinkError> {
        let id = self.uplinks.get(name).copied().ok_or(EndUplinkError::Unknown)?;
        if self.sessions.get(&id).is_none_or(|session| session.configured) {
            return Err(EndUplinkError::Configured);
        }
        self.end_session(id, now);
        self.note_purge();
        Ok(())
    }

    /// The batch with what was purged last.
    #[must_use]
    pub fn last_purge(&self) -> u64 {
        self.purge_batch
    }

    /// Those among `targets` that still wait for the message at `seq`.
    pub fn waiting<'a>(
        &self,
        seq: Seq,
        targets: impl IntoIterator<Item = &'a SessionId>,
    ) -> Vec<SessionOwner> {
        let owners = targets.into_iter().filter_map(|id| {
            let session = self.sessions.get(id)?;
            (!session.outbox.is_settled(seq)).then(|| session.owner.clone())
        });
        owners.collect()
    }

    /// Who purged is told once it outlives a power cut as well.
    fn note_purge(&mut self) {
        self.purge_batch = self.open_batch;
        self.sync = true;
    }
}
