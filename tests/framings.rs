//! Every framing of Modbus, held against any bytes cut anywhere: whatever comes, never a panic, and nothing is taken for the
//! answer to a question but the answer to that question.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a failure here fails the test, and it needs some instant to count from"
)]

use std::time::{Duration, Instant};

use fieldpost::field::modbus::mbap;
use fieldpost::field::modbus::pdu::{Data, ReadRange};
use fieldpost::field::modbus::receiver::Wrap;
use fieldpost::field::modbus::transaction::{Failure, Question};
use fieldpost::field::modbus::wire::Wire;
use fieldpost::field::modbus::write::{What, Write};
use fieldpost::field::{
    BusSettings, Parity, PortSettings, SerialSettings, Table, TcpSettings, UnitId,
};
use proptest::prelude::*;
use proptest::sample::Index;

const UNIT: UnitId = UnitId(7);
const TIMEOUT: Duration = Duration::from_millis(300);
/// The transaction id of the question, where there are any.
const ID: u16 = 0x0102;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Rtu,
    Ascii,
    RtuOverTcp,
    AsciiOverTcp,
    Tcp,
    Udp,
}

impl Framing {
    fn wrap(self) -> Option<Wrap> {
        match self {
            Self::Rtu | Self::RtuOverTcp => Some(Wrap::Rtu),
            Self::Ascii | Self::AsciiOverTcp => Some(Wrap::Ascii),
            Self::Tcp | Self::Udp => None,
        }
    }

    fn encode(self, id: u16, unit: UnitId, pdu: &[u8]) -> Vec<u8> {
        self.wrap().map_or_else(|| mbap::encode(id, unit, pdu), |wrap| wrap.encode(unit, pdu))
    }

    fn bus(self) -> BusSettings {
        let serial = || SerialSettings {
            path: "tty".into(),
            baud: 9_600,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            rs485: None,
        };
        let tcp = || TcpSettings { host: "plc".into(), port: 502 };
        let port = match self {
            Self::Rtu => PortSettings::Rtu(serial()),
            Self::Ascii => PortSettings::Ascii(serial()),
            Self::RtuOverTcp => PortSettings::RtuOverTcp(tcp()),
            Self::AsciiOverTcp => PortSettings::AsciiOverTcp(tcp()),
            Self::Tcp => PortSettings::Tcp(tcp()),
            Self::Udp => PortSettings::Udp(tcp()),
        };
        BusSettings { name: "bus".into(), port, timeout: TIMEOUT, probe_share: 5, in_flight: 1 }
    }
}

/// What a frame of some sender says.
#[derive(Debug, Clone)]
enum Said {
    /// What answers the question.
    Right,
    /// That it is refused.
    Refused(u8),
    /// The answer to a read of so many registers more.
    More(u16),
    /// The right data under another function.
    OtherFunction,
    /// The answer to the same write at the next address.
    OtherPlace,
    /// Anything.
    Any(Vec<u8>),
}

/// What comes over the wire, one after the other.
#[derive(Debug, Clone)]
enum Piece {
    Noise(Vec<u8>),
    /// A frame of the unit that was asked, or of another; under the right number, or another.
    Frame {
        said: Said,
        is_ours: bool,
        is_numbered: bool,
    },
    /// The same, with this bit another.
    Damaged {
        said: Said,
        bit: Index,
    },
    /// The same, broken off.
    Broken {
        said: Said,
        at: Index,
    },
    Echo,
}

fn framings() -> impl Strategy<Value = Framing> {
    prop::sample::select(vec![
        Framing::Rtu,
        Framing::Ascii,
        Framing::RtuOverTcp,
        Framing::AsciiOverTcp,
        Framing::Tcp,
        Framing::Udp,
    ])
}

