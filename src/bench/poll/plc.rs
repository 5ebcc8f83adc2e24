//! shell: Modbus TCP devices for measurements: every register there, answers after a set time and in any number at once,
//! and a log of when they were asked.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this shell owns sockets and reads the clock its devices live by"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep_until;

use crate::field::modbus::mbap;
use crate::field::modbus::pdu::Data;
use crate::field::modbus::server;

/// Some requests at once.
const READ_BUFFER_LEN: usize = 4096;

/// When requests came, shared with the task that takes them.
pub(super) type Asked = Arc<Mutex<Vec<Instant>>>;

/// A device that waits for a connection.
#[derive(Debug)]
pub(super) struct Plc {
    socket: TcpListener,
    delay: Duration,
    asked: Asked,
}

impl Plc {
    /// Listens on a free port; each answer comes `delay` after its request.
    pub(super) async fn bind(delay: Duration) -> io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self { socket, delay, asked: Asked::default() })
    }

    /// Where.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// When it was asked.
    pub(super) fn asked(&self) -> Asked {
        self.asked.clone()
    }

    /// Answers, until dropped.
    pub(super) async fn serve(self) {
        while let Ok((stream, _)) = self.socket.accept().await {
            // How a connection ends is the other side's business; the next one comes.
            let _ = converse(stream, self.delay, &self.asked).await;
        }
    }
}

async fn converse(stream: TcpStream, delay: Duration, asked: &Asked) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let (answers, mut due): (_, UnboundedReceiver<(Instant, Vec<u8>)>) = unbounded_channel();
    let say = async {
        while let Some((at, first)) = due.recv().await {
            if !delay.is_zero() {
                sleep_until(at.into()).await;
            }
            let mut bytes = first;
            // What is due by now goes with it.
            while delay.is_zero()
                && let Ok((_, next)) = due.try_recv()
            {
                bytes.extend(next);
            }
            writer.write_all(&bytes).await?;
        }
        Ok(())
    };
    tokio::try_join!(hear(reader, delay, asked, answers), say).map(|_| ())
}

async fn hear(
    mut reader: OwnedReadHalf,
    delay: Duration,
    asked: &Asked,
    answers: UnboundedSender<(Instant, Vec<u8>)>,
) -> io::Result<()> {
    let mut frames = mbap::Reader::default();
    let mut buffer = [0; READ_BUFFER_LEN];
    loop {
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = Instant::now();
        frames.handle_bytes(buffer.get(..count).unwrap_or_default());
        while let Some(frame) = frames.poll_frame().map_err(io::Error::other)? {
            asked.lock().unwrap_or_else(PoisonError::into_inner).push(now);
            let pdu = server::answer(&frame.pdu, |range| {
                Some(Data::Registers(vec![7; range.count().into()]))
            });
            let answer = mbap::encode(frame.transaction, frame.unit, &pdu);
            let _ = answers.send((now + delay, answer));
        }
    }
}

/// What was asked since the last call.
pub(super) fn take(asked: &Asked) -> Vec<Instant> {
    std::mem::take(&mut asked.lock().unwrap_or_else(PoisonError::into_inner))
}
