//! A queue that has been full for a long time: its files, through the real hub and store.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use fieldpost::hub::{EngineOptions, Forward, Hub, HubHandle, UplinkSession};
use fieldpost::model::{Body, Message, QoS, Timestamp, TopicFilter, TopicName};
use fieldpost::store::{Staging, Store, WhenFull};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const SIZE_MAX: u64 = 4 << 20;
/// The log up to its checkpoint, and what one commit adds before it is made up for.
const BESIDE_MAX: u64 = 5 << 20;
const BATCH: usize = 250;

fn start(dir: &Path, when_full: WhenFull) -> (HubHandle, JoinHandle<()>) {
    let staging = Staging { runtime_dir: dir.join("run"), commit_every: Duration::from_millis(5) };
    let (events, answers) = mpsc::unbounded_channel();
    let (store, snapshot) = Store::open(&dir.join("state"), Some(staging), events).unwrap();
    let options =
        EngineOptions { store_bytes_max: SIZE_MAX, when_full, ..EngineOptions::default() };
    let uplink = UplinkSession {
        name: "cloud".into(),
        forward: vec![Forward {
            filter: TopicFilter::new("#").unwrap(),
            qos: QoS::AtLeastOnce,
            to: None,
            retain: true,
        }],
        accept: Vec::new(),
        withheld: None,
        window: 20,
        trust_received: false,
        live_first: None,
        tell_drops: None,
    };
    Hub::start(options, vec![uplink], store, snapshot, answers)
}

/// Bytes of the database and its log; the room held for a full disk is not the queue's.
fn bytes_on_disk(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("state")).unwrap().map(Result::unwrap);
    let files = files.filter(|file| file.file_name() != "fieldpost.reserve");
    files.map(|file| file.metadata().unwrap().len()).sum()
}

fn readings(rng: &mut Rng) -> Vec<Message> {
    let reading = |_| Message {
        topic: TopicName::new(&format!("gw/meter/{}", rng.u8(..40))).unwrap(),
        payload: Bytes::from((0..200).map(|_| rng.u8(..)).collect::<Vec<u8>>()),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: None,
        accepted: Timestamp::default(),
        expires: None,
        body: Body::Reading { unsynced_at: None },
    };
    (0..BATCH).map(reading).collect()
}

async fn fill(when_full: WhenFull) {
    let dir = tempfile::tempdir().unwrap();
    let (hub, task) = start(dir.path(), when_full);
    let mut rng = Rng::with_seed(4);
    let mut largest = 0;
    // Ten times what it may hold, and nobody to take it.
    for _ in 0..10 * SIZE_MAX / (200 * BATCH as u64) {
        hub.publish(readings(&mut rng)).await.unwrap();
        hub.flush().await.unwrap();
        largest = largest.max(bytes_on_disk(dir.path()));
    }
    let status = hub.status().await.unwrap();
    let (queued, counters) = (status.sessions[0].queued, status.sessions[0].counters);
    assert!(counters.dropped > 0 && queued > 5000, "{queued} are left, {counters:?}");
    assert_eq!(queued + counters.dropped, status.accepted, "each is there or counted");
    assert!(largest <= SIZE_MAX + BESIDE_MAX, "{when_full:?}: {largest} bytes on the disk");
    assert!(largest >= SIZE_MAX, "{when_full:?}: only {largest} bytes were used");
    hub.stop().await.unwrap();
    task.await.unwrap();
    assert!(bytes_on_disk(dir.path()) <= SIZE_MAX + BESIDE_MAX);
}

#[tokio::test]
async fn a_full_queue_that_drops_its_oldest_stays_within_its_bound() {
    fill(WhenFull::DropOldest).await;
}

#[tokio::test]
async fn a_full_queue_that_takes_nothing_new_stays_within_its_bound() {
    fill(WhenFull::DropNewest).await;
}

#[tokio::test]
async fn a_full_queue_that_is_thinned_stays_within_its_bound() {
    fill(WhenFull::Thin).await;
}
