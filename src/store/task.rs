//! shell: the thread that owns the store. Takes batches in order, answers each; a failed commit is tried again.
#![allow(
    clippy::disallowed_methods,
    reason = "the store has its own thread and its own clock to wait by"
)]

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::change::{Change, Committed, SessionId, Snapshot, StoredMessage, Trimmed};
use super::database::Database;
use super::disk::{Disk, VFS_NAME};
use super::error::StoreError;
use super::layers::{Layers, Need};
use super::open;
use super::runtime_lock::RuntimeLock;
use super::salvage;
use super::settings::Staging;
use super::slice::Slice;
use super::staged::note_place;
use super::verify::Damage;
use crate::model::{Seq, Timestamp};

/// How long the thread waits before it tries a failed commit again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// A batch of no more changes,
const SMALL_CHANGES: usize = 512;
/// and no more payload in bytes, is staged sooner than another thread is awake.
const SMALL_BYTES: usize = 128 * 1024;

/// What the hub asks of the store. Everything is done in the order it was asked.
#[derive(Debug)]
pub enum StoreCommand {
    /// Make a batch durable.
    Commit {
        /// The hub's number for it.
        batch: u64,
        /// The changes, in order.
        changes: Vec<Change>,
        /// Whether somebody is told that it is safe from a power cut as well.
        sync: bool,
    },
    /// Read messages for a session.
    Fetch {
        /// Whose.
        session: SessionId,
        /// After which place.
        after: Seq,
        /// Messages to look at, at most.
        count_max: usize,
        /// Payload bytes to bring, at most (one message more).
        bytes_max: usize,
    },
    /// Read messages, whoever they are for.
    Look {
        /// The hub's number for the question.
        question: u64,
        /// After which place.
        after: Seq,
        /// Messages to look at, at most.
        count_max: usize,
        /// Payload bytes to bring, at most (one message more).
        bytes_max: usize,
    },
    /// Look for rows of the small tables and staged batches that cannot be understood.
    Verify {
        /// The hub's number for the question.
        question: u64,
    },
    /// Keep the bounds.
    Trim {
        /// Messages on the wire, which stay.
        keep: BTreeSet<Seq>,
        /// Drop until no more than this many bytes are used.
        bytes_target: Option<u64>,
        /// Whether every second reading of each topic goes for that before the oldest messages do.
        thin: bool,
        /// Drop what was accepted before.
        older_than: Option<Timestamp>,
    },
}

/// What the store answers.
#[derive(Debug)]
pub enum StoreEvent {
    /// A batch is durable.
    Committed(Committed),
    /// Messages for a session.
    Fetched {
        /// Whose.
        session: SessionId,
        /// The messages, oldest first.
        messages: Vec<StoredMessage>,
        /// Everything up to here was looked at; `None` if there is nothing beyond.
        examined: Option<Seq>,
    },
    /// Messages, whoever they are for.
    Looked {
        /// The hub's number for the question.
        question: u64,
        /// What stands there.
        slice: Result<Slice, StoreError>,
    },
    /// What cannot be understood.
    Verified {
        /// The hub's number for the question.
        question: u64,
        /// What is wrong.
        damages: Result<Vec<Damage>, StoreError>,
    },
    /// Messages were dropped to keep a bound.
    Trimmed(Trimmed),
    /// A read failed; it may be asked again.
    ReadFailed(StoreError),
    /// A trim failed; it may be asked again.
    TrimFailed(StoreError),
    /// A commit failed and will be tried again until it succeeds.
    Stuck(StoreError),
    /// The commit that had failed went through.
    Unstuck {
        /// How often it had failed.
        failures: u64,
        /// How long.
        lasted: Duration,
    },
    /// The database is damaged and the store has ended. The next start salvages what can be read; what was staged is
    /// kept.
    Damaged(StoreError),
}

