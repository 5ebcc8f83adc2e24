//! shell: the thread that owns the database. Takes batches in order, answers each; a failed commit is tried again.
#![allow(
    clippy::disallowed_methods,
    reason = "the store has its own thread and its own clock to wait by"
)]

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::change::{Change, Committed, SessionId, Snapshot, StoredMessage, Trimmed};
use super::database::{Database, StoreError};
use crate::model::{Seq, Timestamp};

/// How long the thread waits before it tries a failed commit again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What the hub asks of the store. Everything is done in the order it was asked.
#[derive(Debug)]
pub enum StoreCommand {
    /// Make a batch durable.
    Commit {
        /// The hub's number for it.
        batch: u64,
        /// The changes, in order.
        changes: Vec<Change>,
    },
    /// Read messages for a session.
    Fetch {
        /// Whose.
        session: SessionId,
        /// After which place.
        after: Seq,
        /// Rows to look at, at most.
        count_max: usize,
        /// Payload bytes to bring, at most (one message more).
        bytes_max: usize,
    },
    /// Keep the bounds.
    Trim {
        /// Messages on the wire, which stay.
        keep: BTreeSet<Seq>,
        /// Drop the oldest until no more than this many bytes are used.
        bytes_target: Option<u64>,
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
    /// Messages were dropped to keep a bound.
    Trimmed(Trimmed),
    /// A read or a trim failed; it may be asked again.
    Failed(StoreError),
    /// A commit failed and will be tried again until it succeeds.
    Stuck(StoreError),
    /// The commit that had failed went through.
    Unstuck {
        /// How often it had failed.
        failures: u64,
    },
}

/// The running store. Dropping it lets the thread finish what was asked and closes the database.
#[derive(Debug)]
pub struct Store {
    commands: Option<Sender<StoreCommand>>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the database in `state_dir` and starts its thread; answers go to `events`.
    ///
    /// # Errors
    /// [`StoreError`] says which file and what to do.
    pub fn open(
        state_dir: &Path,
        events: UnboundedSender<StoreEvent>,
    ) -> Result<(Self, Snapshot), StoreError> {
        let (database, snapshot) = Database::open(state_dir)?;
        let (commands, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || run(database, &inbox, &events))
            .map_err(|source| StoreError::Directory { path: state_dir.to_owned(), source })?;
        Ok((Self { commands: Some(commands), thread: Some(thread) }, snapshot))
    }

    /// Asks for something; the answer comes as a [`StoreEvent`].
    pub fn send(&self, command: StoreCommand) {
        if let Some(commands) = &self.commands {
            // The thread ends only after this sender is gone.
            let _ = commands.send(command);
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

fn run(
    mut database: Database,
    commands: &Receiver<StoreCommand>,
    events: &UnboundedSender<StoreEvent>,
) {
    let mut waiting = VecDeque::new();
    while let Some(command) = waiting.pop_front().or_else(|| commands.recv().ok()) {
        let answer = match command {
            StoreCommand::Commit { batch, changes } => {
                match commit(&mut database, batch, &changes, commands, &mut waiting, events) {
                    Some(committed) => StoreEvent::Committed(committed),
                    None => return,
                }
            }
            StoreCommand::Fetch { session, after, count_max, bytes_max } => {
                match database.fetch(session, after, count_max, bytes_max) {
                    Ok((messages, examined)) => StoreEvent::Fetched { session, messages, examined },
                    Err(error) => StoreEvent::Failed(error),
                }
            }
            StoreCommand::Trim { keep, bytes_target, older_than } => {
                match database.trim(&keep, bytes_target, older_than) {
                    Ok(trimmed) => StoreEvent::Trimmed(trimmed),
                    Err(error) => StoreEvent::Failed(error),
                }
            }
        };
        if events.send(answer).is_err() {
            return;
        }
    }
}

/// Commits, again and again if it must; `None` if the program ends first.
fn commit(
    database: &mut Database,
    batch: u64,
    changes: &[Change],
    commands: &Receiver<StoreCommand>,
    waiting: &mut VecDeque<StoreCommand>,
    events: &UnboundedSender<StoreEvent>,
) -> Option<Committed> {
    let mut failures = 0;
    loop {
        match database.commit(batch, changes) {
            Ok(committed) => {
                if failures > 0 {
                    let _ = events.send(StoreEvent::Unstuck { failures });
                }
                return Some(committed);
            }
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    let _ = events.send(StoreEvent::Stuck(error));
                }
            }
        }
        // What is asked meanwhile waits its turn; the end of the program does not.
        match commands.recv_timeout(RETRY_PAUSE) {
            Ok(command) => waiting.push_back(command),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}
