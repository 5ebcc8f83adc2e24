//! The real database: what a reopening finds, after a close and after a kill; bounds; files that are not ours.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests touch the machine"
)]

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use fieldpost::model::{
    Body, Message, MessageProperties, QoS, Seq, Timestamp, TopicFilter, TopicName,
};
use fieldpost::store::{
    Change, FILE_NAME, Phase, SessionId, SessionOwner, Snapshot, Staging, Store, StoreCommand,
    StoreError, StoreEvent, StoredMessage, StoredWill, Target, Trimmed,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

#[allow(dead_code, unreachable_pub, missing_docs, reason = "the simulation uses all of it")]
#[path = "sim/state.rs"]
mod state;

use state::State;

const NOW: u64 = 1_795_230_600_000;

/// A store whose thread is asked and waited for.
struct Open {
    store: Store,
    events: UnboundedReceiver<StoreEvent>,
    batch: u64,
}

fn open(dir: &Path) -> Result<(Open, Snapshot), StoreError> {
    open_staging(dir, None)
}

fn open_staging(dir: &Path, staging: Option<Staging>) -> Result<(Open, Snapshot), StoreError> {
    let (sender, events) = unbounded_channel();
    let (store, snapshot) = Store::open(dir, staging, sender)?;
    Ok((Open { store, events, batch: 0 }, snapshot))
}

/// A runtime directory beside the database; commits wait for `commit_every`.
fn staging(dir: &Path, commit_every: Duration) -> Option<Staging> {
    Some(Staging { runtime_dir: dir.join("run"), commit_every })
}

impl Open {
    fn commit(&mut self, changes: Vec<Change>) -> u64 {
        self.commit_to(changes, false)
    }

    fn commit_to(&mut self, changes: Vec<Change>, sync: bool) -> u64 {
        self.batch += 1;
        // Where it is made and in the thread, in turns: nobody may see a difference.
        let command = StoreCommand::Commit { batch: self.batch, changes, sync };
        let answer = if self.batch % 2 == 1 {
            self.store.ask(command)
        } else {
            self.store.send(command);
            None
        };
        match answer.or_else(|| self.events.blocking_recv()) {
            Some(StoreEvent::Committed(committed)) => {
                assert_eq!(committed.batch, self.batch);
                committed.bytes_used
            }
            other => panic!("{other:?}"),
        }
    }

    fn fetch(
        &mut self,
        session: SessionId,
        after: Seq,
        count_max: usize,
    ) -> (Vec<Seq>, Option<Seq>) {
        let bytes_max = 1 << 20;
        self.store.send(StoreCommand::Fetch { session, after, count_max, bytes_max });
        match self.events.blocking_recv() {
            Some(StoreEvent::Fetched { messages, examined, .. }) => {
                (messages.into_iter().map(|stored| stored.seq).collect(), examined)
            }
            other => panic!("{other:?}"),
        }
    }

    fn fetch_all(&mut self, session: SessionId) -> Vec<StoredMessage> {
        let (after, count_max, bytes_max) = (Seq(0), usize::MAX, usize::MAX);
        self.store.send(StoreCommand::Fetch { session, after, count_max, bytes_max });
        match self.events.blocking_recv() {
            Some(StoreEvent::Fetched { messages, .. }) => messages,
            other => panic!("{other:?}"),
        }
    }

    fn trim(&mut self, keep: &[u64], target: Option<u64>, older_than: Option<u64>) -> Trimmed {
        let keep: BTreeSet<Seq> = keep.iter().map(|seq| Seq(*seq)).collect();
        let older_than = older_than.map(Timestamp::from_unix_ms);
        self.store.send(StoreCommand::Trim { keep, bytes_target: target, thin: false, older_than });
        match self.events.blocking_recv() {
            Some(StoreEvent::Trimmed(trimmed)) => trimmed,
            other => panic!("{other:?}"),
        }
    }

    fn thin(&mut self, keep: &[u64], target: u64) -> Trimmed {
        let keep: BTreeSet<Seq> = keep.iter().map(|seq| Seq(*seq)).collect();
        let bytes_target = Some(target);
        self.store.send(StoreCommand::Trim { keep, bytes_target, thin: true, older_than: None });
        match self.events.blocking_recv() {
            Some(StoreEvent::Trimmed(trimmed)) => trimmed,
            other => panic!("{other:?}"),
        }
    }
}

fn reopen(open_store: Open, dir: &Path) -> (Open, Snapshot) {
    open_store.store.close();
    open(dir).expect("it opens again")
}

/// The directory as a kill would leave it at this instant.
fn killed(dir: &Path) -> tempfile::TempDir {
    let copy = power_cut(dir);
    let staged = dir.join("run/staged");
    if staged.exists() {
        fs::create_dir(copy.path().join("run")).expect("a directory");
        fs::copy(staged, copy.path().join("run/staged")).expect("a copy");
    }
    copy
}

/// The directory as a power cut would leave it: what is in the runtime directory is gone.
fn power_cut(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(dir).expect("the state directory") {
        let entry = entry.expect("an entry");
        // The room that is held for a full disk says nothing, and takes long to copy.
        if entry.path().is_file() && entry.file_name() != "fieldpost.reserve" {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
        }
    }
    copy
}

fn message(payload: &str) -> Message {
    Message {
        topic: TopicName::new("site/pump").unwrap(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: None,
        accepted: Timestamp::from_unix_ms(NOW),
        expires: None,
        body: Body::Foreign,
    }
}

fn session(id: u32, name: &str, cursor: u64) -> Change {
    let owner = SessionOwner::Client(name.into());
    Change::Session { session: SessionId(id), owner, cursor: Seq(cursor), expiry: 60 }
}

fn append(seq: u64, sessions: &[u32]) -> Change {
    append_message(seq, sessions, message(&seq.to_string()))
}

fn append_message(seq: u64, sessions: &[u32], message: Message) -> Change {
    let target = |id: &u32| Target {
        session: SessionId(*id),
        qos: QoS::ExactlyOnce,
        retain: false,
        shared: false,
    };
    let targets: Arc<[Target]> = sessions.iter().map(target).collect();
    Change::Append { seq: Seq(seq), message: message.into(), targets }
}

fn flight(id: u32, seq: u64, packet_id: u16, phase: Phase) -> Change {
    let packet_id = NonZeroU16::new(packet_id).unwrap();
    Change::Flight { session: SessionId(id), seq: Seq(seq), packet_id, phase }
}

fn settled(id: u32, first: u64, last: u64) -> Change {
    Change::Settled { session: SessionId(id), first: Seq(first), last: Seq(last) }
}

fn seqs(trimmed: &Trimmed) -> Vec<u64> {
    trimmed.dropped.iter().map(|(seq, _)| seq.0).collect()
}

#[test]
fn whatever_was_committed_is_found_again_as_the_simulation_has_it() {
    for seed in 0..12 {
        let mut rng = Rng::with_seed(seed);
        let dir = tempfile::tempdir().unwrap();
        let (mut store, empty) = open(dir.path()).unwrap();
        let mut model = State { store: empty.store, ..State::default() };
        assert_eq!(empty, model.snapshot());
        let mut last_seq = 0;
        for round in 0..6 {
            for _ in 0..rng.usize(1..6) {
                let changes = some_changes(&mut rng, &model, &mut last_seq);
                changes.iter().for_each(|change| model.apply(change, &mut Vec::new()));
                store.commit(changes);
                for id in model.sessions.keys() {
                    let (messages, examined) = model.fetch(*id, Seq(last_seq / 2), 3);
                    let expected: Vec<Seq> = messages.iter().map(|stored| stored.seq).collect();
                    assert_eq!(store.fetch(*id, Seq(last_seq / 2), 3), (expected, examined));
                }
            }
            let copy = killed(dir.path());
            let after_kill = open(copy.path()).unwrap().1;
            let (reopened, after_close) = reopen(store, dir.path());
            store = reopened;
            let expected = model.snapshot();
            assert_eq!(after_close, expected, "closed, seed {seed}, round {round}");
            assert_eq!(after_kill, expected, "killed, seed {seed}, round {round}");
        }
    }
}

#[test]
fn whatever_was_staged_is_found_again_after_a_close_and_a_kill() {
    for (seed, commit_every) in [0, 1, 3_600_000]
        .into_iter()
        .flat_map(|every| (20..28).map(move |seed| (seed, Duration::from_millis(every))))
    {
        let mut rng = Rng::with_seed(seed);
        let dir = tempfile::tempdir().unwrap();
        let (mut store, empty) =
            open_staging(dir.path(), staging(dir.path(), commit_every)).unwrap();
        let mut model = State { store: empty.store, ..State::default() };
        assert_eq!(empty, model.snapshot());
        let mut last_seq = 0;
        for round in 0..6 {
            for _ in 0..rng.usize(1..8) {
                let changes = some_changes(&mut rng, &model, &mut last_seq);
                changes.iter().for_each(|change| model.apply(change, &mut Vec::new()));
                store.commit_to(changes, rng.u8(..5) == 0);
                for id in model.sessions.keys() {
                    let after = Seq(last_seq / 2);
                    let (messages, _) = model.fetch(*id, after, usize::MAX);
                    let expected: Vec<Seq> = messages.iter().map(|stored| stored.seq).collect();
                    assert_eq!(store.fetch(*id, after, 1 << 20).0, expected, "seed {seed}");
                    assert_eq!(all_in_steps(&mut store, *id, after), expected, "seed {seed}");
                }
            }
            let copy = killed(dir.path());
            let staged = staging(copy.path(), commit_every);
            let after_kill = open_staging(copy.path(), staged).unwrap().1;
            store.store.close();
            let staged = staging(dir.path(), commit_every);
            let (reopened, after_close) = open_staging(dir.path(), staged).unwrap();
            store = reopened;
            let expected = model.snapshot();
            assert_eq!(after_close, expected, "closed, seed {seed}, round {round}");
            assert_eq!(after_kill, expected, "killed, seed {seed}, round {round}");
        }
    }
}

/// Everything after `after`, a few rows at a time.
fn all_in_steps(store: &mut Open, session: SessionId, mut after: Seq) -> Vec<Seq> {
    let mut all = Vec::new();
    loop {
        let (some, examined) = store.fetch(session, after, 2);
        all.extend(some);
        match examined {
            Some(examined) => after = examined,
            None => return all,
        }
    }
}

#[test]
fn what_was_settled_before_its_time_never_reaches_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let staged = staging(dir.path(), Duration::from_secs(3600));
    let (mut store, _) = open_staging(dir.path(), staged).unwrap();
    store.commit_to(vec![session(1, "a", 0)], true);
    let wal = dir.path().join("fieldpost.db-wal");
    let before = fs::metadata(&wal).map(|file| file.len()).unwrap();
    for seq in 1..2000 {
        let cursor = Change::Cursor { session: SessionId(1), cursor: Seq(seq) };
        store.commit(vec![append(seq, &[1]), flight(1, seq, 7, Phase::Assigned)]);
        store.commit(vec![Change::Delete { first: Seq(seq), last: Seq(seq) }, cursor]);
    }
    assert_eq!(fs::metadata(&wal).map(|file| file.len()).unwrap(), before);
    assert!(fs::metadata(dir.path().join("run/staged")).unwrap().len() < 5 << 20);
    let copy = killed(dir.path());
    let staged = staging(copy.path(), Duration::from_secs(3600));
    let snapshot = open_staging(copy.path(), staged).unwrap().1;
    assert_eq!(snapshot.sessions[0].cursor, Seq(1999));
    assert_eq!((snapshot.sessions[0].queued, snapshot.staged_lost), (0, false));
}

#[test]
fn a_power_cut_costs_what_was_staged_and_says_so_and_nothing_that_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let (mut store, first) = open_staging(dir.path(), staging(dir.path(), hour)).unwrap();
    assert!(!first.staged_lost);
    store.commit_to(vec![session(1, "a", 0), append(1, &[1])], true);
    store.commit(vec![append(2, &[1])]);
    let copy = power_cut(dir.path());
    let (lost, snapshot) = open_staging(copy.path(), staging(copy.path(), hour)).unwrap();
    assert!(snapshot.staged_lost);
    assert_eq!(snapshot.sessions[0].queued, 1);
    lost.store.close();
    let again = open_staging(copy.path(), staging(copy.path(), hour)).unwrap().1;
    assert!(!again.staged_lost, "a clean stop leaves nothing to lose");
    // A file of the runtime directory that belongs to another store is not taken.
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("run")).unwrap();
    fs::copy(dir.path().join("run/staged"), other.path().join("run/staged")).unwrap();
    let foreign = open_staging(other.path(), staging(other.path(), hour)).unwrap().1;
    assert!(foreign.sessions.is_empty());
}

