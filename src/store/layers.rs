//! shell: the two layers of the store: staged at once, committed when it must be.
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::change::{Change, Committed, SessionId, Snapshot, StoredMessage, Trimmed};
use super::database::Database;
use super::error::StoreError;
use super::overlay::Overlay;
use super::reserve::Reserve;
use super::salvage::Origins;
use super::settings::Staging;
use super::slice::Slice;
use super::staged::{FILE_NAME, Origin, Staged, Standing};
use super::verify::{self, Damage};
use crate::model::{Seq, Timestamp};
use crate::step::{self, Step};

/// Bytes of staged messages at which the database must take them, whatever their age.
const STAGED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a batch needs before it is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing more.
    Nothing,
    /// A flush.
    Flush,
}

/// Both layers.
#[derive(Debug)]
pub(super) struct Layers {
    database: Database,
    overlay: Overlay,
    staging: Option<Staging>,
    /// `None` while the runtime directory cannot be written: every batch is committed then.
    staged: Option<Staged>,
    /// Changes of batches that were never meant to be staged, until the database has them, and since when they wait.
    direct: Vec<Change>,
    direct_since: Option<Instant>,
    /// A batch could not be staged: the file says less than is so, and must not be found as it is.
    outdated: bool,
    origin: Origin,
    /// Room on the disk to be given up when it is full; `None` on a disk of proofs.
    reserve: Option<Reserve>,
    bytes_used: u64,
    bytes_room: Option<u64>,
}

impl Layers {
    /// Commits what an earlier process left staged, then begins anew.
    pub(super) fn open(
        mut database: Database,
        staging: Option<Staging>,
    ) -> Result<(Self, Snapshot), StoreError> {
        let mut origin = database.origin(fastrand::u64(1..))?;
        let origins = database.origins()?;
        let staged_lost = match &staging {
            Some(staging) => {
                take_staged(&mut database, &staging.runtime_dir, &mut origin, origins)?
            }
            None => lose_staged(&mut database, &mut origin, origins)?,
        };
        let staged_lost = staged_lost || origins != Origins::Settled;
        if staged_lost {
            database.lose_ids()?;
        }
        let snapshot = Snapshot { staged_lost, ..database.load()? };
        let (bytes_used, bytes_room) = (database.bytes_used()?, database.bytes_room());
        let overlay = Overlay::new(&snapshot, database.has_messages()?);
        let mut layers = Self {
            database,
            overlay,
            staging,
            staged: None,
            direct: Vec::new(),
            direct_since: None,
            outdated: false,
            origin,
            reserve: None,
            bytes_used,
            bytes_room,
        };
        layers.begin_staging();
        // From here on a missing file means that it was lost, and before it that there was none.
        layers.database.set_staging(layers.stages())?;
        if origins != Origins::Settled {
            layers.database.settle_origins()?;
        }
        Ok((layers, snapshot))
    }

    /// Holds room on the disk from here on.
    pub(super) fn hold(&mut self, reserve: Reserve) {
        self.reserve = Some(reserve);
        self.refill();
    }

    fn refill(&mut self) {
        self.bytes_room = self.database.bytes_room();
        if let Some(reserve) = &mut self.reserve {
            reserve.refill();
        }
    }

    /// Bytes the database may grow by, with what is held for it.
    fn room(&self) -> Option<u64> {
        let held = self.reserve.as_ref().map_or(0, Reserve::bytes);
        self.bytes_room.map(|room| room.saturating_add(held))
    }

    /// Does what may find the disk full, once more if room can be given up for it.
    fn with_room<T>(
        &mut self,
        act: impl Fn(&mut Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match act(&mut self.database) {
            Err(error) if error.is_full() => {
                if !self.reserve.as_mut().is_some_and(Reserve::give_up) {
                    return Err(error);
                }
                act(&mut self.database)
            }
            done => done,
        }
    }

    /// Commits what is staged and notes that nothing is.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.database.set_staging(false)
    }

    /// Begins an empty staged file, if there is a place for one.
    fn begin_staging(&mut self) {
        let Some(Staging { runtime_dir, commit_every }) = &self.staging else { return };
        self.staged = None;
        if commit_every.is_zero() {
            return;
        }
        match Staged::create(runtime_dir, self.origin) {
            Ok(staged) => self.staged = Some(staged),
            Err(cause) => {
                let directory = runtime_dir.display();
                tracing::warn!(%directory, %cause, "cannot stage; every batch is written to the disk");
            }
        }
    }

