//! shell: one serial line at its real pace, with devices on it that are sick in every way a field knows.
//!
//! A pseudo-terminal passes bytes on at once and keeps frames apart, which no wire does. Here every byte comes when its
//! last bit would be through at the baud rate, a device takes up its request when that is through and the line was
//! silent, and two that speak at once garble each other. What a device does with a request is an [`Act`], which the
//! test decides request by request; what it heard and did is kept in order ([`Wire::heard`]), so that a test counts
//! transactions and need not measure time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fieldpost::field::UnitId;
use fieldpost::field::modbus::receiver::Wrap;
use fieldpost::field::modbus::{ascii, rtu};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// How often the line looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// What the line is and how fast its devices are.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Characters a second are this by ten: 8N1 has ten bits each.
    pub baud: u32,
    /// RTU or ASCII.
    pub wrap: Wrap,
    /// How long a device thinks before it answers.
    pub turn_around: Duration,
}

/// What a device does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Answers as it should.
    Right,
    /// Says nothing; a write is not done.
    Silent,
    /// Says nothing; a write is done.
    Mute,
    /// Answers as it should, this long after the request. What comes meanwhile waits.
    Late(Duration),
    /// One bit of the answer is another.
    Damaged,
    /// So many bytes of noise stand before the answer.
    NoiseBefore(u8),
    /// So many bytes of noise follow the answer.
    NoiseAfter(u8),
    /// The right answer under the number of another unit.
    As(u8),
    /// The second half of the answer does not come.
    Truncated,
    /// The answer comes twice.
    Twice,
    /// Every byte of the answer comes twice.
    BytesTwice,
    /// An exception with this code; a write is not done.
    Refused(u8),
    /// The adapter hears itself: the request comes back before the answer.
    Echo,
}

/// A request as the devices heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Counted from 0 over all units.
    pub number: usize,
    /// For whom.
    pub unit: u8,
    /// Function code and data.
    pub pdu: Vec<u8>,
    /// What was done with it.
    pub act: Act,
}

impl Heard {
    /// The function code.
    pub fn function(&self) -> u8 {
        self.pdu[0]
    }

    /// The first register or bit it is about.
    pub fn address(&self) -> u16 {
        self.word(1)
    }

    /// How many it is about; 1 for the functions that write one.
    pub fn count(&self) -> u16 {
        if matches!(self.function(), 5 | 6 | 22) { 1 } else { self.word(3) }
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.pdu[at], self.pdu[at + 1]])
    }
}

/// What a register holds that nobody has written to: no two units or addresses share a value below a thousand.
pub fn register(unit: u8, address: u16) -> u16 {
    u16::from(unit) * 1000 + address
}

/// A line with its devices; they stop when it is dropped.
#[derive(Debug)]
pub struct Wire {
    path: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Opens a line. Every unit that is asked is there; `act` says what it does, and is told of the request with
    /// [`Act::Right`].
    pub fn open(pace: Pace, act: impl FnMut(&Heard) -> Act + Send + 'static) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (teller, path) = std::sync::mpsc::channel();
        let mut devices = Devices {
            pace,
            act: Box::new(act),
            heard: Arc::clone(&heard),
            bytes: Vec::new(),
            registers: HashMap::new(),
            coming: BinaryHeap::new(),
            order: 0,
            free: HashMap::new(),
        };
        let is_over = Arc::clone(&stop);
        let serve = move || {
            let (port, path) = open().expect("a pseudo-terminal");
            // The other end stays open: a line that hangs up when the gateway closes it is of no more use.
            let _other = File::options().read(true).write(true).open(&path).expect("its other end");
            teller.send(path).expect("somebody waits");
            while !is_over.load(Ordering::Relaxed) {
                devices.serve(port.as_fd());
            }
        };
        let thread = Some(std::thread::spawn(serve));
        Self { path: path.recv().expect("the line opens"), heard, stop, thread }
    }

    /// The gateway's end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// All that was heard, in order.
    pub fn heard(&self) -> Vec<Heard> {
        lock(&self.heard).clone()
    }

    /// How many requests were heard.
    pub fn asked(&self) -> usize {
        lock(&self.heard).len()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is dropped once");
        if thread.join().is_err() && !std::thread::panicking() {
            panic!("the devices of the line failed");
        }
    }
}

struct Devices {
    pace: Pace,
    act: Box<dyn FnMut(&Heard) -> Act + Send>,
    heard: Arc<Mutex<Vec<Heard>>>,
    /// What came and is no request yet.
    bytes: Vec<u8>,
    /// What was written.
    registers: HashMap<(u8, bool, u16), u16>,
    /// Bytes on their way to the gateway, by when they are through.
    coming: BinaryHeap<Reverse<(Instant, usize, u8)>>,
    order: usize,
    /// When each unit has done what it was asked so far.
    free: HashMap<u8, Instant>,
}