#[test]
fn what_is_deleted_in_the_batch_that_ends_a_session_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let staged = staging(dir.path(), Duration::from_secs(3600));
    let (mut store, _) = open_staging(dir.path(), staged).unwrap();
    store.commit_to(vec![session(1, "a", 0), session(2, "b", 0)], true);
    store.commit(vec![append(1, &[1])]);
    let cursor = Change::Cursor { session: SessionId(1), cursor: Seq(1) };
    let end = Change::EndSession { session: SessionId(2) };
    store.commit(vec![cursor, end, Change::Delete { first: Seq(1), last: Seq(1) }]);
    assert_eq!(store.fetch(SessionId(1), Seq(0), 10).0, [Seq(0); 0]);
}

#[test]
fn that_packet_ids_may_be_open_after_a_power_cut_is_known_until_they_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let (mut store, _) = open_staging(dir.path(), staging(dir.path(), hour)).unwrap();
    let id = |number| NonZeroU16::new(number).unwrap();
    let reserve = Change::Reserve { session: SessionId(1), first: id(1), last: id(9) };
    store.commit_to(vec![session(1, "a", 0), session(2, "b", 0), reserve], true);
    let copy = power_cut(dir.path());
    let reopen = || open_staging(copy.path(), staging(copy.path(), hour)).unwrap();
    let lost = |snapshot: &Snapshot| -> Vec<bool> {
        snapshot.sessions.iter().map(|session| session.ids_lost).collect()
    };
    let (store, snapshot) = reopen();
    assert_eq!(lost(&snapshot), [true, false]);
    store.store.close();
    let (mut store, snapshot) = reopen();
    assert_eq!((snapshot.staged_lost, lost(&snapshot)), (false, vec![true, false]));
    store.commit(vec![Change::IdsClosed { session: SessionId(1) }]);
    store.store.close();
    assert_eq!(lost(&reopen().1), [false, false]);
}

