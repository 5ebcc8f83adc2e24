//! A damaged queue: whatever can be read is kept, nothing comes twice, the damaged file is moved aside, and the log that
//! was torn is owned up to.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "tests touch the machine"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use fieldpost::model::{Body, Message, QoS, Seq, Timestamp, TopicFilter, TopicName};
use fieldpost::store::{
    Change, DropReason, FILE_NAME, Phase, SessionId, SessionOwner, Snapshot, Staging, Store,
    StoreCommand, StoreError, StoreEvent, StoredMessage, Target,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const NOW: u64 = 1_795_230_600_000;
const PAGE: usize = 4096;
const CLOUD: SessionId = SessionId(1);
const PANEL: SessionId = SessionId(2);
const LAST: u64 = 3000;

fn message(seq: u64, len: usize) -> Message {
    // Nothing that compression could shorten.
    let mut rng = Rng::with_seed(seq);
    Message {
        topic: TopicName::new(&format!("site/pump/{}", seq % 7)).unwrap(),
        payload: (0..len).map(|_| rng.u8(..)).collect::<Vec<u8>>().into(),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: None,
        accepted: Timestamp::from_unix_ms(NOW + seq),
        expires: None,
        body: Body::Foreign,
    }
}

fn append(seq: u64, sessions: &[SessionId]) -> Change {
    let target = |id: &SessionId| Target {
        session: *id,
        qos: QoS::ExactlyOnce,
        retain: false,
        shared: false,
    };
    let targets: Arc<[Target]> = sessions.iter().map(target).collect();
    // Some have a segment of many pages to themselves.
    let len = if seq.is_multiple_of(500) { 30_000 } else { 60 };
    Change::Append { seq: Seq(seq), message: message(seq, len).into(), targets }
}

fn id(id: u16) -> NonZeroU16 {
    NonZeroU16::new(id).unwrap()
}

struct Open {
    store: Store,
    events: UnboundedReceiver<StoreEvent>,
}

fn open(dir: &Path, staged: bool) -> (Open, Snapshot) {
    let (sender, events) = unbounded_channel();
    let (store, snapshot) =
        Store::open(dir, staging(dir, staged), sender).unwrap_or_else(|error| panic!("{error}"));
    (Open { store, events }, snapshot)
}

fn staging(dir: &Path, staged: bool) -> Option<Staging> {
    let commit_every = Duration::from_secs(3600);
    staged.then(|| Staging { runtime_dir: dir.join("run"), commit_every })
}

impl Open {
    fn commit(&mut self, changes: Vec<Change>, sync: bool) {
        self.store.send(StoreCommand::Commit { batch: 1, changes, sync });
        match self.events.blocking_recv() {
            Some(StoreEvent::Committed(_)) => {}
            other => panic!("{other:?}"),
        }
    }

    /// `None` if the store found itself damaged and ended.
    fn fetch(&mut self, session: SessionId) -> Option<Vec<StoredMessage>> {
        let (after, count_max, bytes_max) = (Seq(0), usize::MAX, usize::MAX);
        self.store.send(StoreCommand::Fetch { session, after, count_max, bytes_max });
        match self.events.blocking_recv() {
            Some(StoreEvent::Fetched { messages, .. }) => Some(messages),
            Some(StoreEvent::Damaged(_)) => None,
            other => panic!("{other:?}"),
        }
    }
}

/// Two sessions with subscriptions, flights, ids, retained messages, and a queue of some two hundred pages.
fn fill(dir: &Path, staged: bool) -> BTreeMap<Seq, StoredMessage> {
    let (mut store, _) = open(dir, staged);
    let cloud = SessionOwner::Uplink("cloud".into());
    let panel = SessionOwner::Client("panel".into());
    let begin = |session, owner, expiry| Change::Session { session, owner, cursor: Seq(0), expiry };
    store.commit(
        vec![
            begin(CLOUD, cloud, u32::MAX),
            begin(PANEL, panel, 60),
            Change::Subscription {
                session: PANEL,
                filter: TopicFilter::new("site/#").unwrap(),
                options: Some((10, Some(5))),
            },
            Change::Reserve { session: CLOUD, first: id(1), last: id(8192) },
            Change::Inbox { session: PANEL, packet_id: id(77), present: true },
        ],
        true,
    );
    for batch in 0..LAST / 100 {
        let mut changes: Vec<Change> = (batch * 100 + 1..=batch * 100 + 100)
            .map(|seq| append(seq, if seq % 3 == 0 { &[CLOUD, PANEL] } else { &[CLOUD] }))
            .collect();
        let topic = TopicName::new(&format!("site/state/{batch}")).unwrap();
        let kept = Message { topic: topic.clone(), retain: true, ..message(batch, 300) };
        changes.push(Change::Retain { topic, message: Some(kept) });
        store.commit(changes, true);
    }
    let flight = |seq, packet_id, phase| Change::Flight {
        session: CLOUD,
        seq: Seq(seq),
        packet_id: id(packet_id),
        phase,
    };
    store.commit(
        vec![
            Change::Cursor { session: CLOUD, cursor: Seq(10) },
            flight(11, 3, Phase::Released),
            flight(12, 4, Phase::Assigned),
            Change::Settled { session: CLOUD, first: Seq(20), last: Seq(25) },
            Change::Delete { first: Seq(20), last: Seq(20) },
        ],
        true,
    );
    let all = store.fetch(CLOUD).unwrap();
    store.store.close();
    // What is settled may be there or not, as long as nobody gets it again.
    all.into_iter().filter(|stored| !is_settled(stored.seq)).map(|s| (s.seq, s)).collect()
}

/// Whether [`fill`] has settled it for the first session.
fn is_settled(seq: Seq) -> bool {
    seq.0 <= 10 || (20..=25).contains(&seq.0)
}

/// The files of `dir` but the room that is held, in another directory.
fn copied(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for from in ["", "run"] {
        for entry in fs::read_dir(dir.join(from)).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.path().is_file() && entry.file_name() != "fieldpost.reserve" {
                fs::create_dir_all(copy.path().join(from)).unwrap();
                fs::copy(entry.path(), copy.path().join(from).join(entry.file_name())).unwrap();
            }
        }
    }
    copy
}

