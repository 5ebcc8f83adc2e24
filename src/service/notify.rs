//! shell: tells the service manager how the gateway stands (`sd_notify(3)`). Outside systemd nothing happens.

use sd_notify::NotifyState;
use tracing::debug;

/// Tells that the start is complete: the store is open, the listeners listen, the buses are being polled.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells that an orderly stop has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Shows one line of text in `systemctl status`. Line breaks in `text` become spaces: they would end the field.
pub fn status(text: &str) {
    let line = text.replace(['\n', '\r'], " ");
    tell(&[NotifyState::Status(&line)]);
}

/// A service manager that cannot be told is no reason to stop delivering.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "service manager was not told");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn telling_is_harmless_outside_systemd() {
        ready();
        status("polling\n3 units");
        stopping();
    }

    #[test]
    fn the_service_manager_is_told_through_its_socket() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        // The environment of this process is not ours to change: a child runs the test above with a socket.
        let done = Command::new(std::env::current_exe().expect("our own path"))
            .args(["--exact", "service::notify::tests::telling_is_harmless_outside_systemd"])
            .env("NOTIFY_SOCKET", &path)
            .output()
            .expect("the test binary runs");
        assert!(done.status.success(), "{done:?}");
        let receive = || {
            let mut bytes = [0; 128];
            let n = socket.recv(&mut bytes).expect("a message");
            String::from_utf8_lossy(&bytes[..n]).into_owned()
        };
        assert_eq!(receive(), "READY=1\n");
        assert_eq!(receive(), "STATUS=polling 3 units\n");
        assert_eq!(receive(), "STOPPING=1\n");
    }
}