#[test]
fn a_staged_file_that_turns_up_after_a_start_without_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let (mut store, _) = open_staging(dir.path(), staging(dir.path(), hour)).unwrap();
    store.commit_to(vec![session(1, "a", 0)], true);
    store.commit(vec![append(1, &[1])]);
    let copy = killed(dir.path());
    // Somebody starts it by hand, without the service's runtime directory.
    let (mut by_hand, snapshot) = open(copy.path()).unwrap();
    assert!(snapshot.staged_lost);
    by_hand.commit(vec![append(1, &[1]), append(2, &[1])]);
    by_hand.store.close();
    let again = open_staging(copy.path(), staging(copy.path(), hour)).unwrap().1;
    assert_eq!((again.sessions[0].queued, again.staged_lost), (2, false));
}

#[test]
fn more_than_memory_should_hold_is_committed_before_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let (mut store, _) = open_staging(dir.path(), staging(dir.path(), hour)).unwrap();
    store.commit_to(vec![session(1, "a", 0)], true);
    let large = "x".repeat(1 << 20);
    for seq in 1..=20 {
        store.commit(vec![append_message(seq, &[1], message(&large))]);
    }
    let after_power_cut = open(power_cut(dir.path()).path()).unwrap().1;
    assert!(after_power_cut.sessions[0].queued >= 16, "{}", after_power_cut.sessions[0].queued);
    assert!(fs::metadata(dir.path().join("run/staged")).unwrap().len() < 16 << 20);
}