impl StoreEvent {
    pub(super) fn of_fetch(
        session: SessionId,
        fetched: Result<(Vec<StoredMessage>, Option<Seq>), StoreError>,
    ) -> Self {
        match fetched {
            Ok((messages, examined)) => Self::Fetched { session, messages, examined },
            Err(error) => Self::ReadFailed(error),
        }
    }

    pub(super) fn of_trim(trimmed: Result<Trimmed, StoreError>) -> Self {
        trimmed.map_or_else(Self::TrimFailed, Self::Trimmed)
    }
}

/// What the thread is asked.
#[derive(Debug)]
enum Asked {
    Command(StoreCommand),
    /// The batch was taken where it was made; the database must have it.
    Flush {
        batch: u64,
    },
    /// There is a time to wait for.
    Timeout,
}

/// What the thread and whoever asks it share.
#[derive(Debug)]
struct Shared {
    layers: Mutex<Layers>,
    /// Asked and not answered yet. Only whoever asks adds to it.
    asked: AtomicUsize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running store. Dropping it lets the thread finish what was asked and closes the database.
#[derive(Debug)]
pub struct Store {
    commands: Option<Sender<Asked>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Given up after the thread has ended.
    _runtime: Option<RuntimeLock>,
}

impl Store {
    /// Opens the database in `state_dir`, commits what an earlier process left staged, and starts the thread; answers go
    /// to `events`. Without `staging` every batch is committed at once.
    ///
    /// # Errors
    /// [`StoreError`] says which file and what to do.
    #[allow(clippy::needless_pass_by_value, reason = "the same face as `open_on`")]
    pub fn open(
        state_dir: &Path,
        staging: Option<Staging>,
        events: UnboundedSender<StoreEvent>,
    ) -> Result<(Self, Snapshot), StoreError> {
        let staged_in = staging.as_ref().map(|staging| staging.runtime_dir.as_path());
        let runtime = staged_in.map(RuntimeLock::take).transpose()?.flatten();
        let (layers, snapshot) = open::open(state_dir, staging.as_ref())?;
        // Word beside the database where the staged layer lies.
        if let Some(Staging { runtime_dir, .. }) = &staging
            && let Err(cause) = note_place(state_dir, runtime_dir)
        {
            let directory = state_dir.display();
            tracing::warn!(%directory, %cause, "cannot note the runtime directory; `fieldpost queue` may not find it");
        }
        let mut store = Self::start(layers, state_dir, true, events)?;
        store._runtime = runtime;
        Ok((store, snapshot))
    }

    /// The same on a recorded disk.
    ///
    /// # Errors
    /// [`StoreError`] says which file and what to do.
    pub fn open_on(
        disk: &Disk,
        staging: Option<Staging>,
        events: UnboundedSender<StoreEvent>,
    ) -> Result<(Self, Snapshot), StoreError> {
        let state_dir = disk.state_dir();
        let database = Database::open(&state_dir, Some(VFS_NAME))?;
        let (layers, snapshot) = Layers::open(database, staging)?;
        Ok((Self::start(layers, &state_dir, false, events)?, snapshot))
    }

    fn start(
        layers: Layers,
        state_dir: &Path,
        has_directory: bool,
        events: UnboundedSender<StoreEvent>,
    ) -> Result<Self, StoreError> {
        let (commands, inbox) = channel();
        let shared = Arc::new(Shared { layers: Mutex::new(layers), asked: AtomicUsize::new(0) });
        let thread = Thread {
            shared: shared.clone(),
            commands: inbox,
            events,
            waiting: VecDeque::new(),
            stuck: None,
            retry: None,
            marks_in: has_directory.then(|| state_dir.to_owned()),
        };
        let thread =
            std::thread::Builder::new()
                .name("store".into())
                .spawn(move || thread.run())
                .map_err(|source| StoreError::Directory { path: state_dir.to_owned(), source })?;
        Ok(Self { commands: Some(commands), shared, thread: Some(thread), _runtime: None })
    }

