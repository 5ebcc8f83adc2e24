//! shell: one connection of a client: drives the session over one socket.
#![allow(clippy::disallowed_methods, reason = "this shell owns a socket and reads the clock")]

use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::time::{sleep_until, timeout};

use super::dial::{Stream, dial};
use super::error::ClientError;
use super::session::{ClientEvent, Session};
use super::settings::{Place, Target};
use crate::mqtt::{
    DecodeOptions, Disconnect, Packet, PacketReader, PacketWriter, Publish, ReadError,
};
use crate::tls;

/// The largest packet MQTT has, in bytes (2.1.4): a client prints what it gets.
const PACKET_BYTES_MAX: u32 = 268_435_460;
/// Bytes in the write queue beyond which no more packets are put there.
const QUEUED_BYTES_MAX: usize = 256 * 1024;
/// How long the broker has to close after our farewell.
const FAREWELL_MAX: Duration = Duration::from_secs(3);

/// Is told of each packet that is sent (`true`) or received, for a person who looks on.
pub type Trace = fn(&Packet, bool);

/// One connection to a broker and the session that goes over it.
#[derive(Debug)]
pub struct Connection {
    reader: PacketReader<ReadHalf<Stream>>,
    writer: PacketWriter<WriteHalf<Stream>>,
    session: Session,
    place: Place,
    trace: Option<Trace>,
}

impl Connection {
    /// Dials, sends CONNECT and waits for the answer, which is the first event.
    ///
    /// # Errors
    /// [`ClientError`] and, for another try, the session.
    pub async fn open(
        target: &Target,
        mut session: Session,
        trace: Option<Trace>,
    ) -> Result<Self, (ClientError, Box<Session>)> {
        let stream = match dial(target).await {
            Ok(stream) => stream,
            Err(error) => return Err((error, Box::new(session))),
        };
        session.handle_dialled(Instant::now());
        let (read, write) = split(stream);
        let version = session.version();
        let options = DecodeOptions { version, packet_bytes_max: PACKET_BYTES_MAX };
        let reader = PacketReader::new(read, options);
        let writer = PacketWriter::new(write, version);
        let place = target.place.clone();
        let mut connection = Self { reader, writer, session, place, trace };
        while !connection.session.is_up() {
            if let Err(error) = connection.step(true).await {
                return Err((error, Box::new(connection.session)));
            }
        }
        Ok(connection)
    }

    /// The session, to ask it for something or to look at it.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The session, for another connection.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.session
    }

    /// What came about next, if it is there already.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.session.poll_event()
    }

    /// Publishes, or says why the broker would not take it; see [`Session::publish`].
    ///
    /// # Errors
    /// [`ClientError`]; nothing is sent then.
    pub fn publish(&mut self, publish: Publish) -> Result<(), ClientError> {
        self.session.publish(publish)?;
        self.queue()
    }

    /// Whether more may be published without piling it up here.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.session.waiting() == 0 && self.writer.queued() < QUEUED_BYTES_MAX
    }

    /// Whether all that was asked for is with the broker: written, and answered where an answer is due.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.session.is_settled() && self.writer.queued() == 0
    }

    /// Waits for one thing and does it: bytes to read, room to write, a deadline. Nothing is lost when the future is
    /// dropped. Without `reads` nothing is read: for as long as nobody can take more messages; the connection is kept alive
    /// meanwhile, and the silence is not the broker's.
    ///
    /// # Errors
    /// [`ClientError`]: the connection is over.
    pub async fn step(&mut self, reads: bool) -> Result<(), ClientError> {
        if !reads {
            self.session.handle_heard(Instant::now());
        }
        self.queue()?;
        let deadline = self.session.poll_timeout();
        tokio::select! {
            packets = self.reader.read(), if reads => {
                let packets = packets.map_err(|error| self.lost(error))?;
                let now = Instant::now();
                for packet in packets {
                    self.look(&packet, false);
                    self.session.handle_packet(packet, now)?;
                }
            }
            written = self.writer.write_some(), if self.writer.queued() > 0 => {
                if let Err(error) = written {
                    return Err(self.why_closed(error).await);
                }
                self.session.handle_sent(Instant::now());
            }
            () = until(deadline) => self.session.handle_timeout(Instant::now())?,
        }
        Ok(())
    }

    /// Puts what the session has to say behind what waits to be written.
    fn queue(&mut self) -> Result<(), ClientError> {
        while self.writer.queued() < QUEUED_BYTES_MAX {
            let Some(packet) = self.session.poll_packet() else { break };
            self.look(&packet, true);
            self.writer.queue(&packet)?;
        }
        Ok(())
    }

    fn look(&self, packet: &Packet, sent: bool) {
        if let Some(trace) = self.trace {
            trace(packet, sent);
        }
    }

    /// A broker that closes has perhaps said why: that is of more use than a broken pipe.
    async fn why_closed(&mut self, error: io::Error) -> ClientError {
        let version = self.session.version();
        match timeout(FAREWELL_MAX, self.reader.read()).await {
            Ok(Ok(packets)) => {
                for packet in packets {
                    self.look(&packet, false);
                    if let Err(said) = self.session.handle_packet(packet, Instant::now()) {
                        return said;
                    }
                }
                ClientError::Io(error)
            }
            Ok(Err(ReadError::Codec(source))) => ClientError::Codec { version, source },
            Ok(Err(ReadError::Closed | ReadError::Io(_))) | Err(_) => ClientError::Io(error),
        }
    }

    fn lost(&self, error: ReadError) -> ClientError {
        let version = self.session.version();
        match error {
            // A broker may refuse our certificate when the handshake is over for us.
            ReadError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                let problem = tls::explain(&error, tls::Far::Broker);
                ClientError::Handshake { place: self.place.clone(), problem }
            }
            ReadError::Closed if self.session.is_up() => ClientError::Closed,
            ReadError::Io(error) if self.session.is_up() => ClientError::Io(error),
            ReadError::Closed | ReadError::Io(_) => ClientError::ClosedBeforeConnAck { version },
            ReadError::Codec(source) => ClientError::Codec { version, source },
        }
    }

    /// Sends what waits and `goodbye`, and waits until the broker has closed: a socket that is closed with bytes unread
    /// takes the last ones it sent with it.
    ///
    /// # Errors
    /// [`ClientError`] if the last packets could not be sent, or the broker had something against them.
    pub async fn close(mut self, goodbye: Disconnect) -> Result<(), ClientError> {
        self.session.disconnect(goodbye);
        let farewell = async {
            while let Some(packet) = self.session.poll_packet() {
                self.look(&packet, true);
                self.writer.queue(&packet)?;
            }
            self.writer.finish().await.map_err(ClientError::Io)
        };
        timeout(FAREWELL_MAX, farewell)
            .await
            .unwrap_or_else(|_| Err(ClientError::Io(io::ErrorKind::TimedOut.into())))?;
        let rest = async {
            while let Ok(packets) = self.reader.read().await {
                for packet in packets {
                    self.look(&packet, false);
                    self.session.handle_packet(packet, Instant::now())?;
                }
            }
            Ok(())
        };
        timeout(FAREWELL_MAX, rest).await.unwrap_or(Ok(()))
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
