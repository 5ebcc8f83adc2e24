//! shell: a stretch of network that notes every byte that passes, for a capture file.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::pcap::{From, Pcap};

/// What passed on one connection, in its order.
type Passed = Vec<(From, Vec<u8>)>;

/// Forwards TCP connections to a port of 127.0.0.1 and keeps what passes.
#[derive(Debug)]
pub struct Capture {
    port: u16,
    connections: Arc<Mutex<Vec<Passed>>>,
}

impl Capture {
    /// Listens on a free port of 127.0.0.1 and forwards to `target`.
    #[track_caller]
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let shared = connections.clone();
        // It ends with the test's process.
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
                let at = {
                    let mut all = shared.lock().expect("nobody failed");
                    all.push(Passed::new());
                    all.len() - 1
                };
                for (from, to, who) in [(&near, &far, From::Client), (&far, &near, From::Server)] {
                    let (from, to) = (from.try_clone(), to.try_clone());
                    let (Ok(from), Ok(to), shared) = (from, to, shared.clone()) else { return };
                    thread::spawn(move || forward(from, to, who, at, &shared));
                }
            }
        });
        Self { port, connections }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All that has passed so far, connection by connection.
    pub fn passed(&self) -> Vec<Passed> {
        self.connections.lock().expect("nobody failed").clone()
    }

    /// Puts it into a capture file.
    pub fn add_to(&self, pcap: &mut Pcap) {
        for passed in self.passed() {
            pcap.add(passed.iter().map(|(from, bytes)| (*from, bytes.as_slice())));
        }
    }
}

fn forward(
    mut from: TcpStream,
    mut to: TcpStream,
    who: From,
    at: usize,
    connections: &Mutex<Vec<Passed>>,
) {
    let mut buffer = [0; 4096];
    let _ = to.set_nodelay(true);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        // Before it leaves: whoever has the answer finds it here.
        connections.lock().expect("nobody failed")[at].push((who, buffer[..count].to_vec()));
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
