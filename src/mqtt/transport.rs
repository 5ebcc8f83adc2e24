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
    named: Option<Version>,
    failed: Option<CodecError>,
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    /// A reader for one connection.
    pub fn new(stream: R, options: DecodeOptions) -> Self {
        Self { stream, buffer: BytesMut::new(), options, named: None, failed: None }
    }

    /// Sets the version once CONNECT has told it.
    pub fn set_version(&mut self, version: Version) {
        self.options.version = version;
    }

    /// The version the first packet names, also if nothing else in it is right: `None` if it is no CONNECT or names none
    /// of ours.
    #[must_use]
    pub fn named_version(&self) -> Option<Version> {
        self.named
    }

    /// The first packet, alone, so that its version can be set before the next one is read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_first(&mut self) -> Result<Packet, ReadError> {
        loop {
            self.named = connect_version(&self.buffer);
            if let Some(packet) = decode(&mut self.buffer, &self.options)? {
                return Ok(packet);
            }
            self.fill().await?;
        }
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
}

impl<W: AsyncWrite + Unpin> PacketWriter<W> {
    /// A writer for one connection.
    pub fn new(stream: W, version: Version) -> Self {
        Self { stream, buffer: BytesMut::new(), version }
    }

    /// Puts a packet behind those that wait.
    ///
    /// # Errors
    /// [`EncodeError`] if the packet cannot be said; nothing is queued then.
    pub fn queue(&mut self, packet: &Packet) -> Result<(), EncodeError> {
        encode(packet, self.version, &mut self.buffer)
    }

    /// Bytes that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.buffer.len()
    }

    /// Writes some of what waits. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The socket's.
    pub async fn write_some(&mut self) -> io::Result<()> {
        let written = self.stream.write_buf(&mut self.buffer).await?;
        if written == 0 && !self.buffer.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if self.buffer.is_empty() {
            self.stream.flush().await?;
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
        while !self.buffer.is_empty() {
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