fn questions() -> impl Strategy<Value = Question> {
    let tables = vec![Table::Coil, Table::DiscreteInput, Table::Holding, Table::Input];
    let read =
        (prop::sample::select(tables), 0..1_000u16, 1..=100u16).prop_map(|(table, at, count)| {
            Question::new(UNIT, ReadRange::new(table, at, count).expect("allowed"))
        });
    let what = prop_oneof![
        any::<bool>().prop_map(What::Coil),
        any::<u16>().prop_map(What::Register),
        prop::collection::vec(any::<bool>(), 1..40).prop_map(What::Coils),
        prop::collection::vec(any::<u16>(), 1..20).prop_map(What::Registers),
        (any::<u16>(), any::<u16>()).prop_map(|(keep, set)| What::Mask { keep, set: set & !keep }),
    ];
    let write = (0..1_000u16, what)
        .prop_map(|(at, what)| Question::write(UNIT, &Write::new(at, what).expect("allowed")));
    prop_oneof![read, write]
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        3 => Just(Said::Right),
        1 => (1..=11u8).prop_map(Said::Refused),
        1 => (1..4u16).prop_map(Said::More),
        1 => Just(Said::OtherFunction),
        1 => Just(Said::OtherPlace),
        1 => prop::collection::vec(any::<u8>(), 1..12).prop_map(Said::Any),
    ]
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Piece::Noise),
        // Noise that looks like something.
        1 => prop::collection::vec(prop::sample::select(b":0137\r\n\x07\x03\x10\x00".to_vec()), 0..30).prop_map(Piece::Noise),
        4 => (said(), any::<bool>(), any::<bool>())
            .prop_map(|(said, is_ours, is_numbered)| Piece::Frame { said, is_ours, is_numbered }),
        1 => (said(), any::<Index>()).prop_map(|(said, bit)| Piece::Damaged { said, bit }),
        1 => (said(), any::<Index>()).prop_map(|(said, at)| Piece::Broken { said, at }),
        1 => Just(Piece::Echo),
    ];
    // An adapter that hears itself hears a request once.
    prop::collection::vec(piece, 0..8).prop_map(|pieces| {
        let mut echoes = 0..1;
        let mut is_kept = |piece: &Piece| !matches!(piece, Piece::Echo) || echoes.next().is_some();
        pieces.into_iter().filter(|piece| is_kept(piece)).collect()
    })
}

/// The data of the right answer to a read: each register is its address.
fn data(question: &Question) -> Data {
    let Some(range) = question.query.range() else { return Data::Written };
    let addresses = (0..range.count()).map(|offset| range.address() + offset);
    match range.table() {
        Table::Coil | Table::DiscreteInput => {
            Data::Bits(addresses.map(|at| at.is_multiple_of(3)).collect())
        }
        Table::Holding | Table::Input => Data::Registers(addresses.collect()),
    }
}

fn right_pdu(question: &Question) -> Vec<u8> {
    match data(question) {
        Data::Written => {
            let mut pdu = question.query.request();
            pdu.truncate(question.query.expected_len());
            pdu
        }
        data => fieldpost::field::modbus::server::answer(&question.query.request(), |_| Some(data)),
    }
}

fn pdu(said: &Said, question: &Question) -> Vec<u8> {
    let right = right_pdu(question);
    match said {
        Said::Right => right,
        Said::Refused(code) => vec![question.query.function() | 0x80, *code],
        Said::More(more) => {
            let bytes = u8::try_from(*more).expect("few") * 2;
            let mut longer = right;
            longer.extend(vec![0x55; usize::from(bytes)]);
            longer[1] = longer[1].wrapping_add(bytes);
            longer
        }
        Said::OtherFunction => {
            let mut other = right;
            other[0] = if other[0] == 3 { 4 } else { 3 };
            other
        }
        Said::OtherPlace => {
            let mut other = question.query.request();
            other[2] ^= 1;
            other.truncate(question.query.expected_len());
            // What another master asks looks like an answer to a read of 17 to 24 bits; no frame says which it is.
            if !question.query.is_write() {
                other[0] ^= 0x40;
            }
            other
        }
        Said::Any(bytes) => bytes.clone(),
    }
}

/// The bytes of a piece.
fn bytes(piece: &Piece, framing: Framing, question: &Question, request: &[u8]) -> Vec<u8> {
    let frame = |said: &Said| framing.encode(ID, UNIT, &pdu(said, question));
    match piece {
        Piece::Noise(noise) => noise.clone(),
        Piece::Frame { said, is_ours, is_numbered } => {
            let unit = if *is_ours { UNIT } else { UnitId(8) };
            framing.encode(if *is_numbered { ID } else { ID + 1 }, unit, &pdu(said, question))
        }
        Piece::Damaged { said, bit } => {
            let mut frame = frame(said);
            // TCP and UDP carry what nothing has damaged; there the number is another.
            let bit =
                if framing.wrap().is_some() { bit.index(frame.len() * 8) } else { bit.index(16) };
            frame[bit / 8] ^= 1 << (bit % 8);
            frame
        }
        // A connection loses nothing in the middle.
        Piece::Broken { .. } if framing == Framing::Tcp => Vec::new(),
        Piece::Broken { said, at } => {
            let frame = frame(said);
            frame[..at.index(frame.len())].to_vec()
        }
        // Frames with a number are not on a line that anybody shares.
        Piece::Echo if framing.wrap().is_none() && !question.query.is_write() => Vec::new(),
        Piece::Echo => request.to_vec(),
    }
}

