//! shell: the bytes of MQTT in the binary frames of a WebSocket. A packet may span frames and a frame hold several (MQTT 5.0
//! section 6).
#![allow(clippy::disallowed_methods, reason = "this shell owns a stream")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::settings::Origins;
use super::upgrade::{HEAD_BYTES_MAX, Upgrade, judge};

/// Bytes read from the socket at a time; each connection holds a buffer of this size.
const READ_BYTES: usize = 4 * 1024;
/// Bytes of one frame that is sent.
const FRAME_BYTES: usize = 64 * 1024;
/// How long a client that is refused may take to read why.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    /// The request is not what it should be; the client has been told.
    #[error("{0}")]
    Refused(String),
    /// The connection ended before the request did.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A WebSocket as a stream of bytes.
#[derive(Debug)]
pub(super) struct WebSocket<S> {
    frames: WebSocketStream<S>,
    /// What has come of a frame and has not been read.
    arrived: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Reads the request and answers it. Messages of more than `message_bytes_max` bytes end the connection later on.
    ///
    /// # Errors
    /// [`UpgradeError`].
    pub(super) async fn accept(
        mut stream: S,
        origins: &Origins,
        message_bytes_max: usize,
    ) -> Result<Self, UpgradeError> {
        let mut bytes = BytesMut::with_capacity(1024);
        let (answer, head_bytes) = loop {
            match judge(&bytes, origins) {
                Upgrade::Accepted { answer, head_bytes } => break (answer, head_bytes),
                Upgrade::Refused { answer, why } => {
                    refuse(stream, &answer).await;
                    return Err(UpgradeError::Refused(why));
                }
                Upgrade::Incomplete => {}
            }
            bytes.reserve(1024);
            let mut room = (&mut stream).take((HEAD_BYTES_MAX - bytes.len()) as u64);
            if room.read_buf(&mut bytes).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        };
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            // Each write goes out as a frame at once: the packets in it were gathered before.
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let begun = bytes.split_off(head_bytes).to_vec();
        let frames =
            WebSocketStream::from_partially_read(stream, begun, Role::Server, Some(config)).await;
        Ok(Self { frames, arrived: Bytes::new() })
    }
}

/// Says why and waits until the client has read it: a close with unread bytes would take the answer back.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &str) {
    let farewell = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // A client that does not listen is left without the answer.
    let _ = timeout(LAST_WORDS_MAX, farewell).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.arrived.is_empty() {
            match ready!(Pin::new(&mut self.frames).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.arrived = bytes,
                // [MQTT-6.0.0-1]: anything but binary data ends the connection.
                Some(Ok(Message::Text(_))) => {
                    let text = "a WebSocket text frame; MQTT is sent in binary frames";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                // Pings are answered below; a close is answered there as well before the end comes.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.arrived.len().min(room.remaining());
        room.put_slice(&self.arrived[..count]);
        self.arrived.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Ready once the frame before is on its way: at most one frame waits here.
        ready!(Pin::new(&mut self.frames).poll_ready(cx)).map_err(into_io)?;
        let count = bytes.len().min(FRAME_BYTES);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..count]));
        Pin::new(&mut self.frames).start_send(message).map_err(into_io)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_flush(cx).map_err(into_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_close(cx).map_err(into_io)
    }
}

fn into_io(error: Error) -> io::Error {
    if let Error::Io(error) = error {
        return error;
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}