#[test]
fn what_nobody_acknowledged_is_committed_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let soon = Duration::from_millis(20);
    let (mut store, _) = open_staging(dir.path(), staging(dir.path(), soon)).unwrap();
    store.commit(vec![session(1, "a", 0), append(1, &[1])]);
    let begin = std::time::Instant::now();
    loop {
        let copy = power_cut(dir.path());
        let snapshot = open(copy.path()).unwrap().1;
        if snapshot.sessions.first().is_some_and(|session| session.queued == 1) {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "it is never committed");
        // Another command must not put the commit off.
        store.commit(vec![]);
    }
}

#[test]
fn a_small_batch_is_staged_where_it_is_made_and_committed_after_its_time_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let soon = Duration::from_millis(20);
    let (mut store, _) = open_staging(dir.path(), staging(dir.path(), soon)).unwrap();
    let changes = vec![session(1, "a", 0), append(1, &[1])];
    let at_once = store.store.ask(StoreCommand::Commit { batch: 1, changes, sync: false });
    assert!(matches!(at_once, Some(StoreEvent::Committed(_))), "{at_once:?}");
    let copy = killed(dir.path());
    let after_kill = open_staging(copy.path(), staging(copy.path(), soon)).unwrap().1;
    assert_eq!(after_kill.sessions[0].queued, 1);
    let is_there = || {
        let copy = power_cut(dir.path());
        let snapshot = open(copy.path()).unwrap().1;
        snapshot.sessions.first().is_some_and(|session| session.queued == 1)
    };
    let begin = std::time::Instant::now();
    while !is_there() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is never committed");
    }
    for (changes, sync) in [
        (vec![append(2, &[1])], true),
        ((3..900).map(|seq| append(seq, &[1])).collect(), false),
        (vec![append_message(900, &[1], message(&"x".repeat(200_000)))], false),
    ] {
        store.batch += 1;
        let command = StoreCommand::Commit { batch: store.batch, changes, sync };
        assert!(store.store.ask(command).is_none(), "{}", store.batch);
        assert!(matches!(store.events.blocking_recv(), Some(StoreEvent::Committed(_))));
    }
}