fn aside(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_aside = |path: &PathBuf| {
        let path = path.to_string_lossy();
        path.contains(".db.damaged-") && !path.ends_with("-wal")
    };
    let mut aside: Vec<PathBuf> = files.filter(is_aside).collect();
    aside.sort();
    aside
}

/// What the store gives, over the start after it found itself damaged.
#[track_caller]
fn drained(dir: &Path, staged: bool) -> (Snapshot, Vec<StoredMessage>) {
    for _ in 0..2 {
        let (mut store, snapshot) = open(dir, staged);
        let session = snapshot.sessions.iter().find(|session| session.id == CLOUD);
        let fetched = store.fetch(CLOUD).zip(store.fetch(PANEL));
        if let Some((messages, _)) = fetched {
            store.store.close();
            let messages = if session.is_some() { messages } else { Vec::new() };
            return (snapshot, messages);
        }
    }
    panic!("damaged again after it was salvaged");
}

/// Nothing is there that was not, nothing twice and nothing out of order; gives what is missing.
#[track_caller]
fn missing(all: &BTreeMap<Seq, StoredMessage>, found: &[StoredMessage], of: &str) -> BTreeSet<Seq> {
    let mut last = Seq(0);
    for stored in found.iter().filter(|stored| !is_settled(stored.seq)) {
        assert!(stored.seq > last, "{of}: {:?} after {last:?}", stored.seq);
        last = stored.seq;
        assert!(all.get(&stored.seq) == Some(stored), "{of}: {:?} is another", stored.seq);
    }
    let found: BTreeSet<Seq> = found.iter().map(|stored| stored.seq).collect();
    all.keys().filter(|seq| !found.contains(seq)).copied().collect()
}

