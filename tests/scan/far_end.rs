//! shell: the far end of a serial line: devices that hear only what is sent at their own baud rate.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fieldpost::field::UnitId;
use fieldpost::field::modbus::rtu;
use tokio_serial::{SerialPort as _, TTYPort};

/// How long a read may wait; what has not become a request by then is none.
const SILENCE: Duration = Duration::from_millis(20);

/// Who is on the line.
#[derive(Debug, Clone, Copy)]
pub enum Station {
    /// A device with this unit id and baud rate; holding register 0 has this value.
    Device(u8, u32, u16),
    /// One that says what it is, too (function 43/14): vendor, product code and revision.
    Named(u8, u32, [&'static str; 3]),
    /// One that is silent unless it is asked for input registers.
    InputOnly(u8, u32),
    /// Two devices with this unit id: they answer at the same time.
    Twins(u8, u32),
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
        let (mut port, near) = TTYPort::pair().expect("a pseudo-terminal");
        let path = near.name().expect("it has a name");
        drop(near);
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (is_over, notes, stations) = (stop.clone(), heard.clone(), stations.to_vec());
        let thread = std::thread::spawn(move || {
            port.set_timeout(SILENCE).expect("a time-out can be set");
            let mut request: Vec<u8> = Vec::new();
            let mut buffer = [0; 256];
            while !is_over.load(Ordering::Relaxed) {
                let Ok(count @ 1..) = port.read(&mut buffer) else {
                    request.clear();
                    // While nobody has the near end open, reading fails at once.
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let baud = port.baud_rate().unwrap_or_default();
                request.extend_from_slice(&buffer[..count]);
                if stations.iter().any(|station| matches!(station, Station::Echo)) {
                    let _ = port.write_all(&buffer[..count]);
                }
                let Some((body, check)) = request.split_last_chunk::<2>() else { continue };
                if rtu::crc(body).to_le_bytes() != *check || body.len() < 2 {
                    continue;
                }
                notes.lock().expect("nobody fails here").push((body[0], baud));
                for station in &stations {
                    if let Some(answer) = station.answer(body[0], &body[1..], baud) {
                        let _ = port.write_all(&answer);
                    }
                }
                request.clear();
            }
        });
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