/// A batch the engine might make: appends, phases, cursors, ends.
fn some_changes(rng: &mut Rng, before: &State, last_seq: &mut u64) -> Vec<Change> {
    let mut model = before.clone();
    let mut changes = Vec::new();
    for _ in 0..rng.usize(1..12) {
        let sessions: Vec<u32> = model.sessions.keys().map(|id| id.0).collect();
        let kind = rng.u32(..12);
        if sessions.is_empty() || (kind == 0 && sessions.len() < 4) {
            let id = model.last_session + 1;
            push(&mut model, &mut changes, session(id, &format!("c{id}"), *last_seq));
            continue;
        }
        let id = SessionId(*rng.choice(&sessions).unwrap());
        let seq = Seq(rng.u64(1..*last_seq + 2));
        let known = model.messages.contains_key(&seq);
        let packet_id = NonZeroU16::new(rng.u16(1..9)).unwrap();
        let cursor = model.sessions[&id].cursor;
        let change = match kind {
            0..5 => {
                *last_seq += 1;
                let few: Vec<u32> = sessions.iter().filter(|_| rng.bool()).copied().collect();
                let targets = if few.is_empty() { &sessions } else { &few };
                append_message(*last_seq, targets, decorated(rng))
            }
            5 if known && seq > cursor => flight(id.0, seq.0, packet_id.get(), Phase::Assigned),
            6 if known && seq > cursor => {
                settled(id.0, seq.0, (seq.0 + rng.u64(..4)).min(*last_seq))
            }
            7 if seq > cursor && seq.0 <= *last_seq => {
                // A cursor takes runs as a whole.
                let runs = model.settled.range((id, Seq(0))..=(id, seq));
                let cursor = runs.map(|(_, last)| *last).fold(seq, Seq::max);
                Change::Cursor { session: id, cursor }
            }
            8 => Change::Inbox { session: id, packet_id, present: rng.bool() },
            9 => Change::Subscription {
                session: id,
                filter: TopicFilter::new(&format!("f/{}", rng.u8(..4))).unwrap(),
                options: rng.bool().then_some((rng.u8(..16), rng.bool().then_some(7))),
            },
            10 => {
                let topic = TopicName::new(&format!("r/{}", rng.u8(..4))).unwrap();
                let message = Message { topic: topic.clone(), ..decorated(rng) };
                Change::Retain { topic, message: rng.bool().then_some(message) }
            }
            11 if rng.u8(..4) == 0 => Change::EndSession { session: id },
            11 if rng.bool() => Change::Will {
                session: id,
                will: rng.bool().then(|| StoredWill {
                    message: Message {
                        accepted: Timestamp::default(),
                        expires: None,
                        ..decorated(rng)
                    },
                    delay: rng.u32(..),
                    lifetime: rng.bool().then_some(rng.u32(..)),
                }),
            },
            _ => Change::Away {
                session: id,
                since: rng.bool().then_some(Timestamp::from_unix_ms(NOW + 5)),
            },
        };
        push(&mut model, &mut changes, change);
    }
    changes
}

fn push(model: &mut State, changes: &mut Vec<Change>, change: Change) {
    model.apply(&change, &mut Vec::new());
    changes.push(change);
}

fn decorated(rng: &mut Rng) -> Message {
    let properties = MessageProperties {
        payload_is_utf8: rng.bool().then_some(true),
        content_type: rng.bool().then(|| "text/plain".into()),
        response_topic: rng.bool().then(|| TopicName::new("answers").unwrap()),
        correlation_data: rng.bool().then(|| Bytes::from_static(&[0, 255])),
        user_properties: vec![("k".into(), "v".into())],
    };
    Message {
        qos: QoS::try_from(rng.u8(..3)).unwrap(),
        retain: rng.bool(),
        properties: rng.bool().then(|| Arc::new(properties)),
        expires: rng.bool().then(|| Timestamp::from_unix_ms(NOW + 9)),
        body: Body::Foreign,
        ..message(&rng.u32(..).to_string())
    }
}

#[test]
fn every_start_has_a_number_of_its_own_also_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (store, first) = open(dir.path()).unwrap();
    let (copy, _first_store) = (killed(dir.path()), store);
    let (store, second) = open(copy.path()).unwrap();
    let (_, third) = reopen(store, copy.path());
    assert_eq!((first.start, second.start, third.start), (1, 2, 3));
}

#[test]
fn a_place_that_only_a_settled_run_remembers_is_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    store.commit(vec![session(1, "a", 0), append(1, &[1]), append(2, &[1]), append(3, &[1])]);
    let gone = Change::Delete { first: Seq(2), last: Seq(3) };
    store.commit(vec![settled(1, 2, 3), gone]);
    assert_eq!(reopen(store, dir.path()).1.last_seq, Seq(3));
}

#[test]
fn the_end_of_a_session_deletes_what_nobody_else_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut changes = vec![session(1, "a", 0), session(2, "b", 0)];
    changes.extend([append(1, &[1, 2]), append(2, &[1]), append(3, &[1, 2]), append(4, &[1, 2])]);
    changes.extend([append(5, &[2]), settled(2, 4, 4)]);
    changes.push(Change::Cursor { session: SessionId(2), cursor: Seq(1) });
    changes.push(Change::EndSession { session: SessionId(1) });
    store.commit(changes);
    assert_eq!(store.fetch(SessionId(2), Seq(0), 10).0, [Seq(3), Seq(5)]);
    // The number is not given again.
    assert_eq!(reopen(store, dir.path()).1.last_session, 2);
}

