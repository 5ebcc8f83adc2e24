//! shell: how many readings a second the store makes durable, beside a plain file with `fdatasync`.
#![allow(clippy::disallowed_methods, reason = "a measurement reads clocks and files")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::readings::{PAYLOAD_BYTES, Readings, SESSION};
use crate::model::Seq;
use crate::service::usage;
use crate::store::{Change, SessionOwner, Store, StoreCommand, StoreEvent};

/// Readings a commit while a queue is filled for a start.
const FILL_BATCH: usize = 10_000;

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
/// The readings are what a gateway says: forty topics, the JSON of [`crate::payload::payload`], 200 bytes each, of which
/// half is a line of measured numbers that wander, as a serial instrument gives it; time and id grow. Like the bytes of the
/// plain file they are made before the clock starts, and there are enough of them that none comes twice in what is written
/// together.
///
/// # Errors
/// The store or the file cannot be written.
pub fn queue(dir: &Path, batch: usize, time: Duration) -> anyhow::Result<QueueFigures> {
    in_place(dir, &batch.to_string(), |place| measure(place, batch, time))
}

/// Fills a queue in `dir` with `rows` readings and measures how long a start takes that finds them: from opening the
/// files to all that the gateway must know, in milliseconds. The files were just written, so the system may still hold
/// them in memory. Blocks.
///
/// # Errors
/// The store cannot be written or opened.
pub fn start_ms_at_rows(dir: &Path, rows: usize) -> anyhow::Result<f64> {
    in_place(dir, "start", |place| {
        let mut readings = Readings::made(crate::clock::now())?;
        let (store, mut answers) = begin(place)?;
        let (mut seq, mut batches) = (Seq(0), 1);
        for filled in (0..rows).step_by(FILL_BATCH) {
            batches += 1;
            let batch = FILL_BATCH.min(rows - filled);
            commit(&store, &mut answers, batches, readings.appends(&mut seq, batch))?;
        }
        store.close();
        let (events, _answers) = unbounded_channel();
        let start = Instant::now();
        let (store, snapshot) = Store::open(place, None, events)?;
        let elapsed = start.elapsed();
        store.close();
        ensure!(
            snapshot.last_seq == seq,
            "the queue holds {:?} instead of {seq:?}",
            snapshot.last_seq
        );
        Ok(elapsed.as_secs_f64() * 1e3)
    })
}

/// Runs with a directory of its own in `dir`, which is removed afterwards.
fn in_place<T>(
    dir: &Path,
    name: &str,
    run: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let place = dir.join(format!("fieldpost-bench-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let figures = run(&place);
    std::fs::remove_dir_all(&place)
        .with_context(|| format!("cannot remove {}", place.display()))?;
    figures
}

fn measure(place: &Path, batch: usize, time: Duration) -> anyhow::Result<QueueFigures> {
    let mut readings = Readings::made(crate::clock::now())?;
    let file_rate = file_rate(&place.join("plain"), batch, time)?;
    let (store, mut answers) = begin(place)?;
    let (written_before, start) = (bytes_written()?, Instant::now());
    let (mut seq, mut batches) = (Seq(0), 1);
    while start.elapsed() < time {
        batches += 1;
        commit(&store, &mut answers, batches, readings.appends(&mut seq, batch))?;
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

/// An empty store with one session.
fn begin(place: &Path) -> anyhow::Result<(Store, UnboundedReceiver<StoreEvent>)> {
    let (events, mut answers) = unbounded_channel();
    let (store, _) = Store::open(place, None, events)?;
    let owner = SessionOwner::Uplink("bench".into());
    let begin = Change::Session { session: SESSION, owner, cursor: Seq(0), expiry: u32::MAX };
    commit(&store, &mut answers, 1, vec![begin])?;
    Ok((store, answers))
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
        Some(
            StoreEvent::Stuck(error)
            | StoreEvent::ReadFailed(error)
            | StoreEvent::TrimFailed(error)
            | StoreEvent::Damaged(error),
        ) => Err(error.into()),
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
