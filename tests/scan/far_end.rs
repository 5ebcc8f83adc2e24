//! shell: the far end of a serial line: devices that hear only what is sent at their own baud rate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fieldpost::field::UnitId;
use fieldpost::field::modbus::rtu;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};
use tokio_serial::{SerialPort as _, SerialStream};

/// How long a read may wait; what has not become a request by then is none.
const SILENCE: Duration = Duration::from_millis(20);
/// Between the answers of two devices with one id.
const APART: Duration = Duration::from_millis(30);

/// Who is on the line.
#[derive(Debug, Clone, Copy)]
pub enum Station {
    /// A device with this unit id and baud rate; holding register 0 has this value.
    Device(u8, u32, u16),
    /// One that says what it is, too (function 43/14): vendor, product code and revision.
    Named(u8, u32, [&'static str; 3]),
    /// An energy meter with the registers by which its template knows it.
    AbbB23(u8, u32),
    /// One that is silent unless it is asked for input registers.
    InputOnly(u8, u32),
    /// Two devices with this unit id: they answer at the same time.
    Twins(u8, u32),
    /// Two devices with this unit id, one much slower: their answers come one after the other.
    SlowTwins(u8, u32),
    /// Something that sends noise at this rate whenever anything is sent.
    Chatter(u32),
    /// The adapter hears itself.
    Echo,
}

/// A line with devices on it.
#[derive(Debug)]
pub struct FarEnd {
    path: String,
    stop: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<(u8, u32)>>>,
    thread: Option<JoinHandle<()>>,
}

impl FarEnd {
    /// Opens a pseudo-terminal. It carries no baud rate of its own; the stations look at what the near end is set to.
    pub fn open(stations: &[Station]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (is_over, notes, stations) = (stop.clone(), heard.clone(), stations.to_vec());
        let (named, name) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let (port, near) = SerialStream::pair().expect("a pseudo-terminal");
                named.send(near.name().expect("it has a name")).expect("somebody waits for it");
                drop(near);
                serve(port, &stations, &is_over, &notes).await;
            });
        });
        let path = name.recv().expect("the line is opened");
        Self { path, stop, heard, thread: Some(thread) }
    }

    /// The near end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Unit ids that were asked, each with the baud rate, in order.
    pub fn heard(&self) -> Vec<(u8, u32)> {
        self.heard.lock().expect("nobody fails here").clone()
    }
}

async fn serve(
    mut port: SerialStream,
    stations: &[Station],
    is_over: &AtomicBool,
    heard: &Mutex<Vec<(u8, u32)>>,
) {
    let mut request: Vec<u8> = Vec::new();
    let mut buffer = [0; 256];
    while !is_over.load(Ordering::Relaxed) {
        let Ok(Ok(count @ 1..)) = timeout(SILENCE, port.read(&mut buffer)).await else {
            request.clear();
            // While nobody has the near end open, reading fails at once.
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        let baud = port.baud_rate().unwrap_or_default();
        request.extend_from_slice(&buffer[..count]);
        if stations.iter().any(|station| matches!(station, Station::Echo)) {
            let _ = port.write_all(&buffer[..count]).await;
        }
        let Some((body, check)) = request.split_last_chunk::<2>() else { continue };
        if rtu::crc(body).to_le_bytes() != *check || body.len() < 2 {
            continue;
        }
        heard.lock().expect("nobody fails here").push((body[0], baud));
        for station in stations {
            if let Some(answer) = station.answer(body[0], &body[1..], baud) {
                let _ = port.write_all(&answer).await;
                if matches!(station, Station::SlowTwins(..)) {
                    sleep(APART).await;
                    let _ = port.write_all(&answer).await;
                }
            }
        }
        request.clear();
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

impl Station {
    fn answer(&self, unit: u8, request: &[u8], baud: u32) -> Option<Vec<u8>> {
        let frame = |pdu: &[u8]| rtu::encode(UnitId(unit), pdu);
        match *self {
            Self::SlowTwins(its, rate) if its == unit && rate == baud => {
                Some(frame(&registers(request, 3, 1)))
            }
            Self::Device(its, rate, value) if its == unit && rate == baud => {
                Some(frame(&registers(request, 3, value)))
            }
            Self::Named(its, rate, texts) if its == unit && rate == baud => {
                if request.first() != Some(&43) {
                    return Some(frame(&registers(request, 3, 1)));
                }
                let mut pdu = vec![43, 14, request[2], 1, 0, 0, 3];
                for (id, text) in (0..).zip(texts) {
                    pdu.extend([id, u8::try_from(text.len()).expect("short")]);
                    pdu.extend(text.bytes());
                }
                Some(frame(&pdu))
            }
            Self::AbbB23(its, rate) if its == unit && rate == baud => Some(frame(match request {
                [3, 0x89, 0x60, 0, 2] => &[3, 4, b'B', b'2', b'3', b' '],
                [3, 0x5b, 0x2c, 0, 1] => &[3, 2, 0x13, 0x88],
                [3, ..] => &[0x83, 2],
                _ => &[0x84, 1],
            })),
            Self::InputOnly(its, rate) if its == unit && rate == baud => {
                (request.first() == Some(&4)).then(|| frame(&registers(request, 4, 99)))
            }
            Self::Twins(its, rate) if its == unit && rate == baud => {
                let one = frame(&registers(request, 3, 0x1234));
                let other = frame(&registers(request, 3, 0x4321));
                Some(one.iter().zip(other).map(|(one, other)| one & other).collect())
            }
            Self::Chatter(rate) if rate == baud => Some(vec![0x00, 0xfe, 0x80, 0x13, 0x77]),
            _ => None,
        }
    }
}

/// One register of one table; everything else is refused.
fn registers(request: &[u8], function: u8, value: u16) -> Vec<u8> {
    let [high, low] = value.to_be_bytes();
    match *request {
        [its, 0, 0, 0, 1] if its == function => vec![function, 2, high, low],
        [its, ..] if its == function => vec![function | 0x80, 2],
        [its, ..] => vec![its | 0x80, 1],
        [] => Vec::new(),
    }
}
