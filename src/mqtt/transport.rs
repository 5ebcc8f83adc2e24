//! shell: packets over a byte stream, for both ends of a connection. Reads and writes; decides nothing.
//!
//! Thousands of connections are idle most of the time, so none of them keeps a buffer: what is read lies in one that all
//! connections of a thread share until it has become packets, and what is written in one that is lent for as long as
//! something waits.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::{
    CodecError, DecodeOptions, EncodeError, Packet, Version, connect_version, decode_front, encode,
};

/// Bytes read from the socket at a time.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of a packet, to guess how many there are.
const PACKET_BYTES_USUAL: usize = 64;
/// Buffers for writing that lie ready to be lent, at most, and how large one of them may be.
const SPARE_MAX: usize = 8;
const SPARE_BYTES_MAX: usize = 512 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

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

/// How much has gone one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Carried {
    /// What has come since this was last asked.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// Reads packets off a stream.
#[derive(Debug)]
pub struct PacketReader<R> {
    stream: R,
    /// What has come and is no whole packet.
    rest: Vec<u8>,
    /// There may be whole packets in it all the same: nobody has looked.
    unseen: bool,
    options: DecodeOptions,
    failed: Option<CodecError>,
    carried: Carried,
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    /// A reader for one connection.
    pub fn new(stream: R, options: DecodeOptions) -> Self {
        Self {
            stream,
            rest: Vec::new(),
            unseen: false,
            options,
            failed: None,
            carried: Carried::default(),
        }
    }

    /// Sets the version once CONNECT has told it.
    pub fn set_version(&mut self, version: Version) {
        self.options.version = version;
    }

    /// Sets the largest packet that is taken from here on, in bytes.
    pub fn set_packet_bytes_max(&mut self, packet_bytes_max: u32) {
        self.options.packet_bytes_max = packet_bytes_max;
    }

    /// The version of the bytes: once a CONNECT has named one, even if it was none, that one.
    pub fn version(&self) -> Version {
        self.options.version
    }

    /// What has come; whoever counts takes it out.
    pub fn carried(&mut self) -> &mut Carried {
        &mut self.carried
    }

    /// The first packet, alone, so that its version can be set before the next one is read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_first(&mut self) -> Result<Packet, ReadError> {
        loop {
            if let Some(named) = connect_version(&self.rest) {
                self.options.version = named;
            }
            let mut rest = &self.rest[..];
            if let Some(packet) = decode_front(&mut rest, &self.options)? {
                self.rest = rest.to_vec();
                self.carried.packets += 1;
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
        if self.rest.is_empty() {
            self.fill().await?;
        }
        Ok(&self.rest)
    }

    async fn fill(&mut self) -> Result<(), ReadError> {
        let Self { stream, rest, unseen, carried, .. } = self;
        poll_fn(|cx| {
            poll_bytes(stream, cx, &[], |came| {
                carried.bytes += came.len() as u64;
                rest.extend_from_slice(came);
                *unseen = true;
            })
        })
        .await
    }

    /// All packets that have arrived, at least one. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`ReadError`]; packets that came before bad bytes are returned first.
    pub async fn read(&mut self) -> Result<Vec<Packet>, ReadError> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// As [`Self::read`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Packet>, ReadError>> {
        let mut packets = Vec::new();
        while packets.is_empty() {
            let Self { stream, rest, unseen, options, failed, carried } = self;
            if let Some(error) = failed.take() {
                return Poll::Ready(Err(error.into()));
            }
            let mut take = |mut bytes: &[u8]| {
                *failed = take_packets(&mut bytes, options, &mut packets);
                bytes.to_vec()
            };
            if std::mem::take(unseen) {
                *rest = take(rest);
            } else if rest.len() <= READ_BYTES / 2 {
                // It goes in front of what comes, as if it had not come before.
                let mut left = None;
                let before = rest.len();
                ready!(poll_bytes(stream, cx, rest, |came| {
                    carried.bytes += (came.len() - before) as u64;
                    left = Some(take(came));
                }))?;
                *rest = left.unwrap_or_default();
            } else {
                ready!(poll_bytes(stream, cx, &[], |came| {
                    carried.bytes += came.len() as u64;
                    rest.extend_from_slice(came);
                }))?;
                *unseen = true;
            }
        }
        self.carried.packets += packets.len() as u64;
        Poll::Ready(Ok(packets))
    }
}

/// Hands what has come behind `before`, at least a byte, to `take`.
fn poll_bytes<R: AsyncRead + Unpin>(
    stream: &mut R,
    cx: &mut Context<'_>,
    before: &[u8],
    take: impl FnOnce(&[u8]),
) -> Poll<Result<(), ReadError>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut read = ReadBuf::new(scratch);
        read.put_slice(before);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        if read.filled().len() == before.len() {
            return Poll::Ready(Err(ReadError::Closed));
        }
        take(read.filled());
        Poll::Ready(Ok(()))
    })
}