impl Devices {
    /// Until the next byte is through, or a while.
    fn serve(&mut self, port: BorrowedFd<'_>) {
        let now = Instant::now();
        let mut through = Vec::new();
        while let Some(Reverse((_, _, byte))) = self.coming.peek().filter(|it| it.0.0 <= now) {
            through.push(*byte);
            self.coming.pop();
        }
        let mut rest = through.as_slice();
        while !rest.is_empty() {
            // A gateway that does not listen loses what comes, as it would from a full buffer.
            let Ok(count) = rustix::io::write(port, rest) else { break };
            rest = &rest[count..];
        }
        let next = self.coming.peek().map_or(now + LOOK, |it| it.0.0.min(now + LOOK));
        // To the microsecond: a wake-up that is late by a character or two would be a silence on this line.
        let wait = Timespec::try_from(next.saturating_duration_since(Instant::now()));
        let mut ready = [PollFd::new(&port, PollFlags::IN)];
        match poll(&mut ready, Some(&wait.expect("short"))) {
            Ok(1..) => {}
            Ok(0) => return,
            Err(error) => panic!("the line cannot be waited for: {error}"),
        }
        let at = Instant::now();
        let mut buffer = [0; 512];
        let read = rustix::io::read(port, &mut buffer).map_err(io::Error::from);
        self.bytes.extend_from_slice(&buffer[..read.expect("the line is there")]);
        while let Some((frame, unit, pdu)) = self.request() {
            self.take(&frame, unit, pdu, at);
        }
    }

    /// The next request in what came.
    fn request(&mut self) -> Option<(Vec<u8>, u8, Vec<u8>)> {
        while !self.bytes.is_empty() {
            match cut(self.pace.wrap, &self.bytes) {
                Cut::Nothing => drop(self.bytes.remove(0)),
                Cut::Beginning => return None,
                Cut::Request { len, unit, pdu } => {
                    return Some((self.bytes.drain(..len).collect(), unit, pdu));
                }
            }
        }
        None
    }

    fn take(&mut self, frame: &[u8], unit: u8, pdu: Vec<u8>, at: Instant) {
        let number = lock(&self.heard).len();
        let mut heard = Heard { number, unit, pdu, act: Act::Right };
        heard.act = (self.act)(&heard);
        lock(&self.heard).push(heard.clone());
        let through = at + self.characters(frame.len());
        let silence = self.characters(7) / 2;
        let usual = self.pace.turn_around.max(silence);
        let thinks = if let Act::Late(late) = heard.act { late } else { usual };
        let begin = self.free.get(&unit).copied().unwrap_or(at).max(through) + thinks;
        if heard.act == Act::Echo {
            self.send(frame, at);
        }
        let answer = self.answer(&heard);
        self.send(&answer, begin);
        self.free.insert(unit, begin + self.characters(answer.len()));
    }

    fn send(&mut self, bytes: &[u8], begin: Instant) {
        for (count, byte) in (1..).zip(bytes) {
            self.order += 1;
            self.coming.push(Reverse((begin + self.characters(count), self.order, *byte)));
        }
    }

    /// What goes over the wire.
    fn answer(&mut self, heard: &Heard) -> Vec<u8> {
        let wrap = self.pace.wrap;
        let under = |unit, pdu: &[u8]| wrap.encode(UnitId(unit), pdu);
        if let Act::Refused(code) = heard.act {
            return under(heard.unit, &[heard.function() | 0x80, code]);
        }
        if heard.act == Act::Silent {
            return Vec::new();
        }
        let pdu = self.carry_out(heard);
        let right = under(heard.unit, &pdu);
        let noise =
            |count: u8| (0..count).map(|it| it.wrapping_mul(73) ^ 0xa5).collect::<Vec<u8>>();
        match heard.act {
            Act::Right | Act::Late(_) | Act::Echo => right,
            Act::Silent | Act::Mute | Act::Refused(_) => Vec::new(),
            Act::Damaged => {
                let mut damaged = right;
                let at = damaged.len() / 2;
                damaged[at] ^= 4;
                damaged
            }
            Act::NoiseBefore(count) => [noise(count), right].concat(),
            Act::NoiseAfter(count) => [right, noise(count)].concat(),
            Act::As(unit) => under(unit, &pdu),
            Act::Truncated => right[..right.len() / 2].to_vec(),
            Act::Twice => [right.clone(), right].concat(),
            Act::BytesTwice => right.iter().flat_map(|byte| [*byte, *byte]).collect(),
        }
    }

