//! shell: the far end of a serial line for measurements: devices that answer to the microsecond at the pace of a wire, and
//! a log of what they heard.
#![allow(
    clippy::disallowed_methods,
    reason = "this shell owns a pseudo-terminal and keeps the time of a wire"
)]

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::demo::line::Line;
use crate::field::modbus::pdu::Data;
use crate::field::modbus::rtu;
use crate::field::modbus::server::{Listener, answer};
use crate::field::{SerialSettings, UnitId};

/// What a device needs before it answers; the plan reckons with as much.
pub(super) const TURNAROUND: Duration = Duration::from_millis(5);
/// Silence after which bytes begin a frame; more than 3.5 characters because a busy machine hands them over late.
const SILENCE: Duration = Duration::from_millis(50);
/// The longest frame is 256 bytes.
const READ_BUFFER_LEN: usize = 256;
/// The last part of a wait is spent awake: a sleep ends late.
const AWAKE: Duration = Duration::from_micros(200);

/// A request as the devices heard it.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    /// When it was handed to the wire.
    pub(super) at: Instant,
    /// For whom.
    pub(super) unit: UnitId,
    /// Its PDU.
    pub(super) request: Vec<u8>,
    /// When the last bit of the answer was through; `None` without an answer.
    pub(super) answered: Option<Instant>,
}

/// The far end of a line.
#[derive(Debug)]
pub(super) struct FarEnd {
    path: String,
    heard: Receiver<Heard>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FarEnd {
    /// Opens a line as `settings` say, but for its path, with `units` that have every register.
    pub(super) fn open(settings: SerialSettings, units: Vec<UnitId>) -> anyhow::Result<Self> {
        let (teller, heard) = channel();
        let (named, name) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = stop.clone();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok(mut line) = Line::open() else { return };
                let _ = named.send(line.path().to_owned());
                let port = line.port();
                let mut listener = Listener::default();
                let mut buffer = [0; READ_BUFFER_LEN];
                while !is_over.load(Ordering::Relaxed) {
                    let Ok(read) = timeout(SILENCE, port.read(&mut buffer)).await else {
                        listener.handle_silence();
                        continue;
                    };
                    let at = Instant::now();
                    let Ok(count) = read else { return };
                    listener.handle_bytes(buffer.get(..count).unwrap_or_default());
                    while let Some((unit, request)) = listener.poll_request() {
                        let mut answered = None;
                        if units.contains(&unit) {
                            let pdu = answer(&request, |range| {
                                Some(Data::Registers(vec![1; range.count().into()]))
                            });
                            let frame = rtu::encode(unit, &pdu);
                            let asked = settings.characters(frame_len(&request));
                            let silence = settings.characters(7) / 2;
                            let length = u32::try_from(frame.len()).unwrap_or_default();
                            let begin = at + asked + TURNAROUND.max(silence);
                            wait_until(begin + settings.characters(length));
                            // Before it is written: afterwards this thread may have been away.
                            answered = Some(Instant::now());
                            if port.write_all(&frame).await.is_err() {
                                return;
                            }
                        }
                        if teller.send(Heard { at, unit, request, answered }).is_err() {
                            return;
                        }
                    }
                }
            });
        };
        let thread = std::thread::Builder::new().name("line".to_owned()).spawn(serve)?;
        let path = name.recv().ok().context("cannot open a pseudo-terminal")?;
        Ok(Self { path, heard, stop, thread: Some(thread) })
    }

    /// The gateway's end.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// What was heard since the last call.
    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.try_iter().collect()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Bytes of the frame around a request: unit id before it, CRC behind it.
fn frame_len(request: &[u8]) -> u32 {
    u32::try_from(request.len()).unwrap_or_default() + 3
}

fn wait_until(at: Instant) {
    while let Some(left) = at.checked_duration_since(Instant::now()) {
        match left.checked_sub(AWAKE) {
            Some(left) => std::thread::sleep(left),
            None => std::hint::spin_loop(),
        }
    }
}
