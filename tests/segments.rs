//! The queue beside a plain map: whatever is appended, deleted, trimmed and reopened, both hold the same messages.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests touch the machine"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use fieldpost::model::{Message, QoS, Seq, Timestamp, TopicName};
use fieldpost::store::{
    Change, SessionId, SessionOwner, Staging, Store, StoreCommand, StoreEvent, StoredMessage,
    Target, Trimmed,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const NOW: u64 = 1_795_230_600_000;

/// What is done to both.
#[derive(Debug, Clone)]
enum Act {
    /// Messages with payloads of about this many bytes, each place this far from the one before; a part of them deleted
    /// in the same batch.
    Append { count: u64, bytes: usize, gap: u64, deleted: Option<(u64, u64)> },
    /// Ranges, as places before the last: first and length.
    Delete(Vec<(u64, u64)>),
    /// The rest of the queue of a session is read, so many messages and bytes at a time.
    Fetch { session: u32, back: u64, count_max: usize, bytes_max: usize },
    /// Down to a share of what is used; every `keep`-th message stays.
    TrimBytes { percent: u64, keep: u64 },
    /// What is older than a message this far back.
    TrimAge { back: u64, keep: u64 },
    /// A session ends, another begins.
    EndSession,
    /// Closed, or killed, and opened again.
    Reopen { killed: bool },
}

fn act() -> impl Strategy<Value = Act> {
    let deleted = proptest::option::of((0u64..300, 1u64..300));
    let keep = prop::sample::select(vec![2u64, 7, 100, 100_000]);
    let append = (1u64..400, prop::sample::select(vec![0usize, 8, 100, 3000]), 1u64..40, deleted);
    prop_oneof![
        6 => append.prop_map(|(count, bytes, gap, deleted)| Act::Append { count, bytes, gap, deleted }),
        5 => vec((0u64..4000, 0u64..700), 1..6).prop_map(Act::Delete),
        3 => vec((0u64..300, 0u64..2), 1..60).prop_map(Act::Delete),
        3 => (1u32..3, 0u64..5000, 1usize..600, 1usize..50_000).prop_map(
            |(session, back, count_max, bytes_max)| Act::Fetch { session, back, count_max, bytes_max }
        ),
        1 => (10u64..100, keep.clone()).prop_map(|(percent, keep)| Act::TrimBytes { percent, keep }),
        1 => (0u64..1500, keep).prop_map(|(back, keep)| Act::TrimAge { back, keep }),
        1 => Just(Act::EndSession),
        2 => any::<bool>().prop_map(|killed| Act::Reopen { killed }),
    ]
}

/// The store, the map, and what both were told.
struct Both {
    dir: tempfile::TempDir,
    commit_every: Option<Duration>,
    store: Option<Store>,
    events: UnboundedReceiver<StoreEvent>,
    map: BTreeMap<Seq, StoredMessage>,
    last: u64,
    /// The second session; the first never ends.
    second: u32,
    rng: Rng,
    bytes_used: u64,
}

impl Both {
    fn new(commit_every: Option<Duration>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, events, _) = open(dir.path(), commit_every);
        let store = Some(store);
        let (map, rng) = (BTreeMap::new(), Rng::with_seed(1));
        let mut both =
            Self { dir, commit_every, store, events, map, last: 0, second: 2, rng, bytes_used: 0 };
        both.commit(vec![both.session(1), both.session(2)]);
        both
    }

    fn session(&self, id: u32) -> Change {
        let owner = SessionOwner::Client(format!("c{id}").into());
        Change::Session { session: SessionId(id), owner, cursor: Seq(0), expiry: 60 }
    }

    fn ask(&mut self, command: StoreCommand) -> StoreEvent {
        self.store.as_ref().unwrap().send(command);
        self.events.blocking_recv().unwrap()
    }

    fn commit(&mut self, changes: Vec<Change>) {
        let answer = self.ask(StoreCommand::Commit { batch: 1, changes, sync: false });
        let StoreEvent::Committed(committed) = answer else { panic!("{answer:?}") };
        self.bytes_used = committed.bytes_used;
    }

    fn message(&mut self, bytes: usize) -> Message {
        let noisy = self.rng.bool();
        let byte = |rng: &mut Rng| if noisy { rng.u8(..) } else { b'x' };
        // A few have no clock that was set.
        let accepted = if self.rng.u8(..20) == 0 { 7000 } else { NOW + self.last };
        Message {
            topic: TopicName::new(&format!("site/{}", self.rng.u8(..5))).unwrap(),
            payload: (0..bytes).map(|_| byte(&mut self.rng)).collect::<Vec<u8>>().into(),
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: None,
            accepted: Timestamp::from_unix_ms(accepted),
            expires: None,
            body: fieldpost::model::Body::Foreign,
        }
    }

    fn targets(&mut self) -> Arc<[Target]> {
        let target = |id| Target {
            session: SessionId(id),
            qos: QoS::AtLeastOnce,
            retain: false,
            shared: false,
        };
        match self.rng.u8(..3) {
            0 => Arc::from([target(1)]),
            1 => Arc::from([target(self.second)]),
            _ => Arc::from([target(1), target(self.second)]),
        }
    }

    fn kept(&self, keep: u64) -> BTreeSet<Seq> {
        self.map.keys().copied().filter(|seq| seq.0 % keep == 0).collect()
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Append { count, bytes, gap, deleted } => {
                let begin = self.last + 1;
                let mut changes = Vec::new();
                for _ in 0..*count {
                    self.last += 1 + self.rng.u64(..*gap);
                    let (seq, message) = (Seq(self.last), self.message(*bytes));
                    let targets = self.targets();
                    let stored = StoredMessage { seq, message: message.into(), targets };
                    self.map.insert(seq, stored.clone());
                    let StoredMessage { message, targets, .. } = stored;
                    changes.push(Change::Append { seq, message, targets });
                }
                if let Some((after, length)) = deleted {
                    let first = Seq(begin + after);
                    let last = Seq(first.0 + length);
                    // As the engine would: nothing that is still to come.
                    let last = last.min(Seq(self.last));
                    if first <= last {
                        changes.push(Change::Delete { first, last });
                        self.map.retain(|seq, _| !(first..=last).contains(seq));
                    }
                }
                self.commit(changes);
            }
            Act::Delete(ranges) => {
                let range = |(back, length): &(u64, u64)| {
                    let first = Seq(self.last.saturating_sub(*back).max(1));
                    (first, Seq((first.0 + length).min(self.last.max(1))))
                };
                let ranges: Vec<_> = ranges.iter().map(range).collect();
                for (first, last) in &ranges {
                    self.map.retain(|seq, _| !(first..=last).contains(&seq));
                }
                let delete = |(first, last)| Change::Delete { first, last };
                self.commit(ranges.into_iter().map(delete).collect());
            }
            Act::Fetch { session, back, count_max, bytes_max } => {
                let session = if *session == 1 { 1 } else { self.second };
                let after = Seq(self.last.saturating_sub(*back));
                self.fetch(SessionId(session), after, *count_max, *bytes_max);
            }
            Act::TrimBytes { percent, keep } => {
                let (keep, target) = (self.kept(*keep), self.bytes_used * percent / 100);
                let trimmed = self.trim(keep.clone(), target, None);
                let last = trimmed.dropped.last().map_or(Seq(0), |(seq, _)| *seq);
                self.dropped(&trimmed, |stored| stored.seq <= last && !keep.contains(&stored.seq));
                let is_reached = trimmed.bytes_used <= target;
                assert!(is_reached || self.map.keys().all(|seq| keep.contains(seq)));
            }
            Act::TrimAge { back, keep } => {
                let (keep, limit) = (self.kept(*keep), NOW + self.last.saturating_sub(*back));
                let limit = Timestamp::from_unix_ms(limit);
                let trimmed = self.trim(keep.clone(), u64::MAX / 2, Some(limit));
                self.dropped(&trimmed, |StoredMessage { seq, message, .. }| {
                    message.accepted.is_set() && message.accepted < limit && !keep.contains(seq)
                });
            }
            Act::EndSession => {
                let ended = SessionId(self.second);
                self.map.retain(|_, stored| {
                    !stored.targets.iter().all(|target| target.session == ended)
                });
                self.second += 1;
                self.commit(vec![Change::EndSession { session: ended }, self.session(self.second)]);
            }
            Act::Reopen { killed } => self.reopen(*killed),
        }
    }

    fn fetch(&mut self, session: SessionId, after: Seq, count_max: usize, bytes_max: usize) {
        let (mut found, mut next) = (Vec::new(), Some(after));
        while let Some(after) = next {
            let command = StoreCommand::Fetch { session, after, count_max, bytes_max };
            let StoreEvent::Fetched { messages, examined, .. } = self.ask(command) else {
                panic!("it cannot be read")
            };
            assert!(messages.len() <= count_max);
            assert!(examined.is_none_or(|examined| examined > after), "no step");
            found.extend(messages);
            next = examined;
        }
        let is_for = |stored: &&StoredMessage| stored.targets.iter().any(|t| t.session == session);
        let expected: Vec<StoredMessage> =
            self.map.range(after.next()..).map(|(_, s)| s).filter(is_for).cloned().collect();
        assert!(found == expected, "{} instead of {}", found.len(), expected.len());
    }

    fn trim(&mut self, keep: BTreeSet<Seq>, target: u64, older_than: Option<Timestamp>) -> Trimmed {
        let bytes_target = Some(target);
        let answer = self.ask(StoreCommand::Trim { keep, bytes_target, thin: false, older_than });
        let StoreEvent::Trimmed(trimmed) = answer else { panic!("{answer:?}") };
        trimmed
    }

    /// What was dropped is all that may have been, with whom it was for.
    fn dropped(&mut self, trimmed: &Trimmed, is_dropped: impl Fn(&StoredMessage) -> bool) {
        let gone: Vec<(Seq, Arc<[Target]>)> = self
            .map
            .values()
            .filter(|stored| is_dropped(stored))
            .map(|stored| (stored.seq, stored.targets.clone()))
            .collect();
        assert!(trimmed.dropped == gone, "{} instead of {}", trimmed.dropped.len(), gone.len());
        self.map.retain(|_, stored| !is_dropped(stored));
    }

    fn reopen(&mut self, killed: bool) {
        if killed {
            let copy = tempfile::tempdir().unwrap();
            copy_files(self.dir.path(), copy.path());
            copy_files(&self.dir.path().join("run"), &copy.path().join("run"));
            self.store.take().unwrap().close();
            self.dir = copy;
        }
        drop(self.store.take());
        let (store, events, queued) = open(self.dir.path(), self.commit_every);
        (self.store, self.events) = (Some(store), events);
        let waiting = |id| {
            let is_for = |s: &&StoredMessage| s.targets.iter().any(|t| t.session == SessionId(id));
            self.map.values().filter(is_for).count() as u64
        };
        assert_eq!(queued, [waiting(1), waiting(self.second)]);
    }

    fn assert_no_rows(&mut self) {
        drop(self.store.take());
        let file = self.dir.path().join(fieldpost::store::FILE_NAME);
        let connection = rusqlite::Connection::open(file).unwrap();
        for table in ["segment", "gone"] {
            let sql = format!("SELECT count(*) FROM {table}");
            let rows: u64 = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(rows, 0, "rows of {table}");
        }
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.path().is_file() && entry.file_name() != "fieldpost.reserve" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The store in `dir`, and how many messages each session waits for.
fn open(
    dir: &Path,
    commit_every: Option<Duration>,
) -> (Store, UnboundedReceiver<StoreEvent>, Vec<u64>) {
    let (sender, events) = unbounded_channel();
    let staging =
        commit_every.map(|commit_every| Staging { runtime_dir: dir.join("run"), commit_every });
    let (store, snapshot) = Store::open(dir, staging, sender).unwrap();
    (store, events, snapshot.sessions.iter().map(|session| session.queued).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_holds_what_a_plain_map_would(
        staged in any::<bool>(),
        acts in vec(act(), 1..30),
    ) {
        let mut both = Both::new(staged.then(|| Duration::from_secs(3600)));
        for act in &acts {
            both.act(act);
        }
        both.fetch(SessionId(1), Seq(0), 100, usize::MAX);
        both.reopen(false);
        both.fetch(SessionId(1), Seq(0), 100, usize::MAX);
        // Deleted one by one, each segment goes with its last message.
        let mut changes: Vec<Change> =
            both.map.keys().map(|seq| Change::Delete { first: *seq, last: *seq }).collect();
        both.rng.shuffle(&mut changes);
        let half = changes.split_off(changes.len() / 2);
        both.commit(changes);
        both.commit(half);
        both.assert_no_rows();
    }
}

#[test]
fn a_damaged_segment_ends_a_store_that_reads_it_and_is_named_by_its_first_message() {
    let mut both = Both::new(None);
    both.act(&Act::Append { count: 10, bytes: 20, gap: 1, deleted: None });
    // Anybody may write it after the start has looked at it.
    let elsewhere = tempfile::tempdir().unwrap();
    drop(both.store.take());
    copy_files(both.dir.path(), elsewhere.path());
    let file = elsewhere.path().join(fieldpost::store::FILE_NAME);
    let connection = rusqlite::Connection::open(file).unwrap();
    // A cursor beyond it keeps the start from reading it.
    let spoilt = "UPDATE segment SET content = zeroblob(40); UPDATE session SET cursor = 999";
    connection.execute_batch(spoilt).unwrap();
    connection.close().unwrap();
    let (store, mut events, _) = open(elsewhere.path(), None);
    let (session, after, count_max, bytes_max) = (SessionId(1), Seq(0), 100, 100_000);
    store.send(StoreCommand::Fetch { session, after, count_max, bytes_max });
    let Some(StoreEvent::Damaged(error)) = events.blocking_recv() else { panic!("it went on") };
    let text = error.to_string();
    assert!(text.contains("message 1:") && text.contains("checksum"), "{text}");
    assert!(events.blocking_recv().is_none(), "the store has not ended");
    drop(store);
    let mark = fs::read_to_string(elsewhere.path().join("fieldpost.db.damage")).unwrap();
    assert_eq!(mark.trim(), text);
}

#[test]
fn a_damaged_segment_can_be_deleted() {
    let mut both = Both::new(None);
    both.act(&Act::Append { count: 10, bytes: 20, gap: 5, deleted: None });
    let file = both.dir.path().join(fieldpost::store::FILE_NAME);
    drop(both.store.take());
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .execute_batch("UPDATE segment SET content = x'00'; UPDATE session SET cursor = 999")
        .unwrap();
    connection.close().unwrap();
    let (store, events, _) = open(both.dir.path(), None);
    (both.store, both.events) = (Some(store), events);
    both.commit(vec![Change::Delete { first: Seq(1), last: Seq(1) }]);
    both.commit(vec![Change::Delete { first: Seq(2), last: Seq(both.last) }]);
    both.assert_no_rows();
}