    /// Takes a batch. It outlives a kill when this returns, unless it says that the database must have it first: to
    /// outlive a power cut as well (`sync`), or because it cannot be staged.
    #[must_use = "a batch that needs a flush is not safe before it"]
    pub(super) fn take(&mut self, mut changes: Vec<Change>, sync: bool, now: Instant) -> Need {
        if !self.stages() {
            // There is nothing that they could cancel.
            self.direct.append(&mut changes);
            self.direct_since.get_or_insert(now);
            return Need::Flush;
        }
        let staged = match &mut self.staged {
            Some(staged) => {
                step::pass(Step::StageBefore);
                let done = staged.append(&changes);
                step::pass(Step::StageAfter);
                done
            }
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        // What could not be staged is in the overlay all the same, and goes to the database with it.
        for change in changes {
            self.overlay.handle_change(change, now);
        }
        if let (Some(_), Err(cause)) = (&self.staged, &staged) {
            tracing::warn!(%cause, "cannot stage; written to the disk at once");
            self.outdated = true;
        }
        // Memory is bounded: a disk that stays stuck slows whoever publishes instead.
        let is_full = self.overlay.bytes() > STAGED_BYTES_MAX;
        if sync || staged.is_err() || self.overlay.is_sealed() || is_full {
            return Need::Flush;
        }
        if self.staged.as_ref().is_some_and(Staged::is_large) {
            self.shorten();
        }
        Need::Nothing
    }

    /// Whether batches are to be staged, whether or not they can be.
    pub(super) fn stages(&self) -> bool {
        self.staging.as_ref().is_some_and(|staging| !staging.commit_every.is_zero())
    }

    /// What a batch leaves in the database, as far as it is there.
    pub(super) fn committed(&self, batch: u64) -> Committed {
        Committed { batch, bytes_used: self.bytes_used, bytes_room: self.room() }
    }

    /// When [`Self::flush`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let staging = self.staging.as_ref()?;
        self.direct_since.or_else(|| self.overlay.poll_timeout(staging.commit_every))
    }