#[test]
fn a_bound_in_bytes_drops_the_oldest_and_keeps_what_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut changes = vec![session(1, "a", 0)];
    let mut rng = Rng::with_seed(5);
    let mut noise = || (0..2000).map(|_| rng.alphanumeric()).collect::<String>();
    changes.extend((1..=500).map(|seq| append_message(seq, &[1], message(&noise()))));
    let before = store.commit(changes);
    let trimmed = store.trim(&[1, 2, 70], Some(before / 2), None);
    assert!(trimmed.bytes_used <= before / 2, "{} of {before}", trimmed.bytes_used);
    let dropped = seqs(&trimmed);
    let last = *dropped.last().expect("something went");
    let expected: Vec<u64> = (1..=last).filter(|seq| ![1, 2, 70].contains(seq)).collect();
    assert_eq!(dropped, expected);
    assert!(last < 400, "much more than needed went: up to {last}");
    assert_eq!(store.fetch(SessionId(1), Seq(0), 2).0, [Seq(1), Seq(2)]);
    assert_eq!(seqs(&store.trim(&[], Some(before), None)), [0; 0]);
}

#[test]
fn a_queue_that_is_thinned_keeps_its_whole_time_at_greater_distances() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut rng = Rng::with_seed(3);
    let mut reading = |seq: u64| {
        let payload: Vec<u8> = (0..400).map(|_| rng.u8(..)).collect();
        let topic =
            TopicName::new(if seq.is_multiple_of(3) { "gw/a/b" } else { "gw/a/c" }).unwrap();
        // One of a hundred is somebody else's.
        let body = match seq % 100 {
            0 => Body::Foreign,
            _ => Body::Reading { unsynced_at: None },
        };
        append_message(seq, &[1], Message { topic, payload: payload.into(), body, ..message("") })
    };
    store.commit(vec![session(1, "a", 0)]);
    let mut full = 0;
    for first in (1..=2000).step_by(100) {
        full = store.commit((first..first + 100).map(&mut reading).collect());
    }
    let half = store.thin(&[1001, 1002], full / 2 + full / 20);
    assert!(half.bytes_used <= full / 2 + full / 20 && half.dropped.is_empty(), "{half:?}");
    let left: Vec<u64> = store.fetch(SessionId(1), Seq(0), 5000).0.iter().map(|s| s.0).collect();
    assert_eq!(left.len() + half.thinned.len(), 2000);
    assert!(half.thinned.len() > 800, "{} went", half.thinned.len());
    assert!([1001, 1002].iter().all(|seq| left.contains(seq)), "they are on the wire");
    assert!((100..=2000).step_by(100).all(|seq| left.contains(&seq)), "they are no readings");
    let distance = left.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(distance <= 8 && left[0] <= 3 && left.last() > Some(&1990), "a gap of {distance}");
    // The next pass begins at the oldest again.
    let quarter = store.thin(&[], full / 4 + full / 20);
    assert!(quarter.bytes_used <= full / 4 + full / 20 && quarter.dropped.is_empty());
    assert!(quarter.thinned[0].0 < Seq(20) || half.thinned.last().unwrap().0 < Seq(1990));
    // What is not to be thinned any more goes as the oldest.
    let little = store.thin(&[], 0);
    assert_eq!(little.dropped.len(), 22, "others' messages, and the oldest reading of each topic");
}

#[test]
fn a_bound_in_age_drops_what_is_older_and_nothing_from_before_the_clock_was_set() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let at = |seq: u64, ms| {
        let accepted = Timestamp::from_unix_ms(ms);
        append_message(seq, &[1], Message { accepted, ..message("") })
    };
    store.commit(vec![session(1, "a", 0), at(1, 5000), at(2, NOW), at(3, NOW + 10), at(4, NOW)]);
    let trimmed = store.trim(&[4], None, Some(NOW + 5));
    assert_eq!(seqs(&trimmed), [2]);
    assert_eq!(trimmed.dropped[0].1[0].session, SessionId(1));
}

#[test]
fn a_second_store_in_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, _) = open(dir.path()).unwrap();
    let Err(refused) = open(dir.path()) else { panic!("two stores on one file") };
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains("second fieldpost"), "{refused}");
    first.commit(vec![session(1, "a", 0)]);
    assert_eq!(reopen(first, dir.path()).1.sessions.len(), 1);
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    let garbage = tempfile::tempdir().unwrap();
    fs::write(garbage.path().join(FILE_NAME), "not a database at all, ".repeat(100)).unwrap();
    let newer =
        include_str!("data/schema/v1.sql").replace("user_version = 1", "user_version = 999");
    for (dir, says) in [
        (garbage, "was not written by fieldpost"),
        (dumped("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)"), "was not written by"),
        (dumped(&newer), "has schema 999"),
    ] {
        let file = dir.path().join(FILE_NAME);
        let before = fs::read(&file).unwrap();
        let Err(refused) = open(dir.path()) else { panic!("it was taken: {says}") };
        let text = refused.to_string();
        assert!(text.contains(says) && text.contains(FILE_NAME), "{text}");
        assert!(fs::read(&file).unwrap() == before, "the file has changed: {says}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "files were left: {says}");
    }
}

/// A directory with the database that a dump tells.
fn dumped(sql: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    connection.execute_batch(sql).unwrap();
    connection.close().unwrap();
    dir
}