/// What each page of a healthy file is for: the table, the kind of page, the cells on it.
fn pages(file: &Path) -> Vec<(usize, String, String, u64)> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut statement =
        connection.prepare("SELECT pageno, name, pagetype, ncell FROM dbstat").unwrap();
    statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[test]
fn of_any_damaged_page_only_what_stood_on_it_is_lost_and_nothing_comes_twice() {
    let dir = tempfile::tempdir().unwrap();
    let all = fill(dir.path(), false);
    let file = dir.path().join(FILE_NAME);
    let pages = pages(&file);
    assert!(pages.len() > 100, "{}", pages.len());
    let mut rng = Rng::with_seed(1);
    for (number, table, kind, cells) in &pages {
        let of = format!("page {number} ({kind} of {table}, {cells} cells)");
        let is_small = table != "segment";
        for with_zeros in [true, false] {
            // Each page of the small tables twice, every third of the queue itself.
            if !is_small && kind != "internal" && !rng.u8(..).is_multiple_of(3) {
                continue;
            }
            let copy = copied(dir.path());
            let file = copy.path().join(FILE_NAME);
            let mut bytes = fs::read(&file).unwrap();
            let page = &mut bytes[(number - 1) * PAGE..number * PAGE];
            page.iter_mut().for_each(|byte| *byte = if with_zeros { 0 } else { rng.u8(..) });
            if *number == 1 && !with_zeros {
                // Whose file that is nobody can tell.
                continue;
            }
            fs::write(&file, &bytes).unwrap();
            let (snapshot, found) = drained(copy.path(), false);
            let missing = missing(&all, &found, &of);
            let cloud = snapshot.sessions.iter().find(|session| session.id == CLOUD);
            if *number == 1 {
                assert!(snapshot.start > 1_000_000_000, "{of}: start {}", snapshot.start);
                assert!(cloud.is_none() && found.is_empty(), "{of}");
            } else {
                let cloud = cloud.unwrap_or_else(|| panic!("{of}: no session"));
                // A segment holds a hundred messages here.
                let most = match (table.as_str(), kind.as_str()) {
                    ("segment", "leaf") => cells * 100,
                    ("segment", "overflow") => 100,
                    ("segment", "internal") => LAST,
                    _ => 0,
                };
                assert!(missing.len() as u64 <= most, "{of}: {} of {most} are lost", missing.len());
                let told = cloud.dropped.iter().find(|told| told.reason == DropReason::Damaged);
                let told = told.map_or(0, |told| told.count);
                // Behind the last that can be read nobody knows how many there were.
                let waited_for = missing.len() as u64;
                let is_tail = missing.contains(&Seq(LAST));
                let least = if is_tail { waited_for.min(1) } else { waited_for };
                assert!(told >= least, "{of}: {told} of {waited_for} told");
                assert!(snapshot.start > 1, "{of}");
                assert!(snapshot.last_session >= 2, "{of}");
                let waiting = found.iter().filter(|stored| !is_settled(stored.seq)).count() as u64;
                // A session that is begun again gets again what is there.
                let again = cloud.cursor == Seq(0) || table == "settled";
                let is_right = cloud.queued == waiting || again;
                assert!(is_right, "{of}: {} of {waiting} queued", cloud.queued);
                assert!(cloud.owner == SessionOwner::Uplink("cloud".into()), "{of}");
            }
            let kept = aside(copy.path());
            if let [aside] = &kept[..] {
                let page = (number - 1) * PAGE..number * PAGE;
                let kept = fs::read(aside).unwrap();
                assert!(kept[page.clone()] == bytes[page], "{of}: the damaged page has changed");
            }
            assert!(kept.len() <= 1, "{of}: {kept:?}");
            let was_noticed = !kept.is_empty();
            assert!(was_noticed || missing.is_empty(), "{of}: lost without a word");
            // And it is in order from here on.
            let (_, again) = drained(copy.path(), false);
            assert_eq!(again, found, "{of}");
            assert_eq!(aside(copy.path()).len(), kept.len(), "{of}");
        }
    }
}