/// Whether a piece says `pdu` to this question, soundly and in its name.
fn says(piece: &Piece, framing: Framing, question: &Question, wanted: &[u8]) -> bool {
    match piece {
        Piece::Frame { said, is_ours: true, is_numbered } => {
            (*is_numbered || framing.wrap().is_some()) && pdu(said, question) == wanted
        }
        // A letter that is small means the same.
        Piece::Damaged { said, .. } => {
            framing.wrap() == Some(Wrap::Ascii) && pdu(said, question) == wanted
        }
        // The answer to some writes is the request again.
        Piece::Echo => question.query.is_answered_by_itself() && question.query.request() == wanted,
        // The first byte of what follows may be the last that was missing.
        Piece::Broken { said, .. } => framing.wrap().is_some() && pdu(said, question) == wanted,
        Piece::Frame { .. } | Piece::Noise(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_but_its_answer_is_taken_for_the_answer_to_a_question(
        framing in framings(),
        question in questions(),
        pieces in pieces(),
        cut in 1..80usize,
    ) {
        let mut now = Instant::now();
        let mut wire = Wire::new(&framing.bus(), ID, now);
        now = wire.poll_ready().map_or(now, |ready| ready.max(now));
        let request = wire.ask(1, question.clone(), TIMEOUT, now);
        prop_assert_eq!(&request, &framing.encode(ID, UNIT, &question.query.request()));
        let parts: Vec<Vec<u8>> =
            pieces.iter().map(|piece| bytes(piece, framing, &question, &request)).collect();
        // A datagram comes whole.
        let chunks: Vec<Vec<u8>> = if framing == Framing::Udp {
            parts
        } else {
            parts.concat().chunks(cut).map(<[u8]>::to_vec).collect()
        };
        let mut ended = None;
        for chunk in chunks {
            now += Duration::from_micros(100);
            wire.handle_bytes(&chunk, now);
            ended = ended.or_else(|| wire.poll_ended());
        }
        while ended.is_none() {
            now = wire.poll_timeout().expect("it has a time-out").max(now);
            wire.handle_timeout(now);
            ended = wire.poll_ended();
        }
        prop_assert_eq!(wire.poll_ended(), None, "it ends once");
        prop_assert!(wire.is_idle());
        let ended = ended.expect("it ended");
        prop_assert_eq!((ended.ticket, &ended.question), (1, &question));
        match ended.outcome.result {
            Ok(taken) => {
                prop_assert_eq!(&taken, &data(&question));
                let right = right_pdu(&question);
                prop_assert!(pieces.iter().any(|it| says(it, framing, &question, &right)));
            }
            Err(Failure::Refused { code }) => {
                let refusal = [question.query.function() | 0x80, code.code()];
                prop_assert!(pieces.iter().any(|it| says(it, framing, &question, &refusal)));
            }
            Err(_) => {}
        }
    }

    #[test]
    fn an_answer_is_found_behind_whatever_is_sound_and_no_answer(
        framing in framings(),
        question in questions(),
        others in prop::collection::vec((said(), any::<bool>()), 0..5),
        cut in 1..80usize,
    ) {
        let mut now = Instant::now();
        let mut wire = Wire::new(&framing.bus(), ID, now);
        now = wire.poll_ready().map_or(now, |ready| ready.max(now));
        wire.ask(1, question.clone(), TIMEOUT, now);
        let all = others.iter().map(|(said, _)| {
            // Of another unit where frames have no number, under another number where they have.
            let id = ID + 1;
            let unit = if framing.wrap().is_some() { UnitId(8) } else { UNIT };
            // A line knows the length of a frame by its function alone.
            let said = if matches!(said, Said::Any(_)) { &Said::Right } else { said };
            framing.encode(id, unit, &pdu(said, &question))
        });
        let mut all: Vec<Vec<u8>> = all.collect();
        all.push(framing.encode(ID, UNIT, &right_pdu(&question)));
        let chunks: Vec<Vec<u8>> = if framing == Framing::Udp {
            all
        } else {
            all.concat().chunks(cut).map(<[u8]>::to_vec).collect()
        };
        for chunk in chunks {
            wire.handle_bytes(&chunk, now);
        }
        let ended = wire.poll_ended().expect("the answer is there");
        prop_assert_eq!(ended.outcome.result, Ok(data(&question)));
    }
}
