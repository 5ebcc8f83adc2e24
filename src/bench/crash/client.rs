//! shell: one end of a lane over a socket: connects again and again until it is stopped.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this shell owns a socket")]

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{End, Progress};
use crate::mqtt::{
    Connect, ConnectProperties, DecodeOptions, Packet, PacketReader, PacketWriter, Version,
};

/// How long after a connection ended, or was refused, the next is tried.
const TRY: Duration = Duration::from_millis(3);
/// The largest packet taken.
const PACKET_BYTES_MAX: u32 = 64 * 1024;

/// A client with a session that the broker keeps.
#[derive(Debug)]
pub(super) struct Client<E> {
    /// Its client id.
    pub(super) id: &'static str,
    /// The broker's port on 127.0.0.1.
    pub(super) port: u16,
    /// What it speaks.
    pub(super) version: Version,
    /// What it says.
    pub(super) end: E,
    /// How far its lane is.
    pub(super) progress: watch::Sender<Progress>,
}

impl<E: End> Client<E> {
    /// Runs until `stop` turns true; gives what the end has come to know.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> E {
        loop {
            let connection = async {
                // Why it ended is of no interest: the other side is being killed all the time.
                let _ = self.serve().await;
                sleep(TRY).await;
            };
            tokio::select! {
                () = connection => {}
                // A sender that is gone means a stop as well.
                _ = stop.wait_for(|stopping| *stopping) => return self.end,
            }
        }
    }

    async fn serve(&mut self) -> anyhow::Result<()> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.set_nodelay(true)?;
        let (read, write) = tokio::io::split(stream);
        let options = DecodeOptions { version: self.version, packet_bytes_max: PACKET_BYTES_MAX };
        let mut reader = PacketReader::new(read, options);
        let mut writer = PacketWriter::new(write, self.version);
        writer.queue(&self.connect())?;
        writer.write_all().await?;
        let Packet::ConnAck(ack) = reader.read_first().await? else { bail!("no CONNACK") };
        if ack.reason.is_failure() {
            bail!("refused: {}", ack.reason);
        }
        let receive_maximum = ack.properties.receive_maximum.unwrap_or(NonZeroU16::MAX);
        self.end.handle_connected(ack.session_present, receive_maximum);
        let mut changed = self.progress.subscribe();
        loop {
            let end = &mut self.end;
            self.progress.send_if_modified(|progress| {
                let before = *progress;
                end.exchange_progress(progress);
                *progress != before
            });
            changed.mark_unchanged();
            while let Some(packet) = self.end.poll_packet() {
                writer.queue(&packet)?;
            }
            tokio::select! {
                packets = reader.read() => {
                    packets?.iter().for_each(|packet| self.end.handle_packet(packet));
                }
                done = writer.write_some(), if writer.queued() > 0 => done?,
                done = changed.changed() => done.context("the lane is gone")?,
            }
        }
    }

    fn connect(&self) -> Packet {
        Packet::Connect(Box::new(Connect {
            version: self.version,
            bridge: false,
            clean_start: false,
            keep_alive: 0,
            client_id: self.id.into(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties {
                session_expiry: (self.version == Version::V5).then_some(u32::MAX),
                ..ConnectProperties::default()
            },
        }))
    }
}
