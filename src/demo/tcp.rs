//! shell: devices behind Modbus TCP on loopback.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this shell owns a listening socket and reads the clock its devices live by"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::bank::Bank;
use crate::field::modbus::mbap;

/// The longest frame is 260 bytes.
const READ_BUFFER_LEN: usize = 1024;

/// Devices that wait for a connection.
#[derive(Debug)]
pub(crate) struct Devices {
    socket: TcpListener,
}

impl Devices {
    /// Listens on a free port.
    pub(crate) async fn bind() -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await? })
    }

    /// Where.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Lets `banks` answer, until dropped. One connection at a time, as many a device has it.
    pub(crate) async fn serve(self, mut banks: Vec<Bank>) -> io::Result<()> {
        let begin = Instant::now();
        loop {
            let (stream, _) = self.socket.accept().await?;
            // How a connection ends is the other side's business; the next one comes.
            let _ = answer(stream, &mut banks, begin).await;
        }
    }
}

async fn answer(mut stream: TcpStream, banks: &mut [Bank], begin: Instant) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = mbap::Reader::default();
    let mut buffer = [0; READ_BUFFER_LEN];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        reader.handle_bytes(buffer.get(..count).unwrap_or_default());
        while let Some(frame) = reader.poll_frame().map_err(io::Error::other)? {
            let Some(bank) = banks.iter_mut().find(|bank| bank.unit() == frame.unit) else {
                continue;
            };
            let pdu = bank.handle_request(&frame.pdu, begin.elapsed());
            stream.write_all(&mbap::encode(frame.transaction, frame.unit, &pdu)).await?;
        }
    }
}