#[test]
fn a_byte_that_flipped_anywhere_never_ends_the_program_nor_doubles_or_alters_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let all = fill(dir.path(), false);
    let len = fs::metadata(dir.path().join(FILE_NAME)).unwrap().len();
    let seed = std::env::var("SALVAGE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("SALVAGE_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    for _ in 0..120 {
        // The header of the file says whose it is: that is another test.
        let at = rng.u64(100..len) as usize;
        let copy = copied(dir.path());
        let file = copy.path().join(FILE_NAME);
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 1 << rng.u8(..8);
        fs::write(&file, &bytes).unwrap();
        let (_, found) = drained(copy.path(), false);
        let of = format!("byte {at}");
        let lost = missing(&all, &found, &of).len();
        assert!(lost == 0 || aside(copy.path()).len() == 1 || at < 40 * PAGE, "{of}: {lost} lost");
    }
}

#[test]
fn a_segment_whose_row_says_what_cannot_be_is_never_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let all = fill(dir.path(), false);
    for spoilt in [
        "last = NULL",
        "last = 'x'",
        "last = first - 1",
        "last = first + 50",
        "last = first + 4096",
        "count = NULL",
        "count = 0",
        "count = count + 1",
        "accepted = 0.5",
        "content = NULL",
    ] {
        let copy = copied(dir.path());
        let connection = rusqlite::Connection::open(copy.path().join(FILE_NAME)).unwrap();
        let spoil = "PRAGMA writable_schema = 1; \
             UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'segment'";
        connection.execute_batch(spoil).unwrap();
        drop(connection);
        let connection = rusqlite::Connection::open(copy.path().join(FILE_NAME)).unwrap();
        let update = format!(
            "UPDATE segment SET {spoilt} WHERE first = (SELECT max(first) FROM segment WHERE first <= 700)"
        );
        assert_eq!(connection.execute(&update, []).unwrap(), 1);
        drop(connection);
        let (_, found) = drained(copy.path(), false);
        let lost = missing(&all, &found, spoilt).len();
        assert!(lost <= 100, "{spoilt}: {lost} lost");
        assert_eq!(aside(copy.path()).len(), 1, "{spoilt}: {lost} lost without a word");
    }
}

#[test]
fn a_file_that_was_cut_off_gives_what_is_left_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let all = fill(dir.path(), false);
    let len = fs::metadata(dir.path().join(FILE_NAME)).unwrap().len();
    let mut most = 0;
    for keep in
        [0, 1, 50, 99, 100, 511, 4095, 4096, 4097, len / 4, len / 2, len - PAGE as u64, len - 1]
    {
        let copy = copied(dir.path());
        let file = fs::OpenOptions::new().write(true).open(copy.path().join(FILE_NAME)).unwrap();
        file.set_len(keep).unwrap();
        let (_, found) = drained(copy.path(), false);
        missing(&all, &found, &format!("cut at {keep}"));
        println!("{keep} of {len} bytes: {} of {} messages", found.len(), all.len());
        assert_eq!(aside(copy.path()).len(), usize::from(keep > 0), "cut at {keep}");
        most = most.max(found.len());
    }
    assert!(most > all.len() * 9 / 10, "{most}");
}

#[test]
fn a_file_of_zeros_is_moved_aside_and_ids_of_readings_do_not_repeat() {
    for len in [100, 4096, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let (store, first) = open(dir.path(), false);
        store.store.close();
        assert_eq!(first.start, 1);
        fs::write(dir.path().join(FILE_NAME), vec![0; len]).unwrap();
        let (mut store, snapshot) = open(dir.path(), false);
        assert!(snapshot.start > 1_000_000_000, "{}", snapshot.start);
        let [aside] = &aside(dir.path())[..] else { panic!("nothing was moved aside") };
        assert_eq!(fs::read(aside).unwrap(), vec![0; len]);
        let owner = SessionOwner::Uplink("cloud".into());
        let begin = Change::Session { session: CLOUD, owner, cursor: Seq(0), expiry: u32::MAX };
        store.commit(vec![begin, append(1, &[CLOUD])], true);
        store.store.close();
        let (_, again) = open(dir.path(), false);
        assert_eq!((again.start, again.sessions[0].queued), (snapshot.start + 1, 1));
    }
}

