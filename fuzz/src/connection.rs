//! core: clients that say anything to a whole broker: protocol, engine and store on a disk in memory, in virtual time. Whatever
//! they say, nothing panics, the store keeps its rows, and what each of them hears is MQTT in its own version, in its
//! place, and no more than it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fieldpost::broker::{Protocol, ProtocolOptions, Step};
use fieldpost::hub::{Attached, ConnectionId, DetachCause, Engine, EngineOptions, Output};
use fieldpost::model::{Moment, QoS, Timestamp};
use fieldpost::mqtt::{DecodeOptions, Packet, ReasonCode, Version, decode, encode};
use fieldpost::store::disk::{Disk, Image};
use fieldpost::store::{DirectStore, StoreCommand};

use crate::script::{Act, CLIENTS, Script, said};

/// Acts of one script at most: the store is real, and a script need not be long to be strange.
const ACTS_MAX: usize = 300;

/// Plays a script.
///
/// # Panics
/// Something that must hold does not.
pub fn check(input: &[u8]) {
    // A disk with an empty store: making one each time would be most of the work.
    static EMPTY: OnceLock<Disk> = OnceLock::new();
    let empty = EMPTY.get_or_init(|| {
        let disk = Disk::new(Image::default());
        let (store, _) = DirectStore::open(&disk, None).expect("a store is made");
        store.close().expect("and closed");
        disk.forget_record();
        disk
    });
    let mut world = World::start(
        empty.fork(),
        Moment {
            mono: Instant::now(),
            wall: Timestamp::from_unix_ms(1_795_230_600_000),
            boot_ms: 60_000,
        },
    );
    for act in Script(input).take(ACTS_MAX) {
        world.play(act);
    }
    world.play(Act::Hold(false));
    assert_eq!(world.store.find_damage().expect("it can be read"), None);
    world.play(Act::Kill);
}

/// One client's connection, from its first byte on.
#[derive(Default)]
struct Line {
    bytes: BytesMut,
    client: Option<Client>,
}

/// A client that has said CONNECT.
struct Client {
    protocol: Protocol,
    version: Version,
    attached: Attached,
    /// CONNACK has been said.
    is_in: bool,
    /// What the session said before that waits in the channel of the connection.
    waiting: Vec<Packet>,
    /// Messages under way to it: where their handshake is.
    under_way: BTreeMap<u16, Packet>,
    receive_maximum: usize,
    packet_bytes_max: usize,
    aliases_max: u16,
    aliases: BTreeSet<u16>,
}

struct World {
    disk: Disk,
    store: DirectStore,
    engine: Engine,
    now: Moment,
    lines: [Line; CLIENTS],
    held: bool,
    commands: Vec<StoreCommand>,
}

impl World {
    fn start(disk: Disk, now: Moment) -> Self {
        let (store, snapshot) = DirectStore::open(&disk, None).expect("the store opens");
        disk.forget_record();
        let options = EngineOptions {
            memory_queue_max: 50,
            client_queue_max: 100,
            ..EngineOptions::default()
        };
        let engine = Engine::new(options, snapshot, now);
        let lines = std::array::from_fn(|_| Line::default());
        let mut world = Self { disk, store, engine, now, lines, held: false, commands: Vec::new() };
        world.settle();
        world
    }

    fn play(&mut self, act: Act) {
        match act {
            Act::Bytes(at, bytes) => self.hear(at, &bytes),
            Act::Say(at, packet) => {
                let version = self.lines[at].client.as_ref().map(|client| client.version);
                self.hear(at, &said(&packet, version.unwrap_or(Version::V5)));
            }
            Act::Answer(at) => self.answer(at),
            Act::Cut(at) => self.end(at, DetachCause::Lost),
            Act::Pass(seconds) => self.pass(Duration::from_secs(seconds)),
            Act::Hold(held) => self.held = held,
            Act::Congest(at, congested) => {
                if let Some(client) = self.lines[at].client.as_ref().filter(|client| client.is_in) {
                    self.engine.handle_congestion(client.attached.connection, congested);
                }
            }
            Act::Kill => {
                let (disk, now) = (self.disk.fork(), self.now);
                *self = Self::start(disk, now);
            }
        }
        self.settle();
    }

    /// Bytes come from a client.
    fn hear(&mut self, at: usize, bytes: &[u8]) {
        self.lines[at].bytes.extend_from_slice(bytes);
        self.read(at);
    }

