//! shell: has the kernel switch the direction of an RS-485 port.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::ioctl::{Getter, Setter, ioctl};

use crate::field::{Level, Rs485Settings};

/// `TIOCGRS485` and `TIOCSRS485` of `asm-generic/ioctls.h`, which holds for x86, ARM and RISC-V.
const GET: rustix::ioctl::Opcode = 0x542e;
const SET: rustix::ioctl::Opcode = 0x542f;

const ENABLED: u32 = 1;
const RTS_ON_SEND: u32 = 1 << 1;
const RTS_AFTER_SEND: u32 = 1 << 2;

/// `struct serial_rs485` of `linux/serial.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct SerialRs485 {
    flags: u32,
    /// Milliseconds.
    delay_rts_before_send: u32,
    /// Milliseconds.
    delay_rts_after_send: u32,
    padding: [u32; 5],
}

const _: () = assert!(size_of::<SerialRs485>() == 32, "as the kernel has it");

impl From<Rs485Settings> for SerialRs485 {
    fn from(settings: Rs485Settings) -> Self {
        let level = match settings.rts_on_send {
            Level::High => RTS_ON_SEND,
            Level::Low => RTS_AFTER_SEND,
        };
        let ms = |pause: Duration| u32::try_from(pause.as_millis()).unwrap_or(u32::MAX);
        Self {
            flags: ENABLED | level,
            delay_rts_before_send: ms(settings.delay_before),
            delay_rts_after_send: ms(settings.delay_after),
            padding: [0; 5],
        }
    }
}

/// Switches it on. A driver that takes the request and does not know RS-485 is told apart by what it says afterwards.
#[allow(unsafe_code, reason = "no crate of ours wraps these two requests")]
pub(super) fn switch_on(port: &impl AsRawFd, settings: Rs485Settings) -> io::Result<()> {
    // SAFETY: the file is open as long as `port` is borrowed. Both requests take a pointer to a `struct serial_rs485`,
    // of which `SerialRs485` has the layout.
    let taken = unsafe {
        let port = BorrowedFd::borrow_raw(port.as_raw_fd());
        ioctl(port, Setter::<SET, SerialRs485>::new(settings.into()))?;
        ioctl(port, Getter::<GET, SerialRs485>::new())?
    };
    if taken.flags & ENABLED == 0 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the driver left it off"));
    }
    Ok(())
}
