//! shell: packets over a byte stream, for both ends of a connection. Reads and writes; decides nothing.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{
    CodecError, DecodeOptions, EncodeError, Packet, Version, connect_version, decode, encode,
};

/// Bytes read from the socket at a time.
const READ_BYTES: usize = 16 * 1024;

/// Why no more packets come.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The peer closed the connection.
    #[error("the connection was closed by the other side")]
    Closed,
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes are not MQTT.
    #[error("{0}")]
    Codec(#[from] CodecError),
}

/// Reads packets off a stream.
#[derive(Debug)]
pub struct PacketReader<R> {
    stream: R,
    buffer: BytesMut,
    options: DecodeOptions,
    failed: Option<CodecError>,
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    /// A reader for one connection.
    pub fn new(stream: R, options: DecodeOptions) -> Self {
        Self { stream, buffer: BytesMut::new(), options, failed: None }
    }

    /// Sets the version once CONNECT has told it.
    pub fn set_version(&mut self, version: Version) {
        self.options.version = version;
    }

    /// The version of the bytes: once a CONNECT has named one, even if it was none, that one.
    pub fn version(&self) -> Version {
        self.options.version
    }

    /// The first packet, alone, so that its version can be set before the next one is read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_first(&mut self) -> Result<Packet, ReadError> {
        loop {
            if let Some(named) = connect_version(&self.buffer) {
                self.options.version = named;
            }
            if let Some(packet) = decode(&mut self.buffer, &self.options)? {
                return Ok(packet);
            }
            self.fill().await?;
        }
    }

    /// The first bytes that have arrived, at least one; none of them is taken.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if none came, [`ReadError::Io`].
    pub async fn peek(&mut self) -> Result<&[u8], ReadError> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(&self.buffer)
    }

    /// All packets that have arrived, at least one. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`ReadError`]; packets that came before bad bytes are returned first.
    pub async fn read(&mut self) -> Result<Vec<Packet>, ReadError> {
        if let Some(error) = self.failed.take() {
            return Err(error.into());
        }
        let mut packets = Vec::new();
        loop {
            loop {
                match decode(&mut self.buffer, &self.options) {
                    Ok(Some(packet)) => packets.push(packet),
                    Ok(None) => break,
                    Err(error) if packets.is_empty() => return Err(error.into()),
                    Err(error) => {
                        self.failed = Some(error);
                        break;
                    }
                }
            }
            if !packets.is_empty() {
                return Ok(packets);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), ReadError> {
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(ReadError::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Writes packets to a stream, many at a time.
#[derive(Debug)]
pub struct PacketWriter<W> {
    stream: W,
    buffer: BytesMut,
    version: Version,
    /// Whether the stream may hold bytes back that it has taken, as TLS and WebSocket do until they are flushed.
    unflushed: bool,
}

impl<W: AsyncWrite + Unpin> PacketWriter<W> {
    /// A writer for one connection.
    pub fn new(stream: W, version: Version) -> Self {
        Self { stream, buffer: BytesMut::new(), version, unflushed: false }
    }

    /// Puts a packet behind those that wait.
    ///
    /// # Errors
    /// [`EncodeError`] if the packet cannot be said; nothing is queued then.
    pub fn queue(&mut self, packet: &Packet) -> Result<(), EncodeError> {
        encode(packet, self.version, &mut self.buffer)
    }

    /// Bytes that wait; one at least while the stream has not passed on everything it took.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.buffer.len().max(self.unflushed.into())
    }

    /// Writes some of what waits. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The socket's.
    pub async fn write_some(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            if self.stream.write_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unflushed = true;
        }
        if self.buffer.is_empty() && self.unflushed {
            self.stream.flush().await?;
            self.unflushed = false;
        }
        Ok(())
    }

    /// Writes the first half of the bytes that wait, wherever that may cut a packet.
    ///
    /// # Errors
    /// The socket's.
    pub async fn write_half(&mut self) -> io::Result<()> {
        let mut half = self.buffer.split_to(self.buffer.len() / 2);
        self.stream.write_all_buf(&mut half).await?;
        self.stream.flush().await
    }

    /// Writes everything that waits.
    ///
    /// # Errors
    /// The socket's.
    pub async fn write_all(&mut self) -> io::Result<()> {
        while self.queued() > 0 {
            self.write_some().await?;
        }
        Ok(())
    }

    /// Writes everything that waits and says that nothing more follows.
    ///
    /// # Errors
    /// The socket's.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.write_all().await?;
        self.stream.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// A stream that takes bytes and passes them on when it is flushed for the second time.
    #[derive(Debug, Default)]
    struct Hesitant {
        held: Vec<u8>,
        flushes: u32,
        out: Vec<u8>,
    }

    impl AsyncWrite for Hesitant {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            if self.flushes < 2 {
                return Poll::Pending;
            }
            self.out = std::mem::take(&mut self.held);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_a_stream_holds_back_waits_until_it_is_flushed() {
        let mut writer = PacketWriter::new(Hesitant::default(), Version::V5);
        writer.queue(&Packet::PingReq).expect("it can be said");
        let mut cx = Context::from_waker(Waker::noop());
        for (left, out) in [(1, 0), (0, 2)] {
            // Dropped at the end of the turn, as a `select!` drops what is not ready.
            let mut write = Box::pin(writer.write_some());
            assert_eq!(write.as_mut().poll(&mut cx).is_pending(), left > 0);
            drop(write);
            assert_eq!((writer.queued(), writer.stream.out.len()), (left, out));
        }
    }
}
