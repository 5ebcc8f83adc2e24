//! shell: a stretch of network between a client and a server, which can fall silent without closing anything.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a quiet stretch looks whether anything has changed.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
struct State {
    hole: AtomicBool,
    gone: AtomicBool,
}

impl State {
    /// Waits while nothing passes; `false` when the proxy is gone.
    fn passes(&self) -> bool {
        while self.hole.load(Ordering::SeqCst) && !self.gone.load(Ordering::SeqCst) {
            thread::sleep(LOOK);
        }
        !self.gone.load(Ordering::SeqCst)
    }
}

/// Forwards TCP connections to a port of 127.0.0.1, as long as it is not told to swallow everything.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards to `target`.
    #[track_caller]
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a listener that does not block");
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || listen(&listener, target, &shared));
        Self { port, state }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nothing passes any more, in either direction, not even the end of a connection. Connections are taken.
    pub fn swallow(&self) {
        self.state.hole.store(true, Ordering::SeqCst);
    }

    /// Everything passes again, what was under way first.
    pub fn pass(&self) {
        self.state.hole.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.gone.store(true, Ordering::SeqCst);
    }
}

fn listen(listener: &TcpListener, target: u16, state: &Arc<State>) {
    while !state.gone.load(Ordering::SeqCst) {
        let Ok((near, _)) = listener.accept() else {
            thread::sleep(LOOK);
            continue;
        };
        let state = state.clone();
        thread::spawn(move || {
            if !state.passes() {
                return;
            }
            let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
            let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
            let state_too = state.clone();
            thread::spawn(move || forward(&near_too, &far_too, &state_too));
            forward(&far, &near, &state);
        });
    }
}

fn forward(mut from: &TcpStream, mut to: &TcpStream, state: &State) {
    let mut buffer = [0; 4096];
    from.set_nonblocking(false).expect("a stream that blocks");
    from.set_read_timeout(Some(LOOK)).expect("a timeout");
    to.set_nodelay(true).expect("no delay");
    loop {
        let read = from.read(&mut buffer);
        if !state.passes() {
            break;
        }
        match read {
            Ok(count) if count > 0 => {
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(_) | Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