    /// Takes the packets that have come, as a connection does: one that is not in yet waits for its CONNACK.
    fn read(&mut self, at: usize) {
        loop {
            let line = &mut self.lines[at];
            let packet_bytes_max = ProtocolOptions::default().packet_bytes_max;
            let version = match &line.client {
                Some(client) if !client.is_in => return,
                Some(client) => client.version,
                None => Version::V311,
            };
            let options = DecodeOptions { version, packet_bytes_max };
            match (decode(&mut line.bytes, &options), &mut line.client) {
                (Ok(None), _) => return,
                (Ok(Some(packet)), Some(client)) => {
                    let connection = client.attached.connection;
                    // Its own acknowledgement, right or wrong, is the end of the message as far as it knows.
                    if let Packet::PubAck(ack) | Packet::PubComp(ack) = &packet {
                        client.under_way.remove(&ack.packet_id.get());
                    }
                    match client.protocol.handle_packet(packet.clone(), self.now.mono) {
                        Step::ForSession(packet) => {
                            if let Packet::PubRec(ack) = &packet
                                && ack.reason.is_failure()
                            {
                                client.under_way.remove(&ack.packet_id.get());
                            }
                            self.engine.handle_packet(connection, packet, self.now);
                            self.settle();
                        }
                        Step::Answer(packet) => self.tell(at, packet),
                        Step::Goodbye(cause) => return self.end(at, cause),
                        Step::End(reason) => return self.send_away(at, reason),
                    }
                }
                (Err(error), Some(client)) => {
                    let reason = client.protocol.handle_malformed(&error);
                    return self.send_away(at, reason);
                }
                (Ok(Some(Packet::Connect(connect))), None) => self.let_in(at, *connect),
                (Ok(Some(_)) | Err(_), None) => return self.end(at, DetachCause::Lost),
            }
        }
    }

    fn let_in(&mut self, at: usize, connect: fieldpost::mqtt::Connect) {
        let (version, properties) = (connect.version, connect.properties.clone());
        let options = ProtocolOptions::default();
        let accepted = Protocol::accept(connect, options, 7, self.now.mono, self.now.wall);
        let Ok((protocol, attach)) = accepted else { return self.end(at, DetachCause::Lost) };
        let attached = self.engine.handle_attach_client(attach, self.now);
        self.lines[at].client = Some(Client {
            protocol,
            version,
            attached,
            is_in: false,
            waiting: Vec::new(),
            under_way: BTreeMap::new(),
            receive_maximum: properties.receive_maximum.map_or(65_535, u16::from).into(),
            packet_bytes_max: properties.maximum_packet_size.map_or(u32::MAX, u32::from) as usize,
            aliases_max: properties.topic_alias_maximum.unwrap_or(0),
            aliases: BTreeSet::new(),
        });
        self.settle();
    }

    /// A client hears a packet.
    fn tell(&mut self, at: usize, mut packet: Packet) {
        let Some(client) = &mut self.lines[at].client else {
            panic!("nobody is there: {packet:?}")
        };
        if !client.protocol.handle_outgoing(&mut packet) {
            return;
        }
        assert!(packet.sent_by_server(), "{packet:?}");
        assert!(client.is_in || matches!(packet, Packet::ConnAck(_)), "before CONNACK: {packet:?}");
        let mut bytes = BytesMut::new();
        encode(&packet, client.version, &mut bytes).expect("what is sent can be said");
        assert!(bytes.len() <= client.packet_bytes_max, "{} bytes: {packet:?}", bytes.len());
        let options = DecodeOptions { version: client.version, packet_bytes_max: u32::MAX };
        let heard = decode(&mut bytes, &options).expect("what is sent is MQTT").expect("all of it");
        if client.version == Version::V5 {
            assert_eq!(heard, packet);
        }
        match heard {
            Packet::Publish(publish) => {
                if let Some(alias) = publish.topic_alias.map(u16::from) {
                    assert!(alias <= client.aliases_max, "alias {alias}");
                    let is_known = !client.aliases.insert(alias);
                    assert!(publish.topic.is_some() || is_known, "alias {alias} of nothing");
                }
                if let Some(id) = publish.packet_id {
                    let before = client.under_way.insert(id.get(), Packet::Publish(publish));
                    assert!(before.is_none(), "packet id {} is under way", id.get());
                    let is_v5 = client.version == Version::V5;
                    assert!(!is_v5 || client.under_way.len() <= client.receive_maximum);
                }
            }
            Packet::PubRel(ack) => {
                if let Some(state) = client.under_way.get_mut(&ack.packet_id.get()) {
                    *state = Packet::PubRel(ack);
                }
            }
            _ => {}
        }
    }