#[test]
fn an_empty_file_does_not_cost_the_log_that_lies_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path(), false);
    let owner = SessionOwner::Uplink("cloud".into());
    let begin = Change::Session { session: CLOUD, owner, cursor: Seq(0), expiry: u32::MAX };
    store.commit(vec![begin, append(1, &[CLOUD])], true);
    let copy = copied(dir.path());
    let wal = fs::read(copy.path().join("fieldpost.db-wal")).unwrap();
    assert!(!wal.is_empty());
    fs::write(copy.path().join(FILE_NAME), b"").unwrap();
    drained(copy.path(), false);
    let kept = fs::read(copy.path().join("fieldpost.db.damaged-1-wal")).unwrap();
    assert!(kept == wal, "the log was not kept");
}

#[test]
fn what_was_staged_survives_the_salvage_and_comes_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = fill(dir.path(), true);
    let (mut store, _) = open(dir.path(), true);
    store.commit((LAST + 1..=LAST + 20).map(|seq| append(seq, &[CLOUD])).collect(), false);
    store.commit(vec![Change::Cursor { session: CLOUD, cursor: Seq(15) }], false);
    // As a kill leaves it, at the last commit and after the next.
    let before = copied(dir.path());
    for stored in store.fetch(CLOUD).unwrap() {
        all.insert(stored.seq, stored);
    }
    drop(store);
    let pages = pages(&dir.path().join(FILE_NAME));
    let of_table = |table: &str| {
        let found = pages.iter().find(|(_, name, kind, _)| name == table && kind == "leaf");
        found.unwrap_or_else(|| panic!("no page of {table}")).0
    };
    for (table, most) in
        [("meta", 0), ("segment", 2_000), ("session", 0), ("flight", 0), ("retained", 0)]
    {
        let copy = copied(before.path());
        // Through the log, so that the damage is in what SQLite reads.
        {
            let connection = rusqlite::Connection::open(copy.path().join(FILE_NAME)).unwrap();
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        }
        let file = copy.path().join(FILE_NAME);
        let mut bytes = fs::read(&file).unwrap();
        bytes[(of_table(table) - 1) * PAGE..][..PAGE].fill(0);
        fs::write(&file, &bytes).unwrap();
        let (snapshot, found) = drained(copy.path(), true);
        let lost = missing(&all, &found, table);
        assert!(lost.len() <= most, "{table}: {} lost", lost.len());
        let staged = (LAST + 1..=LAST + 20).filter(|seq| lost.contains(&Seq(*seq))).count();
        assert_eq!(staged, 0, "{table}: staged messages are lost");
        let cloud = snapshot.sessions.iter().find(|session| session.id == CLOUD).expect(table);
        assert!(snapshot.staged_lost, "{table}: packet ids are not distrusted");
        if table == "session" {
            assert_eq!(cloud.reserved, Some((id(1), id(65_534))));
        } else {
            assert!(cloud.reserved.is_some(), "{table}");
        }
        assert_eq!(cloud.cursor, Seq(15), "{table}: the staged cursor");
        assert_eq!(aside(copy.path()).len(), 1, "{table}");
        let (again, found_again) = drained(copy.path(), true);
        assert_eq!(found_again, found, "{table}");
        assert_eq!(again.start, snapshot.start + 1, "{table}");
    }
}

