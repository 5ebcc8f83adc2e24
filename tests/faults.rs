//! A disk that fails under the store: full, or broken at a write, a sync or a read, and healed again.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests touch the machine"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use fieldpost::model::{Message, QoS, Seq, Timestamp, TopicName};
use fieldpost::store::disk::{Disk, Fault, Image};
use fieldpost::store::{
    Change, DirectStore, SessionId, SessionOwner, Store, StoreCommand, StoreEvent, Target,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const SESSION: SessionId = SessionId(1);

fn begin() -> Change {
    let owner = SessionOwner::Uplink("upstream".into());
    Change::Session { session: SESSION, owner, cursor: Seq(0), expiry: u32::MAX }
}

fn append(seq: u64, len: usize) -> Change {
    // Nothing that compression could shorten: each append takes its pages.
    let mut rng = Rng::with_seed(seq);
    let message = Message {
        topic: TopicName::new("site/pump").unwrap(),
        payload: (0..len).map(|_| rng.u8(..)).collect::<Vec<u8>>().into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        accepted: Timestamp::from_unix_ms(1_795_230_600_000),
        expires: None,
        body: fieldpost::model::Body::Foreign,
    };
    let target = Target { session: SESSION, qos: QoS::AtLeastOnce, retain: false, shared: false };
    Change::Append { seq: Seq(seq), message: message.into(), targets: Arc::from([target]) }
}

fn fetch(after: u64) -> StoreCommand {
    let (count_max, bytes_max) = (100_000, usize::MAX);
    StoreCommand::Fetch { session: SESSION, after: Seq(after), count_max, bytes_max }
}

/// The store's thread on a disk that can fail.
struct Open {
    disk: Disk,
    store: Store,
    events: UnboundedReceiver<StoreEvent>,
}

impl Open {
    fn new() -> Self {
        let disk = Disk::new(Image::new());
        let (sender, events) = unbounded_channel();
        let (store, _) = Store::open_on(&disk, None, sender).expect("it opens");
        Self { disk, store, events }
    }

    fn send(&self, batch: u64, changes: Vec<Change>) {
        self.store.send(StoreCommand::Commit { batch, changes, sync: true });
    }

    fn hear(&mut self) -> StoreEvent {
        self.events.blocking_recv().expect("the store lives")
    }

    #[track_caller]
    fn hear_committed(&mut self, batch: u64) {
        match self.hear() {
            StoreEvent::Committed(committed) => assert_eq!(committed.batch, batch),
            other => panic!("{other:?}"),
        }
    }
}

/// Every disk that a cut may leave now has these messages, and is in order.
#[track_caller]
fn assert_safe(disk: &Disk, acknowledged: &BTreeSet<Seq>) {
    disk.forget_record();
    let platter = disk.before();
    for seed in 0..5 {
        let left = Disk::new(platter.after_cut(&mut Rng::with_seed(seed)));
        let (mut store, _) = DirectStore::open(&left, None).expect("it opens");
        assert_eq!(store.find_damage().expect("it reads"), None);
        let found = match store.execute(fetch(0), Instant::now()) {
            Ok(StoreEvent::Fetched { messages, .. }) => messages,
            other => panic!("{other:?}"),
        };
        let found: BTreeSet<Seq> = found.into_iter().map(|stored| stored.seq).collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "{lost:?} of {acknowledged:?} are gone with seed {seed}");
    }
}

