//! A device on a serial line that does what the test says, and the command line of the gateway under test.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use fieldpost::field::UnitId;
use fieldpost::field::modbus::rtu;

use crate::support::Site;

/// A read of registers as a device sees it.
pub struct Request {
    /// Counted from 0.
    pub number: usize,
    pub unit: u8,
    pub function: u8,
    pub address: u16,
    pub count: u16,
}

impl Request {
    /// The right answer: each register holds its address.
    pub fn right(&self) -> Vec<u8> {
        self.right_as(self.unit)
    }

    /// The same under another unit id.
    pub fn right_as(&self, unit: u8) -> Vec<u8> {
        let words = (self.address..self.address + self.count).flat_map(u16::to_be_bytes);
        let head = [self.function, u8::try_from(self.count * 2).expect("it fits")];
        rtu::encode(UnitId(unit), &head.into_iter().chain(words).collect::<Vec<u8>>())
    }

    /// A refusal.
    pub fn refusal(&self, code: u8) -> Vec<u8> {
        rtu::encode(UnitId(self.unit), &[self.function | 0x80, code])
    }
}

/// Answers reads on the port `tty` as `answer` says, until the line is gone.
pub fn device(tty: &Path, answer: impl Fn(&Request) -> Vec<u8> + Send + 'static) {
    let mut port = OpenOptions::new().read(true).write(true).open(tty).expect("the far port");
    thread::spawn(move || {
        let (mut bytes, mut number, mut buffer) = (Vec::new(), 0, [0; 256]);
        while let Ok(count @ 1..) = port.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
            while let Some(frame) = bytes.first_chunk::<8>().copied() {
                bytes.drain(..8);
                let [unit, function, a, b, c, d, ..] = frame;
                let (address, count) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                let request = Request { number, unit, function, address, count };
                number += 1;
                if port.write_all(&answer(&request)).is_err() {
                    return;
                }
            }
        }
    });
}

/// Runs a command of the program with the configuration of `site`.
pub fn ask(site: &Site, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    command.args(args).arg("-c").arg(site.config()).output().expect("it runs")
}

/// What it prints; it must succeed.
#[track_caller]
pub fn told(site: &Site, args: &[&str]) -> String {
    let done = ask(site, args);
    assert!(done.status.success(), "{args:?}: {done:?}");
    String::from_utf8(done.stdout).expect("text")
}