    /// Does at once, in the calling thread, what takes no longer than waking the other one: a small batch that has only
    /// to outlive a kill, while nothing else is under way. Everything else goes the way of [`Self::send`], and so does
    /// the answer.
    #[must_use = "an answer comes this way or the other"]
    pub fn ask(&self, command: StoreCommand) -> Option<StoreEvent> {
        let StoreCommand::Commit { batch, changes, sync: false } = command else {
            self.send(command);
            return None;
        };
        // What was asked before comes before.
        let is_free = self.shared.asked.load(Ordering::Acquire) == 0 && is_small(&changes);
        let mut layers = match is_free.then(|| self.shared.layers.try_lock()) {
            Some(Ok(layers)) if layers.stages() => layers,
            Some(Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) | Ok(_)) | None => {
                self.send(StoreCommand::Commit { batch, changes, sync: false });
                return None;
            }
        };
        let due = layers.poll_timeout();
        match layers.take(changes, false, Instant::now()) {
            Need::Nothing => {
                let is_sooner = match (due, layers.poll_timeout()) {
                    (Some(before), Some(due)) => due < before,
                    (None, due) => due.is_some(),
                    (Some(_), None) => false,
                };
                let committed = layers.committed(batch);
                drop(layers);
                if is_sooner {
                    self.tell(Asked::Timeout);
                }
                Some(StoreEvent::Committed(committed))
            }
            Need::Flush => {
                drop(layers);
                self.tell(Asked::Flush { batch });
                None
            }
        }
    }

    /// Asks for something; the answer comes as a [`StoreEvent`].
    pub fn send(&self, command: StoreCommand) {
        self.tell(Asked::Command(command));
    }

    fn tell(&self, asked: Asked) {
        if let Some(commands) = &self.commands {
            self.shared.asked.fetch_add(1, Ordering::AcqRel);
            // The thread ends only after this sender is gone.
            let _ = commands.send(asked);
        }
    }