    /// A client answers the first of what is under way to it as it should.
    fn answer(&mut self, at: usize) {
        let Some(client) = self.lines[at].client.as_mut().filter(|client| client.is_in) else {
            return;
        };
        let Some((id, state)) = client.under_way.first_key_value() else { return };
        let id = fieldpost::mqtt::PacketId::new(*id).expect("not 0");
        let ack = fieldpost::mqtt::Ack::new(id, ReasonCode::Success);
        let answer = match state {
            Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => Packet::PubRec(ack),
            Packet::Publish(_) => Packet::PubAck(ack),
            _ => Packet::PubComp(ack),
        };
        let bytes = said(&answer, client.version);
        self.hear(at, &bytes);
    }

    /// The connection ends from our side.
    fn send_away(&mut self, at: usize, reason: ReasonCode) {
        let client = self.lines[at].client.as_ref();
        if client.is_some_and(|client| client.is_in && client.version == Version::V5) {
            let bye = fieldpost::mqtt::Disconnect::new(reason);
            self.tell(at, Packet::Disconnect(bye));
        }
        self.end(at, DetachCause::Lost);
    }

    fn end(&mut self, at: usize, cause: DetachCause) {
        let line = std::mem::take(&mut self.lines[at]);
        if let Some(client) = line.client {
            self.engine.handle_detach(client.attached.connection, cause, self.now);
        }
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall = self.now.wall.plus(time);
        self.now.boot_ms += u64::try_from(time.as_millis()).expect("not so long");
        for at in 0..CLIENTS {
            let client = self.lines[at].client.as_ref().filter(|client| client.is_in);
            let deadline = client.and_then(|client| client.protocol.poll_timeout());
            if deadline.is_some_and(|deadline| deadline <= self.now.mono) {
                self.send_away(at, ReasonCode::KeepAliveTimeout);
            }
        }
        self.engine.handle_timeout(self.now);
        if self.store.poll_timeout().is_some_and(|at| at <= self.now.mono) {
            self.store.handle_timeout().expect("a disk in memory takes everything");
        }
        self.settle();
    }

    /// The line of a connection.
    fn line_of(&self, connection: ConnectionId) -> Option<usize> {
        (0..CLIENTS).find(|at| {
            let client = self.lines[*at].client.as_ref();
            client.is_some_and(|client| client.attached.connection == connection)
        })
    }

    fn settle(&mut self) {
        loop {
            self.engine.settle_down(self.now);
            while self.engine.poll_fact().is_some() {}
            while let Some(output) = self.engine.poll_output() {
                match output {
                    Output::Packet(connection, packet) => {
                        let at = self.line_of(connection).expect("a packet for a connection");
                        self.tell_in_turn(at, packet);
                    }
                    Output::Close(connection, reason) => {
                        if let Some(at) = self.line_of(connection) {
                            self.let_in_if_committed(at);
                            self.send_away(at, reason);
                        }
                    }
                    Output::Said(_) | Output::Addressed(_) => {}
                }
            }
            for at in 0..CLIENTS {
                self.let_in_if_committed(at);
            }
            self.commands.extend(self.engine.poll_store(self.now));
            if self.held || self.commands.is_empty() {
                return;
            }
            for command in std::mem::take(&mut self.commands) {
                let answer = self.store.execute(command, self.now.mono);
                let answer = answer.expect("a disk in memory takes everything");
                self.engine.handle_store(answer, self.now);
            }
        }
    }

    /// A packet of the session, which waits for CONNACK.
    fn tell_in_turn(&mut self, at: usize, packet: Packet) {
        self.let_in_if_committed(at);
        match &mut self.lines[at].client {
            Some(client) if !client.is_in => client.waiting.push(packet),
            Some(_) => self.tell(at, packet),
            None => {}
        }
    }

    fn let_in_if_committed(&mut self, at: usize) {
        let Some(client) = &mut self.lines[at].client else { return };
        if client.is_in || !self.engine.is_committed(client.attached.needs) {
            return;
        }
        let connack = client.protocol.connack(&client.attached);
        let waiting = std::mem::take(&mut client.waiting);
        self.tell(at, connack);
        if let Some(client) = &mut self.lines[at].client {
            client.is_in = true;
        }
        for packet in waiting {
            self.tell(at, packet);
        }
        self.read(at);
    }
}
