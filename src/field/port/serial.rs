//! shell: opens serial ports and says in plain words why one cannot be opened.
#![allow(clippy::disallowed_methods, reason = "opens device files for the port they are part of")]

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use tokio_serial::{ClearBuffer, DataBits, FlowControl, SerialPort, SerialStream, StopBits};

use super::{PortError, rs485};
use crate::field::{Parity, SerialSettings};

/// What most systems call the group that may use serial ports.
const USUAL_GROUP: &str = "dialout";
/// Where udev gives adapters names that stay.
const BY_ID: &str = "/dev/serial/by-id";
/// How many of them are shown.
const NAMES_MAX: usize = 3;

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
    if let Some(rs485) = settings.rs485 {
        rs485::switch_on(&port, rs485)
            .map_err(|source| PortError::Rs485 { path: Arc::clone(&settings.path), source })?;
    }
    Ok(port)
}

/// Whether `error` is what the system says of a port whose device is not there any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| [Errno::IO, Errno::NXIO, Errno::NODEV].contains(&errno))
}

fn explain(path: &Arc<str>, error: &tokio_serial::Error) -> PortError {
    let path = Arc::clone(path);
    match error.kind {
        tokio_serial::ErrorKind::NoDevice => {
            let holder = format!("another program (`sudo fuser -v {path}` shows which)");
            PortError::Busy { path, holder }
        }
        tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => {
            PortError::NotFound { there: adapters(Path::new(BY_ID)), path }
        }
        tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            PortError::Permission { remedy: permission(&path), path }
        }
        tokio_serial::ErrorKind::Io(_)
        | tokio_serial::ErrorKind::InvalidInput
        | tokio_serial::ErrorKind::Unknown => {
            PortError::Serial { path, detail: error.to_string().to_lowercase() }
        }
    }
}

/// Which adapters are plugged in, by the names that stay.
fn adapters(by_id: &Path) -> String {
    let entries = fs::read_dir(by_id).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|it| it.path().display().to_string()).collect();
    names.sort_unstable();
    match &names[..] {
        [] => "is the adapter plugged in?".to_owned(),
        [first @ .., _] if names.len() > NAMES_MAX => {
            let shown = first.get(..NAMES_MAX).unwrap_or_default().join(", ");
            format!("there are {shown} and {} more", names.len() - NAMES_MAX)
        }
        _ => format!("there is {}", names.join(" and ")),
    }
}

/// How the user of this process may be let in.
fn permission(path: &str) -> String {
    let Ok(file) = fs::metadata(path) else {
        return format!("the user of this service must be in the group {USUAL_GROUP}");
    };
    let group = name_of("/etc/group", file.gid()).unwrap_or_else(|| file.gid().to_string());
    let uid = rustix::process::geteuid().as_raw();
    let user = name_of("/etc/passwd", uid).unwrap_or_else(|| uid.to_string());
    let is_open_to_group = file.mode() & 0o060 == 0o060;
    if file.gid() == 0 || !is_open_to_group {
        return format!(
            "it is not open to a group of its own; `sudo chgrp {USUAL_GROUP} {path} && sudo chmod 660 {path}` \
             lets in {USUAL_GROUP} until the next start, a udev rule for good"
        );
    }
    format!(
        "it belongs to the group {group}, and {user} is not in it; `sudo usermod -aG {group} {user}` and log in anew, \
         or, as a service, `SupplementaryGroups={group}` in its unit"
    )
}

/// The name that a line of `/etc/passwd` or `/etc/group` has for an id.
fn name_of(file: &str, id: u32) -> Option<String> {
    let lines = fs::read_to_string(file).ok()?;
    lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_not_there_brings_the_names_of_those_that_are() {
        let by_id = tempfile::tempdir().expect("a directory");
        assert_eq!(adapters(by_id.path()), "is the adapter plugged in?");
        for name in ["usb-1", "usb-2", "usb-3", "usb-4", "usb-5"] {
            fs::write(by_id.path().join(name), "").expect("a file");
            let words = adapters(by_id.path());
            assert!(words.starts_with("there ") && words.contains("/usb-1"), "{words}");
        }
        assert!(adapters(by_id.path()).ends_with("/usb-3 and 2 more"));
    }

    #[test]
    fn whoever_is_kept_out_is_told_which_group_is_let_in() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a plain path");
        assert!(permission(path).contains("udev"), "nobody but the owner may");
        assert!(permission("/nowhere").contains(USUAL_GROUP));
    }
}
