//! shell: the stretch of network between the gateway and the upstream, which can be cut.
#![allow(clippy::disallowed_types, reason = "this shell owns sockets")]

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::tap::Tap;
use crate::mqtt::{DecodeOptions, Version, decode};

/// Bytes carried at a time.
const READ_BYTES: usize = 16 * 1024;
/// The largest packet that is listened to.
const PACKET_BYTES_MAX: u32 = 64 * 1024;

/// What befell the wire.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    cuts: u64,
    is_dark: bool,
}

/// Forwards connections to a port of 127.0.0.1.
#[derive(Debug)]
pub(super) struct Wire {
    port: u16,
    state: watch::Sender<State>,
    tap: Arc<Mutex<Tap>>,
}

impl Wire {
    /// Listens on a free port of 127.0.0.1 until it is dropped; `version` is what is spoken over it.
    pub(super) async fn start(target: u16, version: Version) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (state, seen) = watch::channel(State::default());
        let tap = Arc::new(Mutex::new(Tap::default()));
        let options = DecodeOptions { version, packet_bytes_max: PACKET_BYTES_MAX };
        let of_tap = tap.clone();
        let ear = move || Ear { bytes: BytesMut::new(), options, tap: of_tap.clone() };
        tokio::spawn(listen(listener, target, seen, ear));
        Ok(Self { port, state, tap })
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// How often the upstream published `number` again although it had been told that it arrived.
    pub(super) fn repeated(&self, number: u64) -> u64 {
        self.tap.lock().unwrap_or_else(PoisonError::into_inner).repeated(number)
    }

    /// Ends every connection; what was under way is lost. New ones pass.
    pub(super) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// While it is dark every connection ends as soon as it is made.
    pub(super) fn set_dark(&self, is_dark: bool) {
        self.state.send_modify(|state| state.is_dark = is_dark);
    }
}

async fn listen(
    listener: TcpListener,
    target: u16,
    mut state: watch::Receiver<State>,
    ear: impl Fn() -> Ear,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { continue };
                if !state.borrow().is_dark {
                    connections.spawn(forward(near, target, state.clone(), ear()));
                }
            }
            Some(_) = connections.join_next() => {}
            gone = gone(&mut state) => return gone,
        }
    }
}

/// Completes when the wire is dropped.
async fn gone(state: &mut watch::Receiver<State>) {
    while state.changed().await.is_ok() {}
}

async fn forward(near: TcpStream, target: u16, mut state: watch::Receiver<State>, ear: Ear) {
    let cuts = state.borrow().cuts;
    let cut = state.wait_for(|state| state.cuts != cuts || state.is_dark);
    let carry = async {
        let far = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_read, near_write), (far_read, far_write)) =
            (near.into_split(), far.into_split());
        tokio::select! {
            done = copy(near_read, far_write, None) => done,
            done = copy(far_read, near_write, Some(ear)) => done,
        }
    };
    tokio::select! {
        _ = carry => {}
        _ = cut => {}
    }
}

/// Carries bytes until one side ends; both ways end together.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut ear: Option<Ear>,
) -> io::Result<()> {
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    while from.read_buf(&mut bytes).await? > 0 {
        if let Some(ear) = &mut ear {
            ear.hear(&bytes);
        }
        to.write_all_buf(&mut bytes).await?;
        bytes.reserve(READ_BYTES);
    }
    Ok(())
}

/// Takes the packets out of what the upstream sends on one connection.
struct Ear {
    bytes: BytesMut,
    options: DecodeOptions,
    tap: Arc<Mutex<Tap>>,
}

impl Ear {
    fn hear(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // What is not MQTT is the receiver's to complain of.
        while let Ok(Some(packet)) = decode(&mut self.bytes, &self.options) {
            let mut tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner);
            tap.handle_packet(&packet);
        }
    }
}