    /// Brings the database up to date.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        let mut changes = std::mem::take(&mut self.direct);
        if changes.is_empty() {
            changes = self.overlay.net();
        }
        if changes.is_empty() && !self.outdated {
            self.direct_since = None;
            return Ok(());
        }
        let generation = self.origin.generation + 1;
        step::pass(Step::CommitBefore);
        let noted = self.staging.is_some().then_some(generation);
        let done = self.with_room(|database| database.commit(&changes, noted));
        if done.is_err() && self.direct_since.is_some() {
            self.direct = changes;
        }
        done?;
        self.direct_since = None;
        step::pass(Step::CommitAfter);
        self.origin.generation = generation;
        self.outdated = false;
        let has_messages = self.database.has_messages().unwrap_or(true);
        self.overlay.handle_flushed(has_messages);
        self.bytes_used = self.database.bytes_used().unwrap_or(self.bytes_used);
        self.refill();
        // The old file is of an older generation: whether it is replaced or not, it counts no more.
        self.begin_staging();
        step::pass(Step::FlushAfter);
        Ok(())
    }

    /// Writes the staged file anew without what was cancelled.
    fn shorten(&mut self) {
        let net = self.overlay.net();
        if let Some(staged) = &mut self.staged
            && let Err(cause) = staged.rewrite(self.origin, &net)
        {
            tracing::debug!(%cause, "the staged file cannot be shortened");
        }
    }

    /// What SQLite finds wrong with the database, `None` if nothing.
    pub(super) fn find_damage(&self) -> Result<Option<String>, StoreError> {
        Ok(self.database.find_damage(1)?.pop())
    }

    /// Reads a session's messages out of both layers.
    pub(super) fn fetch(
        &mut self,
        session: SessionId,
        after: Seq,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<(Vec<StoredMessage>, Option<Seq>), StoreError> {
        let (stored, examined) = self.database.fetch(session, after, count_max, bytes_max)?;
        let mut merged = self.overlay.merge(session, after, stored, examined);
        if merged.len() > count_max {
            merged.truncate(count_max);
            let last = merged.last().map(|stored| stored.seq);
            return Ok((merged, last));
        }
        Ok((merged, examined))
    }

    /// Reads a stretch of both layers, whoever the messages are for.
    pub(super) fn slice(
        &mut self,
        after: Seq,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Slice, StoreError> {
        let mut slice = self.database.slice(after, count_max, bytes_max)?;
        self.overlay.merge_slice(after, &mut slice);
        if slice.messages.len() > count_max {
            slice.messages.truncate(count_max);
            slice.examined = slice.messages.last().map(|stored| stored.seq);
            let end = slice.examined;
            slice.damaged.retain(|segment| Some(segment.first) <= end);
        }
        Ok(slice)
    }

    /// What is wrong with the small tables and the staged file.
    pub(super) fn verify(&self) -> Result<Vec<Damage>, StoreError> {
        let found = verify::tables(&self.database.connection)
            .map_err(|fault| self.database.named(fault))?;
        let mut damages: Vec<Damage> = found.into_iter().map(|found| found.damage).collect();
        if let (Some(_), Some(staging)) = (&self.staged, &self.staging) {
            damages.extend(verify::staged(&staging.runtime_dir, self.origin).0);
        }
        Ok(damages)
    }

    /// Drops messages to keep a bound; what is staged is committed first.
    pub(super) fn trim(
        &mut self,
        keep: &BTreeSet<Seq>,
        bytes_target: Option<u64>,
        thin: bool,
        older_than: Option<Timestamp>,
    ) -> Result<Trimmed, StoreError> {
        if bytes_target.is_some() {
            self.flush()?;
        }
        let trimmed =
            self.with_room(|database| database.trim(keep, bytes_target, thin, older_than))?;
        (self.bytes_used, self.bytes_room) = (trimmed.bytes_used, trimmed.bytes_room);
        Ok(Trimmed { bytes_room: self.room(), ..trimmed })
    }
}

/// Commits what an earlier process left staged; tells whether changes that it had answered are lost.
fn take_staged(
    database: &mut Database,
    runtime_dir: &Path,
    origin: &mut Origin,
    origins: Origins,
) -> Result<bool, StoreError> {
    let unreadable = |source| StoreError::Staged { path: runtime_dir.join(FILE_NAME), source };
    let Some(found) = Staged::find(runtime_dir).map_err(unreadable)? else {
        return lose_staged(database, origin, origins);
    };
    // Of a store whose number was lost with its last commit, this is the only file there can be.
    let standing = match origins {
        Origins::Lost => Standing::Ahead,
        Origins::Settled | Origins::Known => found.standing(*origin),
    };
    match standing {
        Standing::Foreign => lose_staged(database, origin, origins),
        Standing::Committed => Ok(false),
        Standing::Follows if origins == Origins::Settled => {
            let changes = found.changes().map_err(unreadable)?;
            if !changes.is_empty() {
                origin.generation += 1;
                step::pass(Step::StartFound);
                database.commit(&changes, Some(origin.generation))?;
                step::pass(Step::StartCommitted);
            }
            Ok(false)
        }
        Standing::Follows | Standing::Ahead => {
            if origins == Origins::Settled {
                let commits = found.generation() - origin.generation;
                tracing::error!(
                    commits,
                    "queue has lost commits that it had made: its log was torn, or an older file was put back; \
                     does the disk keep its word about fsync?"
                );
                // Pages of two times may stand side by side.
                database.check()?;
            }
            let changes = found.changes().map_err(unreadable)?;
            database.lose_ids()?;
            origin.generation = origin.generation.max(found.generation()) + 1;
            let committed = database.commit_again(&changes, origin.generation);
            if let Err(error) = &committed
                && error.is_damage()
            {
                // Whatever they contradict: the next start would come to the same.
                let aside = Staged::move_aside(runtime_dir).map_err(unreadable)?;
                tracing::error!(%error, aside = %aside.display(), "staged changes do not fit the queue and are left out");
            }
            committed.map(|()| true)
        }
    }
}

/// There is no staged file to take; tells whether there should be one.
fn lose_staged(
    database: &mut Database,
    origin: &mut Origin,
    origins: Origins,
) -> Result<bool, StoreError> {
    let staged_lost = database.was_staging()? && origins != Origins::Lost;
    if staged_lost {
        tracing::warn!(
            "what was staged before the last end is gone: a power cut, or another runtime directory"
        );
        // First: once the loss is noted no later start finds out about it.
        database.lose_ids()?;
        // Should it turn up later, it is no longer of this store's time.
        origin.generation += 1;
        database.commit(&[], Some(origin.generation))?;
    }
    Ok(staged_lost)
}
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use std::num::NonZeroU16;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::model::{Body, Message, QoS, TopicName};
    use crate::store::change::{Phase, SessionOwner, Target};

    fn open(dir: &std::path::Path) -> (Layers, Snapshot) {
        let commit_every = Duration::from_secs(3600);
        let staging = Staging { runtime_dir: dir.join("run"), commit_every };
        let database = Database::open(dir, None).expect("a database");
        Layers::open(database, Some(staging)).expect("it opens")
    }

    #[test]
    fn what_cannot_be_staged_leaves_nothing_staged_that_it_takes_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut layers, _) = open(dir.path());
        let (session, seq, packet_id) = (SessionId(1), Seq(1), NonZeroU16::MIN);
        let owner = SessionOwner::Uplink("a".into());
        let message = Message {
            topic: TopicName::new("t").expect("well formed"),
            payload: Bytes::new(),
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: None,
            accepted: Timestamp::default(),
            expires: None,
            body: Body::Foreign,
        };
        let targets =
            Arc::from([Target { session, qos: QoS::ExactlyOnce, retain: false, shared: false }]);
        let take = |layers: &mut Layers, changes, sync| {
            if layers.take(changes, sync, Instant::now()) == Need::Flush {
                layers.flush().expect("the disk is there");
            }
        };
        let session_row = Change::Session { session, owner, cursor: Seq(0), expiry: u32::MAX };
        take(
            &mut layers,
            vec![session_row, Change::Append { seq, message: message.into(), targets }],
            true,
        );
        let flight = Change::Flight { session, seq, packet_id, phase: Phase::Assigned };
        take(&mut layers, vec![flight], false);
        layers.staged.as_mut().expect("it stages").spoil();
        take(&mut layers, vec![Change::Recall { session, seq }], false);
        drop(layers);
        let (_, found) = open(dir.path());
        assert_eq!(found.sessions.first().map(|session| session.flights.len()), Some(0));
    }
}