/// A commit meets the fault, is kept, and goes through after healing; so does what came meanwhile.
fn commit_through(fault: Fault, words: &str) {
    let mut open = Open::new();
    open.send(1, vec![begin(), append(1, 100)]);
    open.hear_committed(1);
    open.disk.set_fault(fault);
    open.send(2, vec![append(2, 10_000)]);
    let told = match open.hear() {
        StoreEvent::Stuck(error) => error.to_string(),
        other => panic!("{other:?} with {fault:?}"),
    };
    assert!(told.contains("fieldpost.db: ") && told.contains(words), "{told} with {fault:?}");
    open.send(3, vec![append(3, 100)]);
    assert_safe(&open.disk, &[Seq(1)].into());
    open.disk.heal();
    assert!(matches!(open.hear(), StoreEvent::Unstuck { .. }));
    open.hear_committed(2);
    open.hear_committed(3);
    assert!(open.disk.struck() > 0);
    assert_safe(&open.disk, &[Seq(1), Seq(2), Seq(3)].into());
    open.store.close();
    assert_safe(&open.disk, &[Seq(1), Seq(2), Seq(3)].into());
}

#[test]
fn a_full_disk_is_said_and_what_waits_is_written_once_there_is_room() {
    let room = "; make room on that disk";
    for writes in [0, 1, 3] {
        commit_through(Fault::NoSpaceAfter { writes }, room);
    }
    commit_through(Fault::NoSpaceAbove { bytes: 0 }, room);
}

#[test]
fn a_write_that_fails_is_said_and_done_again() {
    for after in [0, 1, 3] {
        commit_through(Fault::Write { after }, "; is the file system mounted for writing");
    }
}

#[test]
fn a_sync_that_fails_and_drops_what_was_written_loses_nothing_acknowledged_later() {
    for forgets in [false, true] {
        commit_through(Fault::Sync { after: 0, forgets }, "; is the file system mounted");
    }
}

#[test]
fn a_read_that_fails_is_said_and_answered_when_it_is_asked_again() {
    let mut open = Open::new();
    // More than SQLite keeps in memory.
    let messages = (1..=400).map(|seq| append(seq, 8000));
    open.send(1, std::iter::once(begin()).chain(messages).collect());
    open.hear_committed(1);
    open.disk.set_fault(Fault::Read { after: 0 });
    open.store.send(fetch(0));
    match open.hear() {
        StoreEvent::ReadFailed(error) => assert!(error.to_string().contains("the disk in order?")),
        other => panic!("{other:?}"),
    }
    open.disk.heal();
    open.store.send(fetch(0));
    match open.hear() {
        StoreEvent::Fetched { messages, .. } => assert_eq!(messages.len(), 400),
        other => panic!("{other:?}"),
    }
}

#[test]
fn faults_at_any_point_of_log_and_checkpoint_lose_nothing_acknowledged() {
    for seed in 0..30 {
        let mut rng = Rng::with_seed(seed);
        let disk = Disk::new(Image::new());
        let (mut store, _) = DirectStore::open(&disk, None).expect("it opens");
        let now = Instant::now();
        let mut acknowledged = BTreeSet::new();
        // About seven megabytes: the log is written to the database once at least, and begun again.
        for batch in 1..=120 {
            if rng.u8(..6) == 0 {
                let after = rng.u64(..60);
                disk.set_fault(match rng.u8(..5) {
                    0 => Fault::NoSpaceAfter { writes: after },
                    1 => Fault::Write { after },
                    2 => Fault::Read { after },
                    3 => Fault::Sync { after: after % 4, forgets: true },
                    _ => Fault::Sync { after: after % 4, forgets: false },
                });
            }
            let mut changes = vec![append(batch, rng.usize(..120_000))];
            if batch == 1 {
                changes.insert(0, begin());
            }
            let commit = StoreCommand::Commit { batch, changes, sync: true };
            if store.execute(commit, now).is_err() {
                // Tried again before it is healed, as the thread does.
                let _ = store.handle_timeout();
                if rng.u8(..4) == 0 {
                    assert_safe(&disk, &acknowledged);
                }
                disk.heal();
                store.handle_timeout().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            }
            acknowledged.insert(Seq(batch));
        }
        disk.heal();
        assert_safe(&disk, &acknowledged);
        store.close().expect("it closes");
        assert_safe(&disk, &acknowledged);
    }
}
