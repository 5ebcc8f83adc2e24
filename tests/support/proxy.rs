//! shell: a stretch of network between a client and a server, which can fall silent without closing anything.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// How often a quiet stretch looks whether anything has changed.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
struct State {
    /// From the client to the server nothing passes.
    swallows_up: AtomicBool,
    /// From the server to the client nothing passes.
    swallows_down: AtomicBool,
    /// Something from the server was held back since then.
    holds_down: AtomicBool,
    /// How often everything was cut.
    cuts: AtomicU32,
    gone: AtomicBool,
}

/// One way of one connection.
#[derive(Debug, Clone)]
struct Way {
    state: Arc<State>,
    is_up: bool,
    /// The cuts before it.
    cuts: u32,
}

impl Way {
    /// Waits while nothing passes; `false` when the connection was cut.
    fn passes(&self) -> bool {
        let state = &self.state;
        let hole = if self.is_up { &state.swallows_up } else { &state.swallows_down };
        let lives =
            || !state.gone.load(Ordering::SeqCst) && state.cuts.load(Ordering::SeqCst) == self.cuts;
        while hole.load(Ordering::SeqCst) && lives() {
            thread::sleep(LOOK);
        }
        lives()
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
        self.swallow_up();
        self.swallow_down();
    }

    /// Nothing passes any more from the client to the server.
    pub fn swallow_up(&self) {
        self.state.swallows_up.store(true, Ordering::SeqCst);
    }

    /// Nothing passes any more from the server to the client.
    pub fn swallow_down(&self) {
        self.state.holds_down.store(false, Ordering::SeqCst);
        self.state.swallows_down.store(true, Ordering::SeqCst);
    }

    /// Whether the server has said something that did not pass.
    pub fn holds_down(&self) -> bool {
        self.state.holds_down.load(Ordering::SeqCst)
    }

    /// Everything passes again, what was under way first.
    pub fn pass(&self) {
        self.state.swallows_up.store(false, Ordering::SeqCst);
        self.state.swallows_down.store(false, Ordering::SeqCst);
    }

    /// Ends every connection there is; what was under way on it is lost. New ones pass.
    pub fn cut(&self) {
        self.state.cuts.fetch_add(1, Ordering::SeqCst);
        self.pass();
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
        let cuts = state.cuts.load(Ordering::SeqCst);
        let up = Way { state: state.clone(), is_up: true, cuts };
        let down = Way { is_up: false, ..up.clone() };
        thread::spawn(move || {
            if !up.passes() {
                return;
            }
            let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
            let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
            thread::spawn(move || forward(&near_too, &far_too, &up));
            forward(&far, &near, &down);
        });
    }
}

fn forward(mut from: &TcpStream, mut to: &TcpStream, way: &Way) {
    let mut buffer = [0; 4096];
    from.set_nonblocking(false).expect("a stream that blocks");
    from.set_read_timeout(Some(LOOK)).expect("a timeout");
    to.set_nodelay(true).expect("no delay");
    loop {
        let read = from.read(&mut buffer);
        if matches!(read, Ok(1..)) && !way.is_up && way.state.swallows_down.load(Ordering::SeqCst) {
            way.state.holds_down.store(true, Ordering::SeqCst);
        }
        if !way.passes() {
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
