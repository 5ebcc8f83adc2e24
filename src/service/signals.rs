//! shell: the signals that ask the gateway to stop or to read again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// How urgently a stop was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The first SIGTERM or SIGINT: finish what is on the road.
    Orderly,
    /// Any further one: leave at once; what is stored stays stored.
    AtOnce,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To end.
    Stop(Stop),
    /// To read again what can be changed while it runs (SIGHUP).
    Reload,
}

/// Listens for SIGTERM, SIGINT and SIGHUP from its making on.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    asked: bool,
}

impl Signals {
    /// Takes the three signals over. Must be called inside a tokio runtime with I/O.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            asked: false,
        })
    }

    /// Waits for the next signal. A call that is dropped loses nothing.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            Some(()) = self.term.recv() => {}
            Some(()) = self.int.recv() => {}
            Some(()) = self.hup.recv() => return Wish::Reload,
        }
        let asked = std::mem::replace(&mut self.asked, true);
        Wish::Stop(if asked { Stop::AtOnce } else { Stop::Orderly })
    }

    /// Waits for the next wish to stop. SIGHUP is none: it is answered with a word in the log. A call that is dropped
    /// loses nothing.
    pub async fn next_stop(&mut self) -> Stop {
        loop {
            match self.next().await {
                Wish::Stop(stop) => return stop,
                Wish::Reload => warn!("SIGHUP was ignored: there is nothing to read again now"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// By the shell's own `kill`: small systems have no other.
    fn send(name: &str) {
        let command = format!("kill -s {name} {}", std::process::id());
        let status = Command::new("sh").args(["-c", &command]).status().expect("a shell runs");
        assert!(status.success());
    }

    #[tokio::test]
    async fn the_first_signal_asks_for_an_orderly_stop_and_the_second_to_leave_at_once() {
        let mut signals = Signals::listen().expect("handlers can be set");
        send("HUP");
        assert_eq!(signals.next().await, Wish::Reload);
        send("HUP");
        send("TERM");
        assert_eq!(signals.next_stop().await, Stop::Orderly);
        send("INT");
        assert_eq!(signals.next_stop().await, Stop::AtOnce);
        send("TERM");
        assert_eq!(signals.next_stop().await, Stop::AtOnce);
    }
}