#[test]
fn a_database_of_schema_1_is_opened_with_all_that_is_in_it() {
    let dir = dumped(include_str!("data/schema/v1.sql"));
    let (_, found) = open(dir.path()).unwrap();
    assert_eq!((found.start, found.last_seq, found.last_session), (8, Seq(14), 9));
    let [cloud, panel] = &found.sessions[..] else { panic!("{:?}", found.sessions) };
    assert_eq!(cloud.owner, SessionOwner::Uplink("cloud".into()));
    assert_eq!((cloud.cursor, cloud.queued, cloud.expiry), (Seq(10), 3, u32::MAX));
    let phases: Vec<_> = cloud.flights.iter().map(|f| (f.seq.0, f.packet_id, f.phase)).collect();
    let id = |id| NonZeroU16::new(id).unwrap();
    assert_eq!(phases, [(11, id(3), Phase::Released), (14, id(4), Phase::Assigned)]);
    assert_eq!(cloud.settled, [(Seq(13), Seq(13))]);
    let three = cloud.flights[1].stored.as_ref().expect("its row is there");
    let properties = three.message.properties.as_ref().expect("it has some");
    assert_eq!(properties.content_type.as_deref(), Some("x"));
    assert_eq!(properties.user_properties, [("a".into(), "b".into())]);
    assert_eq!(panel.subscriptions, [(TopicFilter::new("site/#").unwrap(), 10, Some(5))]);
    assert_eq!((panel.inbox.as_slice(), panel.queued), (&[id(77)][..], 1));
    assert_eq!(found.retained[0].topic.as_str(), "site/status");
}

#[test]
fn a_database_of_schema_2_is_opened_with_all_that_is_in_it() {
    let dir = dumped(include_str!("data/schema/v2.sql"));
    let (mut store, found) = open(dir.path()).unwrap();
    assert_eq!((found.start, found.last_seq, found.last_session), (2, Seq(11), 3));
    let [cloud, panel] = &found.sessions[..] else { panic!("{:?}", found.sessions) };
    let id = |id| NonZeroU16::new(id).unwrap();
    assert_eq!((cloud.cursor, cloud.queued), (Seq(3), 7));
    assert_eq!(cloud.reserved, Some((id(1), id(4096))));
    let flights: Vec<_> = cloud.flights.iter().map(|f| (f.seq.0, f.packet_id, f.phase)).collect();
    assert_eq!(cloud.settled, [(Seq(6), Seq(6))]);
    assert_eq!(flights, [(4, id(4), Phase::Released), (9, id(9), Phase::Assigned)]);
    let stored: Vec<_> = cloud.flights.iter().map(|f| f.stored.is_some()).collect();
    assert_eq!(stored, [true, true]);
    assert_eq!((panel.owner.clone(), panel.queued), (SessionOwner::Client("panel".into()), 1));
    assert_eq!(panel.inbox, [id(77)]);
    assert_eq!(panel.away_since, Some(Timestamp::from_unix_ms(NOW)));
    let retained = &found.retained[0];
    assert_eq!((retained.topic.as_str(), &retained.payload[..]), ("site/status", &b"online"[..]));

    let messages = store.fetch_all(SessionId(1));
    let told: Vec<_> = messages
        .iter()
        .map(|m| (m.seq.0, m.message.topic.as_str(), m.message.accepted.unix_ms()))
        .collect();
    assert_eq!(
        told,
        [
            (4, "site/1", NOW + 4),
            (5, "site/2", NOW + 5),
            (7, "site/1", NOW + 7),
            (8, "site/2", NOW + 8),
            (9, "site/é", NOW + 9),
            (10, "site/early", 5000),
            (11, "site/empty", NOW + 11)
        ]
    );
    let payloads: Vec<&[u8]> = messages.iter().map(|m| &m.message.payload[..]).collect();
    let early = &b"before the clock was set"[..];
    let readings = [&b"reading 4"[..], b"reading 5", b"reading 7", b"reading 8"];
    assert_eq!(payloads, [&readings[..], &[b"nine", early, b""]].concat());
    let nine = &messages[4];
    assert_eq!((nine.message.qos, nine.message.retain), (QoS::ExactlyOnce, true));
    assert_eq!(nine.message.expires, Some(Timestamp::from_unix_ms(NOW + 100_000)));
    let properties = MessageProperties {
        payload_is_utf8: Some(true),
        content_type: Some("text/plain".into()),
        response_topic: Some(TopicName::new("answers").unwrap()),
        correlation_data: Some(Bytes::from_static(&[0, 255])),
        user_properties: vec![("a".into(), "b".into())],
    };
    assert_eq!(nine.message.properties.as_deref(), Some(&properties));
    let target =
        |session, qos, retain| Target { session: SessionId(session), qos, retain, shared: false };
    assert_eq!(
        &nine.targets[..],
        [target(1, QoS::ExactlyOnce, false), target(3, QoS::AtLeastOnce, true)]
    );
    assert_eq!(messages[5].message.qos, QoS::AtMostOnce);
    let (_, again) = reopen(store, dir.path());
    assert_eq!(again, Snapshot { start: 3, ..found });
}

