//! shell: opens serial ports and says in plain words why one cannot be opened.
#![allow(clippy::disallowed_methods, reason = "opens device files for the port they are part of")]

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use tokio_serial::{ClearBuffer, DataBits, FlowControl, SerialPort, SerialStream, StopBits};

use super::PortError;
use crate::field::{Parity, SerialSettings};

/// What most systems call the group that may use serial ports.
const USUAL_GROUP: &str = "dialout";

/// Opens a serial port for this program alone.
pub(super) fn open(settings: &SerialSettings) -> Result<SerialStream, PortError> {
    let parity = match settings.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let data_bits = if settings.data_bits == 7 { DataBits::Seven } else { DataBits::Eight };
    let stop_bits = if settings.stop_bits == 2 { StopBits::Two } else { StopBits::One };
    let builder = tokio_serial::new(&*settings.path, settings.baud)
        .data_bits(data_bits)
        .parity(parity)
        .stop_bits(stop_bits)
        .flow_control(FlowControl::None);
    let port = SerialStream::open(&builder).map_err(|error| explain(&settings.path, &error))?;
    // What came before the settings were in force means nothing.
    port.clear(ClearBuffer::All).map_err(|error| explain(&settings.path, &error))?;
    Ok(port)
}

fn explain(path: &Arc<str>, error: &tokio_serial::Error) -> PortError {
    let path = Arc::clone(path);
    match error.kind {
        tokio_serial::ErrorKind::NoDevice => PortError::Busy { path },
        tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => PortError::NotFound { path },
        tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            let group = group_of(&path).unwrap_or_else(|| USUAL_GROUP.to_owned());
            PortError::Permission { path, group }
        }
        tokio_serial::ErrorKind::Io(_)
        | tokio_serial::ErrorKind::InvalidInput
        | tokio_serial::ErrorKind::Unknown => {
            PortError::Serial { path, detail: error.to_string().to_lowercase() }
        }
    }
}

/// The name of the group a file belongs to.
fn group_of(path: &str) -> Option<String> {
    let id = std::fs::metadata(path).ok()?.gid().to_string();
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}