    /// Waits until everything asked is done and the database is closed.
    pub fn close(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Whether a batch is staged sooner than another thread is awake.
fn is_small(changes: &[Change]) -> bool {
    let payload = |change: &Change| {
        if let Change::Append { message, .. } = change {
            message.payload.len()
        } else if let Change::Retain { message: Some(message), .. } = change {
            message.payload.len()
        } else {
            0
        }
    };
    changes.len() <= SMALL_CHANGES && changes.iter().map(payload).sum::<usize>() <= SMALL_BYTES
}

struct Thread {
    shared: Arc<Shared>,
    commands: Receiver<Asked>,
    events: UnboundedSender<StoreEvent>,
    /// Asked while a commit was stuck.
    waiting: VecDeque<Asked>,
    /// Flushes that failed since the last that did not, and when the first did.
    stuck: Option<(u64, Instant)>,
    /// When the next flush may be tried after one that failed.
    retry: Option<Instant>,
    /// Where a damage is noted for the next start.
    marks_in: Option<PathBuf>,
}

/// Nothing more can be done: the database is damaged, and that has been told, or the program ends while it cannot be
/// written.
struct Ended;

impl Thread {
    fn run(mut self) {
        if self.work().is_err() {
            return;
        }
        // What is staged would be found at the next start, but not after a power cut.
        let closed = self.shared.lock().close();
        if let Err(error) = closed {
            let _ = self.events.send(StoreEvent::Stuck(error));
        }
    }

    /// Does what is asked until nobody asks any more.
    fn work(&mut self) -> Result<(), Ended> {
        while let Some(asked) = self.next()? {
            let answer = match asked {
                Asked::Command(command) => Some(self.answer(command)?),
                Asked::Flush { batch } => {
                    self.flush()?;
                    Some(StoreEvent::Committed(self.shared.lock().committed(batch)))
                }
                Asked::Timeout => None,
            };
            let is_heard = answer.is_none_or(|answer| self.events.send(answer).is_ok());
            self.shared.asked.fetch_sub(1, Ordering::AcqRel);
            if !is_heard {
                break;
            }
        }
        Ok(())
    }

    fn answer(&mut self, command: StoreCommand) -> Result<StoreEvent, Ended> {
        Ok(match command {
            StoreCommand::Commit { batch, changes, sync } => {
                let need = self.shared.lock().take(changes, sync, Instant::now());
                match need {
                    Need::Nothing => {}
                    Need::Flush => self.flush()?,
                }
                StoreEvent::Committed(self.shared.lock().committed(batch))
            }
            StoreCommand::Fetch { session, after, count_max, bytes_max } => {
                let fetched = self.shared.lock().fetch(session, after, count_max, bytes_max);
                StoreEvent::of_fetch(session, self.unless_damaged(fetched)?)
            }
            StoreCommand::Look { question, after, count_max, bytes_max } => {
                let slice = self.shared.lock().slice(after, count_max, bytes_max);
                StoreEvent::Looked { question, slice }
            }
            StoreCommand::Verify { question } => {
                StoreEvent::Verified { question, damages: self.shared.lock().verify() }
            }
            StoreCommand::Trim { keep, bytes_target, thin, older_than } => {
                let trimmed = self.shared.lock().trim(&keep, bytes_target, thin, older_than);
                StoreEvent::of_trim(self.unless_damaged(trimmed)?)
            }
        })
    }

    /// Ends the store if the database is damaged: asking again cannot help.
    fn unless_damaged<T>(
        &self,
        done: Result<T, StoreError>,
    ) -> Result<Result<T, StoreError>, Ended> {
        match done {
            Err(error) if error.is_damage() => {
                if let Some(state_dir) = &self.marks_in {
                    salvage::mark(state_dir, &error);
                }
                let _ = self.events.send(StoreEvent::Damaged(error));
                Err(Ended)
            }
            done => Ok(done),
        }
    }

    /// The next command; the database is brought up to date in between when that is due. `None` at the end.
    fn next(&mut self) -> Result<Option<Asked>, Ended> {
        loop {
            if let Some(asked) = self.waiting.pop_front() {
                return Ok(Some(asked));
            }
            let due = self.shared.lock().poll_timeout();
            let Some(due) = due else { return Ok(self.commands.recv().ok()) };
            let due = self.retry.map_or(due, |retry| due.max(retry));
            let patience = due.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                self.try_flush()?;
                continue;
            }
            match self.commands.recv_timeout(patience) {
                Ok(asked) => return Ok(Some(asked)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// Flushes, or says that it cannot and tries again later: what is staged is safe from a kill meanwhile.
    fn try_flush(&mut self) -> Result<(), Ended> {
        let flushed = self.shared.lock().flush();
        match self.unless_damaged(flushed)? {
            Ok(()) => {
                self.retry = None;
                if let Some((failures, since)) = self.stuck.take() {
                    let lasted = since.elapsed();
                    let _ = self.events.send(StoreEvent::Unstuck { failures, lasted });
                }
            }
            Err(error) => {
                let now = Instant::now();
                self.retry = Some(now + RETRY_PAUSE);
                let (failures, _) = self.stuck.get_or_insert((0, now));
                *failures += 1;
                if *failures == 1 {
                    let _ = self.events.send(StoreEvent::Stuck(error));
                }
            }
        }
        Ok(())
    }

    /// Flushes, again and again if it must, until the program ends.
    fn flush(&mut self) -> Result<(), Ended> {
        loop {
            self.try_flush()?;
            if self.retry.is_none() {
                return Ok(());
            }
            // What is asked meanwhile waits its turn; the end of the program does not.
            match self.commands.recv_timeout(RETRY_PAUSE) {
                // Whoever looks at a stuck store wants to know now, and what cannot be written can be read.
                Ok(Asked::Command(StoreCommand::Look {
                    question,
                    after,
                    count_max,
                    bytes_max,
                })) => {
                    let slice = self.shared.lock().slice(after, count_max, bytes_max);
                    let _ = self.events.send(StoreEvent::Looked { question, slice });
                    self.shared.asked.fetch_sub(1, Ordering::AcqRel);
                }
                Ok(asked) => self.waiting.push_back(asked),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Ended),
            }
        }
    }
}