#[test]
fn an_end_in_the_middle_of_a_salvage_leaves_a_queue() {
    let dir = tempfile::tempdir().unwrap();
    let all = fill(dir.path(), false);
    let healthy = fs::read(dir.path().join(FILE_NAME)).unwrap();
    // While the copy was being filled: it is begun again.
    let copy = copied(dir.path());
    fs::write(copy.path().join("fieldpost.db.salvaging"), b"half").unwrap();
    fs::write(copy.path().join("fieldpost.db.damage"), b"").unwrap();
    let (_, found) = drained(copy.path(), false);
    assert!(missing(&all, &found, "filling").is_empty());
    assert_eq!(aside(copy.path()).len(), 1);
    assert!(!copy.path().join("fieldpost.db.salvaging").exists());
    assert!(!copy.path().join("fieldpost.db.damage").exists());
    // Once it is complete: before, between and after the damaged files were moved.
    for step in 0..3 {
        let copy = tempfile::tempdir().unwrap();
        let at = |name: &str| copy.path().join(name);
        fs::write(at("fieldpost.db.salvaged"), &healthy).unwrap();
        fs::write(at("fieldpost.db.damage"), b"x").unwrap();
        let names = match step {
            0 => [Some("fieldpost.db"), Some("fieldpost.db-wal")],
            1 => [Some("fieldpost.db"), Some("fieldpost.db.damaged-1-wal")],
            _ => [Some("fieldpost.db.damaged-1"), Some("fieldpost.db.damaged-1-wal")],
        };
        names.into_iter().flatten().for_each(|name| fs::write(at(name), [7; 5000]).unwrap());
        let (_, found) = drained(copy.path(), false);
        assert!(missing(&all, &found, "moving").is_empty(), "step {step}");
        for name in ["fieldpost.db.damaged-1", "fieldpost.db.damaged-1-wal"] {
            assert_eq!(fs::read(at(name)).unwrap(), [7; 5000], "step {step}: {name}");
        }
        assert!(!at("fieldpost.db.salvaged").exists() && !at("fieldpost.db.damage").exists());
    }
}

#[test]
fn a_torn_log_loses_what_came_after_and_what_is_staged_is_taken_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path(), true);
    let owner = SessionOwner::Uplink("cloud".into());
    let begin = Change::Session { session: CLOUD, owner, cursor: Seq(0), expiry: u32::MAX };
    store.commit(vec![begin, append(1, &[CLOUD])], true);
    let wal = dir.path().join("fieldpost.db-wal");
    let whole_to = fs::metadata(&wal).unwrap().len();
    store.commit(vec![append(2, &[CLOUD])], true);
    let flight =
        Change::Flight { session: CLOUD, seq: Seq(2), packet_id: id(9), phase: Phase::Released };
    store.commit(vec![append(3, &[CLOUD]), flight], false);
    let len = fs::metadata(&wal).unwrap().len();
    for at in [whole_to + 30, (whole_to + len) / 2, len - 10] {
        let copy = copied(dir.path());
        let wal = copy.path().join("fieldpost.db-wal");
        let mut bytes = fs::read(&wal).unwrap();
        bytes[at as usize] ^= 0x55;
        fs::write(&wal, &bytes).unwrap();
        let (mut store, snapshot) = open(copy.path(), true);
        assert!(snapshot.staged_lost, "packet ids are not distrusted");
        let seqs = |found: Vec<StoredMessage>| found.iter().map(|m| m.seq.0).collect::<Vec<_>>();
        assert_eq!(seqs(store.fetch(CLOUD).unwrap()), [1, 3]);
        // The flight of a message that is gone must not be taken for that of the next one at its place.
        assert!(snapshot.sessions[0].flights.is_empty());
        drop(store);
        let (mut again, snapshot) = open(copy.path(), true);
        assert!(!snapshot.staged_lost);
        assert_eq!(seqs(again.fetch(CLOUD).unwrap()), [1, 3]);
    }
}

