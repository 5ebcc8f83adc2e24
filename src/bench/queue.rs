//! shell: how many readings a second the store makes durable, beside a plain file with `fdatasync`.
#![allow(clippy::disallowed_methods, reason = "a measurement reads clocks and files")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::readings::{PAYLOAD_BYTES, Readings, SESSION};
use crate::model::{QoS, Seq, TopicName};
use crate::service::usage;
use crate::store::{Change, SessionOwner, Store, StoreCommand, StoreEvent};

/// How often the store and the file take turns.
const TURNS: u32 = 8;
/// Readings a commit while a queue is filled for a start.
const FILL_BATCH: usize = 10_000;

/// Whom the readings wait for.
pub(super) const UPLINK: &str = "bench";

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

/// Measures appends of `batch` readings a commit for about `time`, and a plain file for as long, in turns, in `dir`; rates
/// are medians of the turns. Blocks.
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
        let seq = fill(place, rows, QoS::AtLeastOnce, None)?;
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

/// Makes a queue in `place` with `rows` readings that wait for the uplink [`UPLINK`] at `qos`, the last of them under `last`;
/// its last place.
pub(super) fn fill(
    place: &Path,
    rows: usize,
    qos: QoS,
    last: Option<&TopicName>,
) -> anyhow::Result<Seq> {
    let mut readings = Readings::made(crate::clock::now(), qos)?;
    let (store, mut answers) = begin(place)?;
    let (mut seq, mut batches) = (Seq(0), 1);
    for filled in (0..rows).step_by(FILL_BATCH) {
        batches += 1;
        let batch = FILL_BATCH.min(rows - filled);
        let mut changes = readings.appends(&mut seq, batch);
        if let (Some(Change::Append { message, .. }), Some(last)) = (changes.last_mut(), last)
            && filled + batch == rows
        {
            Arc::make_mut(message).topic = last.clone();
        }
        commit(&store, &mut answers, batches, changes)?;
    }
    store.close();
    Ok(seq)
}

/// Runs with a directory of its own in `dir`, which is removed afterwards.
pub(super) fn in_place<T>(
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
    let mut readings = Readings::made(crate::clock::now(), QoS::AtLeastOnce)?;
    let mut plain = Plain::new(&place.join("plain"), batch)?;
    let (store, mut answers) = begin(place)?;
    let (mut seq, mut batches, mut written) = (Seq(0), 1, 0);
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    // A machine and a disk have other things to do in between, so the two take short turns, and what counts is the median.
    for _ in 0..TURNS {
        let file_rate = plain.rate(time / TURNS)?;
        let (written_before, begin, start) = (bytes_written()?, seq, Instant::now());
        while start.elapsed() < time / TURNS {
            batches += 1;
            commit(&store, &mut answers, batches, readings.appends(&mut seq, batch))?;
        }
        let rate = rate(seq.0 - begin.0, start.elapsed());
        written += bytes_written()?.saturating_sub(written_before);
        rates.push(rate);
        ratios.push(rate / file_rate);
    }
    let written_before = bytes_written()?;
    store.close();
    written += bytes_written()?.saturating_sub(written_before);
    #[allow(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let bytes_per_reading = written as f64 / seq.0 as f64;
    let (rows_per_s, ratio_to_file) = (median(rates), median(ratios));
    Ok(QueueFigures { batch, rows_per_s, ratio_to_file, bytes_per_reading })
}

fn rate(count: u64, elapsed: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let count = count as f64;
    count / elapsed.as_secs_f64()
}

/// The one in the middle, or the mean of the two there.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(below), values.get(above)) {
        (Some(below), Some(above)) => f64::midpoint(*below, *above),
        (_, _) => 0.0,
    }
}

/// An empty store with one session.
fn begin(place: &Path) -> anyhow::Result<(Store, UnboundedReceiver<StoreEvent>)> {
    let (events, mut answers) = unbounded_channel();
    let (store, _) = Store::open(place, None, events)?;
    let owner = SessionOwner::Uplink(UPLINK.into());
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

/// A file that is synced after each batch.
struct Plain {
    file: File,
    bytes: Vec<u8>,
    batch: u64,
}

impl Plain {
    fn new(path: &Path, batch: usize) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        let bytes = (0..PAYLOAD_BYTES * batch).map(|_| fastrand::u8(..)).collect();
        Ok(Self { file, bytes, batch: batch as u64 })
    }

    /// Readings a second for `time`.
    fn rate(&mut self, time: Duration) -> anyhow::Result<f64> {
        let (start, mut rows) = (Instant::now(), 0);
        while start.elapsed() < time {
            self.file.write_all(&self.bytes).context("cannot write a plain file")?;
            self.file.sync_data().context("cannot sync a plain file")?;
            rows += self.batch;
        }
        Ok(rate(rows, start.elapsed()))
    }
}

/// Bytes this process has caused to be written to disk.
fn bytes_written() -> anyhow::Result<u64> {
    Ok(usage(None).context("cannot read what this process has written")?.written)
}
