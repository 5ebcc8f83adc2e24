//! core: what there is to see of a bus.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::account::{DeviceTally, PortTally, Tally};
use super::ring::RingCopy;
use super::traffic::Framing;
use crate::field::modbus::known::{Learnt, Lesson};
use crate::field::{Hole, LinePort, Parity, PortSettings, SerialSettings, TcpSettings};

/// What an onlooker is shown of a bus.
#[derive(Debug, Clone)]
pub struct BusView {
    /// Its port, as a person calls it: `/dev/ttyUSB0, 9600 baud, 8E1`.
    pub port_name: String,
    /// Whether that is open.
    pub port: PortTally,
    /// How the bus did.
    pub tally: Tally,
    /// Its devices.
    pub devices: Vec<DeviceView>,
    /// What follows from all of it, in plain words: what is seen, the likely cause, what to do.
    pub hints: Vec<String>,
    /// How frames are wrapped.
    pub framing: Framing,
    /// What passed lately, if that was asked for.
    pub frames: Option<RingCopy>,
}

/// What there is to see of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceView {
    /// Its name.
    pub name: Arc<str>,
    /// Its unit id; `None` where there are none.
    pub unit: Option<u8>,
    /// How it did.
    pub tally: DeviceTally,
    /// What it was found to allow, as it is written under the device in the configuration.
    pub learnt: Vec<String>,
    /// Its groups of points: the period, and how many reads were left out because the bus or the device was too slow.
    pub groups: Vec<(Duration, u64)>,
}

/// What was learnt, as it is written under the device.
pub(in crate::field) fn learnt(learnt: &Learnt) -> Vec<String> {
    let mut lessons = Vec::new();
    for (longest, is_bits) in [(&learnt.registers, false), (&learnt.bits, true)] {
        if longest.refused.is_some() && longest.answered > 0 {
            lessons.push(Lesson::Longest { is_bits, most: longest.answered });
        }
    }
    for refused in &learnt.refused {
        let (table, address, count) = (refused.table(), refused.address(), refused.count());
        lessons.push(Lesson::Hole(Hole { table, address, count }));
    }
    for ((table, address), (left_end, _)) in &learnt.cuts {
        let (table, address) = (*table, *address);
        lessons.push(match u16::try_from(*left_end) {
            Ok(from) if from < address => {
                Lesson::Hole(Hole { table, address: from, count: address - from })
            }
            Ok(_) | Err(_) => Lesson::Border { table, address },
        });
    }
    lessons.iter().map(ToString::to_string).collect()
}

impl fmt::Display for SerialSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        let Self { path, baud, data_bits, stop_bits, .. } = self;
        write!(f, "{path}, {baud} baud, {data_bits}{parity}{stop_bits}")
    }
}

impl fmt::Display for TcpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for PortSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtu(serial) => write!(f, "Modbus RTU at {serial}"),
            Self::Ascii(serial) => write!(f, "Modbus ASCII at {serial}"),
            Self::Tcp(tcp) => write!(f, "Modbus TCP at {tcp}"),
            Self::Tls(tcp, _) => write!(f, "Modbus TCP in TLS at {tcp}"),
            Self::Udp(udp) => write!(f, "Modbus over UDP at {udp}"),
            Self::RtuOverTcp(tcp) => write!(f, "Modbus RTU over TCP at {tcp}"),
            Self::AsciiOverTcp(tcp) => write!(f, "Modbus ASCII over TCP at {tcp}"),
        }
    }
}

impl fmt::Display for LinePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "line at {serial}"),
            Self::Tcp(tcp) => write!(f, "line over TCP at {tcp}"),
        }
    }
}