    /// Does what is asked; returns the PDU of the answer.
    fn carry_out(&mut self, heard: &Heard) -> Vec<u8> {
        let (unit, function, address) = (heard.unit, heard.function(), heard.address());
        let is_bit = matches!(function, 1 | 2 | 5 | 15);
        let addresses = address..address.saturating_add(heard.count());
        let old = |registers: &HashMap<_, u16>, at: u16| {
            let kept = registers.get(&(unit, is_bit, at)).copied();
            kept.unwrap_or_else(|| {
                if is_bit { u16::from(at.is_multiple_of(3)) } else { register(unit, at) }
            })
        };
        match function {
            1..=4 => {
                let words = addresses.map(|at| old(&self.registers, at));
                let data: Vec<u8> = if is_bit {
                    let bits: Vec<u16> = words.collect();
                    bits.chunks(8)
                        .map(|eight| {
                            (0..)
                                .zip(eight)
                                .fold(0, |byte, (at, bit)| byte | u8::from(*bit != 0) << at)
                        })
                        .collect()
                } else {
                    words.flat_map(u16::to_be_bytes).collect()
                };
                [vec![function, u8::try_from(data.len()).expect("250 at most")], data].concat()
            }
            5 => self.store(heard, &[u16::from(heard.word(3) == 0xff00)], 5),
            6 => self.store(heard, &[heard.word(3)], 5),
            22 => {
                let (and, or) = (heard.word(3), heard.word(5));
                let word = old(&self.registers, address) & and | or & !and;
                self.store(heard, &[word], 7)
            }
            15 => {
                let bit = |at: u16| heard.pdu[6 + usize::from(at) / 8] >> (at % 8) & 1;
                let bits: Vec<u16> = (0..heard.count()).map(|at| bit(at).into()).collect();
                self.store(heard, &bits, 5)
            }
            16 => {
                let words: Vec<u16> = heard.pdu[6..]
                    .chunks(2)
                    .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                    .collect();
                self.store(heard, &words, 5)
            }
            _ => vec![function | 0x80, 1],
        }
    }

    /// Keeps `words` from the address of the request on; the answer is its first `answer_len` bytes.
    fn store(&mut self, heard: &Heard, words: &[u16], answer_len: usize) -> Vec<u8> {
        let is_bit = matches!(heard.function(), 5 | 15);
        for (at, word) in (heard.address()..).zip(words) {
            self.registers.insert((heard.unit, is_bit, at), *word);
        }
        heard.pdu[..answer_len].to_vec()
    }

    fn characters(&self, count: usize) -> Duration {
        let bits = 10 * u64::try_from(count).expect("short");
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.pace.baud))
    }
}

/// A new pseudo-terminal that changes no byte, and the path of its other end.
fn open() -> io::Result<(OwnedFd, String)> {
    let port = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&port)?;
    unlockpt(&port)?;
    rustix::io::ioctl_fionbio(&port, true)?;
    let mut modes = tcgetattr(&port)?;
    modes.make_raw();
    tcsetattr(&port, OptionalActions::Now, &modes)?;
    let path = ptsname(&port, Vec::new())?;
    Ok((port, path.into_string().map_err(io::Error::other)?))
}

/// What stands at the front of what came.
enum Cut {
    Nothing,
    Beginning,
    Request { len: usize, unit: u8, pdu: Vec<u8> },
}

fn cut(wrap: Wrap, bytes: &[u8]) -> Cut {
    match wrap {
        Wrap::Rtu => {
            let len = match bytes {
                [_, 1..=6, ..] => 8,
                [_, 22, ..] => 10,
                [_, 15 | 16, _, _, _, _, count, ..] => 9 + usize::from(*count),
                [_] | [_, 15 | 16, ..] if bytes.len() < 7 => return Cut::Beginning,
                _ => return Cut::Nothing,
            };
            let Some(frame) = bytes.get(..len) else { return Cut::Beginning };
            let (body, crc) = frame.split_at(len - 2);
            if rtu::crc(body).to_le_bytes() != *crc {
                return Cut::Nothing;
            }
            Cut::Request { len, unit: body[0], pdu: body[1..].to_vec() }
        }
        Wrap::Ascii => {
            if bytes[0] != b':' {
                return Cut::Nothing;
            }
            let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
                return Cut::Beginning;
            };
            let text = std::str::from_utf8(&bytes[1..end]).unwrap_or_default();
            let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
            let body: Option<Vec<u8>> =
                pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
            match body.as_deref() {
                Some([unit, pdu @ .., lrc]) if ascii::lrc(&[&[*unit], pdu].concat()) == *lrc => {
                    Cut::Request { len: end + 2, unit: *unit, pdu: pdu.to_vec() }
                }
                _ => Cut::Nothing,
            }
        }
    }
}

fn lock(heard: &Mutex<Vec<Heard>>) -> std::sync::MutexGuard<'_, Vec<Heard>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