#[test]
fn any_damage_to_the_log_leaves_a_queue_without_repeats() {
    let dir = tempfile::tempdir().unwrap();
    let all = fill(dir.path(), false);
    let (mut store, _) = open(dir.path(), false);
    store.commit((LAST + 1..=LAST + 300).map(|seq| append(seq, &[CLOUD])).collect(), true);
    let mut with_new = all.clone();
    with_new.extend(store.fetch(CLOUD).unwrap().into_iter().map(|stored| (stored.seq, stored)));
    let mut rng = Rng::with_seed(2);
    for _ in 0..40 {
        let copy = copied(dir.path());
        let wal = copy.path().join("fieldpost.db-wal");
        let mut bytes = fs::read(&wal).unwrap();
        let at = rng.usize(..bytes.len());
        if rng.bool() {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << rng.u8(..8);
        }
        fs::write(&wal, &bytes).unwrap();
        let (_, found) = drained(copy.path(), false);
        let lost = missing(&with_new, &found, &format!("log at {at}"));
        assert!(lost.iter().all(|seq| seq.0 > LAST), "log at {at}: {} lost", lost.len());
    }
}

/// After a salvage any packet id that was reserved may be open.
fn with_lost_ids(mut snapshot: Snapshot) -> Snapshot {
    for session in &mut snapshot.sessions {
        session.ids_lost = session.reserved.is_some();
    }
    Snapshot { staged_lost: true, ..snapshot }
}

#[test]
fn an_operator_can_have_a_queue_salvaged_and_it_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let all = fill(dir.path(), false);
    let (store, before) = open(dir.path(), false);
    store.store.close();
    fs::write(dir.path().join("fieldpost.db.damage"), b"").unwrap();
    let (store, after) = open(dir.path(), false);
    store.store.close();
    assert!(after.staged_lost);
    assert_eq!(after, Snapshot { start: before.start + 1, ..with_lost_ids(before) });
    let (_, found) = drained(dir.path(), false);
    assert!(missing(&all, &found, "healthy").is_empty());
    assert_eq!(aside(dir.path()).len(), 1);
}

#[test]
fn the_number_of_sessions_and_what_they_hold_of_a_healthy_queue_of_schema_2_is_salvaged_too() {
    let dir = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    connection.execute_batch(include_str!("data/schema/v2.sql")).unwrap();
    connection.close().unwrap();
    let copy = copied(dir.path());
    let (store, migrated) = open(dir.path(), false);
    store.store.close();
    fs::write(copy.path().join("fieldpost.db.damage"), b"it was").unwrap();
    let (_, salvaged) = open(copy.path(), false);
    assert_eq!(salvaged, with_lost_ids(migrated));
}

#[test]
fn a_database_with_a_spoilt_header_is_ours_by_its_tables_and_bytes_of_another_program_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let all = fill(dir.path(), false);
    let file = dir.path().join(FILE_NAME);
    let mut bytes = fs::read(&file).unwrap();
    bytes[68..72].fill(0x11);
    fs::write(&file, &bytes).unwrap();
    let (_, found) = drained(dir.path(), false);
    assert!(missing(&all, &found, "application id").is_empty());
    assert_eq!(aside(dir.path()).len(), 1);
    // The words of SQLite are spoilt, the rest of the header says that it is ours: moved aside, begun anew.
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), false);
    let file = dir.path().join(FILE_NAME);
    let mut bytes = fs::read(&file).unwrap();
    bytes[3] = b'?';
    fs::write(&file, &bytes).unwrap();
    let (snapshot, _) = drained(dir.path(), false);
    assert!(snapshot.sessions.is_empty());
    assert_eq!(fs::read(&aside(dir.path())[0]).unwrap(), bytes);
}

#[test]
fn a_queue_that_another_process_has_is_not_salvaged_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let all = fill(dir.path(), false);
    let (mut store, _) = open(dir.path(), false);
    fs::write(dir.path().join("fieldpost.db.damage"), b"").unwrap();
    let (sender, _events) = unbounded_channel();
    let Err(refused) = Store::open(dir.path(), None, sender) else { panic!("two stores") };
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    assert!(aside(dir.path()).is_empty());
    let found = store.fetch(CLOUD).unwrap();
    assert!(missing(&all, &found, "in use").is_empty());
}
