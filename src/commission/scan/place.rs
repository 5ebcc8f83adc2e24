//! core: where a scan takes place, as far as words and configuration need it.

use std::sync::Arc;
use std::time::Duration;

use crate::field::{PortSettings, UnitId};

/// Where a scan takes place.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The key of the bus under `buses`, there already or to be written.
    pub bus: Arc<str>,
    /// The port; of a serial one the line settings do not count.
    pub port: PortSettings,
    /// Whether the bus is configured, and a running gateway is asked.
    pub is_configured: bool,
    /// How long a running bus waits for its units at most.
    pub timeout: Option<Duration>,
    /// Devices of it that are configured, by their unit ids.
    pub known: Vec<(UnitId, Arc<str>)>,
}

/// What lies between here and the units, which decides where a fault may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A serial port of this machine.
    Port,
    /// A converter that passes bytes on to a serial line.
    Converter,
    /// A device in the network, or a Modbus gateway with a line behind it.
    Network,
}

impl Place {
    /// What lies between here and the units.
    #[must_use]
    pub fn way(&self) -> Way {
        match &self.port {
            PortSettings::Rtu(_) | PortSettings::Ascii(_) => Way::Port,
            PortSettings::RtuOverTcp(_) | PortSettings::AsciiOverTcp(_) => Way::Converter,
            PortSettings::Tcp(_) | PortSettings::Tls(..) | PortSettings::Udp(_) => Way::Network,
        }
    }

    /// The key that says the kind of the bus in the configuration.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match &self.port {
            PortSettings::Rtu(_) => "modbus-rtu",
            PortSettings::Ascii(_) => "modbus-ascii",
            PortSettings::Tcp(_) | PortSettings::Tls(..) => "modbus-tcp",
            PortSettings::Udp(_) => "modbus-udp",
            PortSettings::RtuOverTcp(_) => "modbus-rtu-over-tcp",
            PortSettings::AsciiOverTcp(_) => "modbus-ascii-over-tcp",
        }
    }

    /// The path of the port, or host and port.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.port {
            PortSettings::Rtu(serial) | PortSettings::Ascii(serial) => serial.path.to_string(),
            PortSettings::Tcp(tcp)
            | PortSettings::Tls(tcp, _)
            | PortSettings::Udp(tcp)
            | PortSettings::RtuOverTcp(tcp)
            | PortSettings::AsciiOverTcp(tcp)
                if tcp.host.contains(':') =>
            {
                format!("[{}]:{}", tcp.host, tcp.port)
            }
            PortSettings::Tcp(tcp)
            | PortSettings::Tls(tcp, _)
            | PortSettings::Udp(tcp)
            | PortSettings::RtuOverTcp(tcp)
            | PortSettings::AsciiOverTcp(tcp) => format!("{}:{}", tcp.host, tcp.port),
        }
    }

    /// The device that is configured for `unit`.
    #[must_use]
    pub fn known(&self, unit: UnitId) -> Option<&str> {
        self.known.iter().find(|(known, _)| *known == unit).map(|(_, name)| &**name)
    }
}
