//! shell: how many readings a second the store makes durable, beside a plain file with `fdatasync`.
#![allow(clippy::disallowed_methods, reason = "a measurement reads clocks and files")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::model::{Body, Message, QoS, Seq, Timestamp, TopicName};
use crate::service::usage;
use crate::store::{Change, SessionId, SessionOwner, Store, StoreCommand, StoreEvent, Target};

/// Payload of a reading, as the default JSON is long.
const PAYLOAD_BYTES: usize = 200;

/// What one batch size reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueueFigures {
    /// Readings a commit.
    pub batch: usize,
    /// Readings a second through commit.
    pub rows_per_s: f64,
    /// The same rate over that of a plain file with `fdatasync` for each batch.
    pub ratio_to_file: f64,
    /// Bytes handed to the disk for each reading of 200 bytes, WAL and checkpoints included.
    pub bytes_per_reading: f64,
}

/// Measures appends of `batch` readings a commit for about `time`, and a plain file for as long, in `dir`. Blocks.
///
/// # Errors
/// The store or the file cannot be written.
pub fn queue(dir: &Path, batch: usize, time: Duration) -> anyhow::Result<QueueFigures> {
    let place = dir.join(format!("fieldpost-bench-{}-{batch}", std::process::id()));
    let figures = measure(&place, batch, time);
    std::fs::remove_dir_all(&place)
        .with_context(|| format!("cannot remove {}", place.display()))?;
    figures
}

fn measure(place: &Path, batch: usize, time: Duration) -> anyhow::Result<QueueFigures> {
    std::fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    let file_rate = file_rate(&place.join("plain"), batch, time)?;
    let (events, mut answers) = unbounded_channel();
    let (store, _) = Store::open(place, None, events)?;
    let session = SessionId(1);
    let owner = SessionOwner::Uplink("bench".into());
    let begin = Change::Session { session, owner, cursor: Seq(0), expiry: u32::MAX };
    commit(&store, &mut answers, 1, vec![begin])?;
    let (written_before, start) = (bytes_written()?, Instant::now());
    let (mut seq, mut batches) = (Seq(0), 1);
    while start.elapsed() < time {
        let changes = (0..batch).map(|_| {
            seq = seq.next();
            append(seq, session)
        });
        let changes = changes.collect::<anyhow::Result<_>>()?;
        batches += 1;
        commit(&store, &mut answers, batches, changes)?;
    }
    let elapsed = start.elapsed();
    store.close();
    let written = bytes_written()?.saturating_sub(written_before);
    #[allow(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let (rows, written) = (seq.0 as f64, written as f64);
    let rows_per_s = rows / elapsed.as_secs_f64();
    let (ratio_to_file, bytes_per_reading) = (rows_per_s / file_rate, written / rows);
    Ok(QueueFigures { batch, rows_per_s, ratio_to_file, bytes_per_reading })
}

fn append(seq: Seq, session: SessionId) -> anyhow::Result<Change> {
    // Varied text, so that nothing below can make it smaller than a reading is.
    let payload: Vec<u8> = (0..PAYLOAD_BYTES).map(|_| fastrand::alphanumeric() as u8).collect();
    let message = Message {
        topic: TopicName::new("bench/device/point")?,
        payload: Bytes::from(payload),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: None,
        accepted: Timestamp::from(std::time::SystemTime::now()),
        expires: None,
        body: Body::Foreign,
    };
    let target = Target { session, qos: QoS::AtLeastOnce, retain: false };
    Ok(Change::Append { seq, message, targets: Arc::from([target]) })
}

fn commit(
    store: &Store,
    answers: &mut UnboundedReceiver<StoreEvent>,
    batch: u64,
    changes: Vec<Change>,
) -> anyhow::Result<()> {
    store.send(StoreCommand::Commit { batch, changes, sync: true });
    match answers.blocking_recv() {
        Some(StoreEvent::Committed(_)) => Ok(()),
        Some(StoreEvent::Stuck(error) | StoreEvent::Failed(error)) => Err(error.into()),
        other => bail!("the store answered {other:?}"),
    }
}

/// Readings a second into a plain file, synced after each batch.
fn file_rate(path: &Path, batch: usize, time: Duration) -> anyhow::Result<f64> {
    let name = path.display();
    let mut file = File::create(path).with_context(|| format!("cannot make {name}"))?;
    let bytes: Vec<u8> = (0..PAYLOAD_BYTES * batch).map(|_| fastrand::u8(..)).collect();
    let (start, mut rows) = (Instant::now(), 0.0);
    while start.elapsed() < time {
        file.write_all(&bytes).with_context(|| format!("cannot write {name}"))?;
        file.sync_data().with_context(|| format!("cannot sync {name}"))?;
        #[allow(clippy::cast_precision_loss, reason = "a batch is small")]
        let count = batch as f64;
        rows += count;
    }
    Ok(rows / start.elapsed().as_secs_f64())
}

/// Bytes this process has caused to be written to disk.
fn bytes_written() -> anyhow::Result<u64> {
    Ok(usage(None).context("cannot read what this process has written")?.written)
}