fn take_packets(
    bytes: &mut &[u8],
    options: &DecodeOptions,
    packets: &mut Vec<Packet>,
) -> Option<CodecError> {
    packets.reserve(bytes.len() / PACKET_BYTES_USUAL + 1);
    loop {
        match decode_front(bytes, options) {
            Ok(Some(packet)) => packets.push(packet),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// Writes packets to a stream, many at a time.
#[derive(Debug)]
pub struct PacketWriter<W> {
    stream: W,
    /// Lent while something waits in it.
    buffer: BytesMut,
    /// How much of it has been written.
    written: usize,
    version: Version,
    /// Whether the stream may hold bytes back that it has taken, as TLS and WebSocket do until they are flushed.
    unflushed: bool,
    carried: Carried,
}

impl<W> PacketWriter<W> {
    /// A writer for one connection.
    pub fn new(stream: W, version: Version) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            written: 0,
            version,
            unflushed: false,
            carried: Carried::default(),
        }
    }

    /// Puts a packet behind those that wait.
    ///
    /// # Errors
    /// [`EncodeError`] if the packet cannot be said; nothing is queued then.
    pub fn queue(&mut self, packet: &Packet) -> Result<(), EncodeError> {
        if self.buffer.capacity() == 0 {
            self.buffer = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        } else if self.written > self.buffer.len() / 2 {
            let left = self.buffer.len() - self.written;
            self.buffer.copy_within(self.written.., 0);
            self.buffer.truncate(left);
            self.written = 0;
        }
        encode(packet, self.version, &mut self.buffer)?;
        self.carried.packets += 1;
        Ok(())
    }

    /// Packets that were queued and bytes that were written; whoever counts takes it out.
    pub fn carried(&mut self) -> &mut Carried {
        &mut self.carried
    }

    /// Bytes that wait; one at least while the stream has not passed on everything it took.
    #[must_use]
    pub fn queued(&self) -> usize {
        (self.buffer.len() - self.written).max(self.unflushed.into())
    }

    fn give_back(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.written = 0;
        buffer.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX && (1..=SPARE_BYTES_MAX).contains(&buffer.capacity()) {
                spare.push(buffer);
            }
        });
    }
}

impl<W: AsyncWrite + Unpin> PacketWriter<W> {
    /// Writes some of what waits. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The socket's.
    pub async fn write_some(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write_some(cx)).await
    }

    /// As [`Self::write_some`].
    ///
    /// # Errors
    /// As [`Self::write_some`].
    pub fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = self.buffer.get(self.written..).unwrap_or_default();
        if !waiting.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            self.carried.bytes += written as u64;
            self.unflushed = true;
        }
        if self.written >= self.buffer.len() {
            self.give_back();
            if self.unflushed {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                self.unflushed = false;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the first half of the bytes that wait, wherever that may cut a packet.
    ///
    /// # Errors
    /// The socket's.
    pub async fn write_half(&mut self) -> io::Result<()> {
        let half = self.written + (self.buffer.len() - self.written) / 2;
        self.stream.write_all(self.buffer.get(self.written..half).unwrap_or_default()).await?;
        self.written = half;
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

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::model::{QoS, TopicName};
    use crate::mqtt::Publish;

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

    #[tokio::test]
    async fn the_same_packets_come_out_wherever_the_stream_is_cut() {
        let payloads = [0, 3, READ_BYTES / 3, 3 * READ_BYTES, 5];
        let mut writer = PacketWriter::new(Vec::new(), Version::V311);
        writer.queue(&Packet::PingReq).expect("it can be said");
        for length in payloads {
            let publish = Publish {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: TopicName::new("a").ok(),
                packet_id: None,
                payload: vec![7; length].into(),
                properties: None,
                message_expiry: None,
                topic_alias: None,
                subscription_ids: Vec::new(),
            };
            writer.queue(&Packet::Publish(publish)).expect("it can be said");
        }
        writer.write_all().await.expect("memory takes it");
        let bytes = writer.stream;
        let options = DecodeOptions { version: Version::V311, packet_bytes_max: 1 << 20 };
        for cut in [1, 2, 3, 4, 9, 100, READ_BYTES / 3, READ_BYTES, 2 * READ_BYTES, bytes.len()] {
            let (before, after) = bytes.split_at(cut);
            let mut reader = PacketReader::new(before.chain(after), options);
            assert_eq!(reader.read_first().await.expect("the first"), Packet::PingReq);
            let mut lengths = Vec::new();
            let end = loop {
                match reader.read().await {
                    Ok(packets) => lengths.extend(packets.iter().filter_map(|packet| {
                        let Packet::Publish(publish) = packet else { return None };
                        Some(publish.payload.len())
                    })),
                    Err(end) => break end,
                }
            };
            assert!(matches!(end, ReadError::Closed), "{end}");
            assert_eq!(lengths, payloads, "cut at {cut}");
            assert!(reader.rest.is_empty());
        }
    }

    #[tokio::test]
    async fn what_came_before_bad_bytes_is_told_first() {
        let mut reader = PacketReader::new(
            &[0xc0, 0, 0xc0, 0, 0xff][..],
            DecodeOptions { version: Version::V5, packet_bytes_max: 100 },
        );
        assert_eq!(reader.read().await.map(|packets| packets.len()).ok(), Some(2));
        assert!(matches!(reader.read().await, Err(ReadError::Codec(_))));
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