#[test]
fn a_database_of_schema_5_is_opened_with_all_that_is_in_it() {
    let dir = dumped(include_str!("data/schema/v5.sql"));
    let (mut store, found) = open(dir.path()).unwrap();
    assert_eq!((found.start, found.last_seq, found.last_session), (2, Seq(3), 2));
    let [cloud, panel] = &found.sessions[..] else { panic!("{:?}", found.sessions) };
    let id = |id| NonZeroU16::new(id).unwrap();
    assert_eq!(cloud.owner, SessionOwner::Uplink("cloud".into()));
    assert_eq!((cloud.reserved, cloud.ids_lost, cloud.queued), (Some((id(1), id(8193))), false, 1));
    assert_eq!(cloud.settled, [(Seq(3), Seq(3))]);
    assert_eq!(cloud.flights[0].phase, Phase::AssignedLate);
    assert_eq!((panel.expiry, panel.queued, &panel.inbox[..]), (u32::MAX, 3, &[id(77)][..]));
    assert_eq!(panel.subscriptions, [(TopicFilter::new("site/#").unwrap(), 10, Some(5))]);
    assert_eq!(found.retained.len(), 1);
    assert_eq!(found.wills, []);
    let targets: Vec<_> = store.fetch_all(SessionId(2)).into_iter().map(|m| m.targets).collect();
    assert!(targets.iter().flat_map(|targets| targets.iter()).all(|target| !target.shared));
    let message = Message { accepted: Timestamp::default(), ..found.retained[0].clone() };
    let will = StoredWill { message, delay: 5, lifetime: None };
    store.commit(vec![Change::Will { session: SessionId(9), will: Some(will.clone()) }]);
    let (_, again) = reopen(store, dir.path());
    assert_eq!(again, Snapshot { start: 3, wills: vec![(SessionId(9), will)], ..found });
}

#[test]
fn a_will_that_is_taken_back_before_its_commit_never_reaches_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let staged = || staging(dir.path(), Duration::from_secs(3600));
    let (mut store, _) = open_staging(dir.path(), staged()).unwrap();
    store.commit_to(vec![session(1, "a", 0)], true);
    let wal = dir.path().join("fieldpost.db-wal");
    let before = fs::metadata(&wal).map(|file| file.len()).unwrap();
    let message = Message { accepted: Timestamp::default(), ..message("gone") };
    let will = StoredWill { message, delay: 5, lifetime: Some(7) };
    let told = |will: Option<&StoredWill>| {
        vec![Change::Will { session: SessionId(1), will: will.cloned() }]
    };
    let after_kill = |dir: &Path| {
        let copy = killed(dir);
        let staged = staging(copy.path(), Duration::from_secs(3600));
        open_staging(copy.path(), staged).unwrap().1.wills
    };
    store.commit(told(Some(&will)));
    assert_eq!(after_kill(dir.path()), [(SessionId(1), will.clone())]);
    store.commit(told(None));
    assert_eq!(after_kill(dir.path()), []);
    assert_eq!(fs::metadata(&wal).map(|file| file.len()).unwrap(), before);
    store.commit_to(told(Some(&will)), true);
    store.commit(told(None));
    store.store.close();
    assert_eq!(open_staging(dir.path(), staged()).unwrap().1.wills, []);
}

#[test]
fn a_long_queue_of_schema_2_is_carried_over_whole_and_in_order() {
    let dir = dumped(include_str!("data/schema/v2.sql"));
    let connection = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    let rows = "WITH RECURSIVE n(i) AS (SELECT 12 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
                INSERT INTO message SELECT i * 3, 1795230600000 + i, NULL, 2, 'site/x', \
                x'0100000002', NULL, CAST('reading ' || i AS BLOB) FROM n";
    connection.execute_batch(rows).unwrap();
    connection.close().unwrap();
    let before = fs::metadata(dir.path().join(FILE_NAME)).unwrap().len();
    let (mut store, found) = open(dir.path()).unwrap();
    assert_eq!(found.last_seq, Seq(60_000));
    assert_eq!(found.sessions[0].queued, 7 + 19_989);
    let messages = store.fetch_all(SessionId(1));
    let expected = (12..=20_000).map(|i: u64| (i * 3, format!("reading {i}").into_bytes()));
    let told = messages[7..].iter().map(|m| (m.seq.0, m.message.payload.to_vec()));
    assert!(told.eq(expected));
    store.store.close();
    let after = fs::metadata(dir.path().join(FILE_NAME)).unwrap().len();
    assert!(after <= before + 4096 * 16, "{after} bytes instead of {before}");
}
