//! shell: devices at one end of a serial line: a pseudo-terminal with the time its bytes would take on a wire.
#![allow(clippy::disallowed_methods, reason = "this shell waits for the line and its clock")]

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep_until, timeout};
use tokio_serial::{SerialPort as _, SerialStream};

use super::bank::Bank;
use super::pace::Transmission;
use crate::field::SerialSettings;
use crate::field::modbus::rtu;
use crate::field::modbus::server::Listener;

/// Silence after which bytes begin a frame; more than 3.5 characters because a busy machine hands them over late.
const SILENCE: Duration = Duration::from_millis(50);
/// The longest frame is 256 bytes.
const READ_BUFFER_LEN: usize = 256;

/// A line with nobody on it yet.
#[derive(Debug)]
pub(crate) struct Line {
    port: SerialStream,
    path: String,
    /// The gateway's end, kept open: a line that hangs up when the gateway closes it would count as readable ever after.
    _other: SerialStream,
}

impl Line {
    /// A new pseudo-terminal.
    pub(crate) fn open() -> io::Result<Self> {
        let (port, other) = SerialStream::pair().map_err(io::Error::from)?;
        let path =
            other.name().ok_or_else(|| io::Error::other("a pseudo-terminal without a name"))?;
        Ok(Self { port, path, _other: other })
    }

    /// The gateway's end of the line.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The devices' end, for whoever keeps the time of the wire.
    pub(crate) fn port(&mut self) -> &mut (impl AsyncRead + AsyncWrite + Unpin + use<>) {
        &mut self.port
    }

    /// Lets `banks` answer at the pace of `settings`, until dropped.
    pub(super) async fn serve(
        mut self,
        mut banks: Vec<Bank>,
        settings: SerialSettings,
    ) -> io::Result<()> {
        let begin = Instant::now();
        let mut listener = Listener::default();
        let mut buffer = [0; READ_BUFFER_LEN];
        loop {
            let Ok(count) = timeout(SILENCE, self.port.read(&mut buffer)).await else {
                listener.handle_silence();
                continue;
            };
            let count = count?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            let heard = Instant::now();
            listener.handle_bytes(buffer.get(..count).unwrap_or_default());
            while let Some((unit, request)) = listener.poll_request() {
                let Some(bank) = banks.iter_mut().find(|bank| bank.unit() == unit) else {
                    continue;
                };
                let answer = rtu::encode(unit, &bank.handle_request(&request, heard - begin));
                let request_len = u32::try_from(request.len()).unwrap_or_default() + 3;
                let answer = Transmission::new(&settings, answer, request_len, heard);
                self.send(answer).await?;
            }
        }
    }

    async fn send(&mut self, mut answer: Transmission) -> io::Result<()> {
        while let Some(next) = answer.poll_timeout() {
            sleep_until(next.into()).await;
            self.port.write_all(answer.poll_bytes(Instant::now())).await?;
        }
        Ok(())
    }
}
