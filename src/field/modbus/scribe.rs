//! core: takes what passed on a bus apart into frames and says what each is, without a part in it.
//!
//! It looks at bytes long after the bus did, so it matters to nobody's values: what the bus itself made of them stands
//! beside them as a note.

use super::mbap::{self, MbapError};
use super::receiver::{Check, Cut};
use super::{ascii, rtu, words};
use crate::field::UnitId;
use crate::field::watch::traffic::{Framing, Piece};

/// A request that was seen.
#[derive(Debug, Clone)]
struct Asked {
    /// Its number, with Modbus TCP.
    id: Option<u16>,
    unit: UnitId,
    function: u8,
    frame: Vec<u8>,
    at_us: u64,
    echoed: bool,
}

/// Requests that are remembered where several may be under way.
const ASKED_MAX: usize = 64;

/// Reads along on one bus.
#[derive(Debug)]
pub(in crate::field) struct Scribe {
    framing: Framing,
    asked: Vec<Asked>,
    /// The beginning of a frame that has not come whole.
    begun: Vec<u8>,
}

impl Scribe {
    pub(in crate::field) fn new(framing: Framing) -> Self {
        Self { framing, asked: Vec::new(), begun: Vec::new() }
    }

    /// A connection is new: nothing is under way.
    pub(in crate::field) fn handle_opened(&mut self) {
        self.asked.clear();
        self.begun.clear();
    }

    /// A request was sent.
    pub(in crate::field) fn handle_sent(&mut self, bytes: Vec<u8>, at_us: u64) -> Piece {
        let Some((id, unit, pdu)) = self.request(&bytes) else {
            return piece(bytes, String::new(), None);
        };
        let words = format!("unit {} {}", unit.0, words::of_request(&pdu));
        let function = pdu.first().copied().unwrap_or_default();
        if self.framing == Framing::Rtu || self.framing == Framing::Ascii {
            self.asked.clear();
        } else if self.asked.len() >= ASKED_MAX {
            self.asked.remove(0);
        }
        let frame = bytes.clone();
        self.asked.push(Asked { id, unit, function, frame, at_us, echoed: false });
        piece(bytes, words, None)
    }

    /// Unit and PDU of a request of ours, which is well-formed.
    fn request(&self, bytes: &[u8]) -> Option<(Option<u16>, UnitId, Vec<u8>)> {
        match self.framing {
            Framing::Plain => None,
            Framing::Rtu => match bytes {
                [unit, pdu @ .., _, _] => Some((None, UnitId(*unit), pdu.to_vec())),
                _ => None,
            },
            Framing::Ascii => match ascii::cut(bytes) {
                Cut::Frame { unit, pdu, .. } => Some((None, unit, pdu)),
                Cut::Nothing | Cut::Beginning => None,
            },
            Framing::Tcp | Framing::Udp => {
                let mut reader = mbap::Reader::default();
                reader.handle_bytes(bytes);
                let frame = reader.poll_frame().ok()??;
                Some((Some(frame.transaction), frame.unit, frame.pdu))
            }
        }
    }

    /// Bytes came.
    pub(in crate::field) fn handle_received(&mut self, bytes: Vec<u8>, at_us: u64) -> Vec<Piece> {
        match self.framing {
            Framing::Plain => vec![piece(bytes, String::new(), None)],
            Framing::Rtu | Framing::Ascii => self.cut_up(&bytes, at_us),
            Framing::Tcp => {
                self.begun.extend(bytes);
                self.numbered(at_us)
            }
            Framing::Udp => {
                self.begun = bytes;
                let mut pieces = self.numbered(at_us);
                let rest = std::mem::take(&mut self.begun);
                if !rest.is_empty() {
                    let words = format!("no whole frame: {} B", rest.len());
                    pieces.push(piece(rest, words, Some(false)));
                }
                pieces
            }
        }
    }

    /// Takes whole frames of Modbus TCP off what has come.
    fn numbered(&mut self, at_us: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        loop {
            let mut reader = mbap::Reader::default();
            reader.handle_bytes(&self.begun);
            match reader.poll_frame() {
                Ok(None) => return pieces,
                Ok(Some(frame)) => {
                    let rest = self.begun.split_off(self.begun.len().min(7 + frame.pdu.len()));
                    let bytes = std::mem::replace(&mut self.begun, rest);
                    let asked = self.asked.iter().position(|it| it.id == Some(frame.transaction));
                    let asked = asked.map(|index| self.asked.remove(index));
                    let said = said(asked.as_ref(), frame.unit, &frame.pdu, at_us);
                    let words = match asked {
                        Some(_) => said,
                        None => format!("{said}; nothing of this number was asked, or not lately"),
                    };
                    pieces.push(piece(bytes, words, Some(true)));
                }
                Err(error @ (MbapError::Protocol { .. } | MbapError::Length { .. })) => {
                    let bytes = std::mem::take(&mut self.begun);
                    pieces.push(piece(bytes, error.to_string(), Some(false)));
                    return pieces;
                }
            }
        }
    }

    /// Finds frames without a number in a burst; what is between them is told as well.
    fn cut_up(&mut self, bytes: &[u8], at_us: u64) -> Vec<Piece> {
        let (mut pieces, mut noise, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let found = self.echo(rest).or_else(|| self.find(rest, at_us));
            let Some(found) = found.filter(|found| !found.bytes.is_empty()) else {
                noise.extend(rest.first());
                at += 1;
                continue;
            };
            if !noise.is_empty() {
                pieces.push(self.no_frame(std::mem::take(&mut noise)));
            }
            at += found.bytes.len();
            pieces.push(found);
        }
        if !noise.is_empty() {
            pieces.push(self.no_frame(noise));
        }
        pieces
    }

    /// Whether the request stands at the front of `rest`; some writes are answered by just that.
    fn echo(&mut self, rest: &[u8]) -> Option<Piece> {
        let asked = self.asked.last_mut()?;
        let is_answer = matches!(asked.function, 5 | 6 | 22) && rest.len() == asked.frame.len();
        if asked.echoed || is_answer || !rest.starts_with(&asked.frame) {
            return None;
        }
        asked.echoed = true;
        let words = "our own request comes back: the adapter hears what it sends";
        Some(piece(asked.frame.clone(), words.to_owned(), Some(true)))
    }

    /// The frame at the front of `rest`, if there is one.
    fn find(&self, rest: &[u8], at_us: u64) -> Option<Piece> {
        let cut = if self.framing == Framing::Ascii { ascii::cut(rest) } else { rtu::cut(rest) };
        let (length, unit, pdu, check) = match cut {
            Cut::Frame { length, unit, pdu, check } => (length, unit, pdu, check),
            Cut::Nothing | Cut::Beginning => return self.whole(rest, at_us),
        };
        let bytes = rest.get(..length)?.to_vec();
        let asked = self.asked.last();
        match check {
            Check::Sound => Some(piece(bytes, said(asked, unit, &pdu, at_us), Some(true))),
            Check::Damaged { received, computed } => {
                let function = pdu.first().map(|code| code & 0x7f);
                let is_it = |it: &Asked| it.unit == unit && Some(it.function) == function;
                let is_ascii = self.framing == Framing::Ascii;
                let is_told = is_ascii || asked.is_some_and(is_it);
                let sum = if is_ascii { "LRC" } else { "CRC" };
                let words =
                    format!("{sum} wrong: {received:#06x} came, {computed:#06x} was computed");
                is_told.then(|| piece(bytes, words, Some(false)))
            }
        }
    }

    /// All of `rest` as one RTU frame of whatever function.
    fn whole(&self, rest: &[u8], at_us: u64) -> Option<Piece> {
        let (body, check) = rest.split_last_chunk::<2>()?;
        let (unit, pdu) = body.split_first()?;
        let is_frame = self.framing == Framing::Rtu
            && !pdu.is_empty()
            && rest.len() <= rtu::FRAME_MAX
            && rtu::crc(body) == u16::from_le_bytes(*check);
        let said = || said(self.asked.last(), UnitId(*unit), pdu, at_us);
        is_frame.then(|| piece(rest.to_vec(), said(), Some(true)))
    }

    /// Bytes among which there is no frame.
    fn no_frame(&self, bytes: Vec<u8>) -> Piece {
        let begins = |asked: &Asked| bytes.starts_with(&[asked.unit.0, asked.function]);
        let words = if self.framing == Framing::Rtu && self.asked.last().is_some_and(begins) {
            format!("the beginning of an answer, broken off or damaged: {} B", bytes.len())
        } else {
            format!("no frame: {} B", bytes.len())
        };
        piece(bytes, words, Some(false))
    }
}

/// What a sound frame says, and after how long if it is the answer.
fn said(asked: Option<&Asked>, unit: UnitId, pdu: &[u8], at_us: u64) -> String {
    let said = format!("unit {} {}", unit.0, words::of_answer(pdu));
    let Some(asked) = asked else { return format!("{said}; nothing was asked") };
    let function = pdu.first().map(|code| code & 0x7f);
    if unit != asked.unit {
        return format!("{said}; asked was unit {}", asked.unit.0);
    }
    if function != Some(asked.function) {
        return format!("{said}; asked was function {}", asked.function);
    }
    let after = at_us.saturating_sub(asked.at_us);
    format!("{said}, after {}.{} ms", after / 1000, after % 1000 / 100)
}

fn piece(bytes: Vec<u8>, words: String, is_sound: Option<bool>) -> Piece {
    Piece { bytes, words, is_sound }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const READ: [u8; 5] = [3, 0, 100, 0, 2];
    const ANSWER: [u8; 6] = [3, 4, 0, 1, 0, 2];

    fn told(pieces: &[Piece]) -> Vec<(usize, &str, Option<bool>)> {
        pieces.iter().map(|it| (it.bytes.len(), it.words.as_str(), it.is_sound)).collect()
    }

    fn asked(framing: Framing) -> Scribe {
        let mut scribe = Scribe::new(framing);
        let request = match framing {
            Framing::Ascii => ascii::encode(UnitId(3), &READ),
            Framing::Tcp | Framing::Udp => mbap::encode(7, UnitId(3), &READ),
            Framing::Rtu | Framing::Plain => rtu::encode(UnitId(3), &READ),
        };
        let words = if framing == Framing::Plain { "" } else { "unit 3 read holding 100+2" };
        assert_eq!(scribe.handle_sent(request, 1000).words, words);
        scribe
    }

    #[test]
    fn an_answer_is_told_with_the_time_it_took_in_every_framing() {
        let answers = [
            (Framing::Rtu, rtu::encode(UnitId(3), &ANSWER)),
            (Framing::Ascii, ascii::encode(UnitId(3), &ANSWER)),
            (Framing::Tcp, mbap::encode(7, UnitId(3), &ANSWER)),
            (Framing::Udp, mbap::encode(7, UnitId(3), &ANSWER)),
        ];
        for (framing, answer) in answers {
            let len = answer.len();
            let pieces = asked(framing).handle_received(answer, 13_500);
            let words = "unit 3 answers with 2 registers, after 12.5 ms";
            assert_eq!(told(&pieces), [(len, words, Some(true))], "{framing:?}");
        }
    }

    #[test]
    fn what_goes_wrong_on_a_line_is_told_apart() {
        let answer = rtu::encode(UnitId(3), &ANSWER);
        let mut damaged = answer.clone();
        damaged[4] ^= 1;
        let pieces = asked(Framing::Rtu).handle_received(damaged, 2000);
        assert_eq!(pieces.len(), 1);
        assert!(pieces[0].words.starts_with("CRC wrong: 0x"), "{pieces:?}");
        assert_eq!(pieces[0].is_sound, Some(false));

        let other = rtu::encode(UnitId(7), &ANSWER);
        let pieces = asked(Framing::Rtu).handle_received(other, 2000);
        assert_eq!(pieces[0].words, "unit 7 answers with 2 registers; asked was unit 3");

        let pieces = asked(Framing::Rtu).handle_received(answer[..5].to_vec(), 2000);
        let words = "the beginning of an answer, broken off or damaged: 5 B";
        assert_eq!(told(&pieces), [(5, words, Some(false))]);

        let echoed = [vec![0xff], rtu::encode(UnitId(3), &READ), answer].concat();
        let pieces = asked(Framing::Rtu).handle_received(echoed, 2000);
        let words: Vec<&str> = pieces.iter().map(|it| it.words.as_str()).collect();
        assert_eq!(words[0], "no frame: 1 B");
        assert!(words[1].starts_with("our own request comes back"), "{words:?}");
        assert!(words[2].starts_with("unit 3 answers with 2 registers"), "{words:?}");
    }

    #[test]
    fn a_frame_of_modbus_tcp_is_told_once_it_is_whole() {
        let mut scribe = asked(Framing::Tcp);
        let answer = mbap::encode(7, UnitId(3), &ANSWER);
        assert_eq!(scribe.handle_received(answer[..5].to_vec(), 2000), []);
        assert_eq!(scribe.handle_received(answer[5..].to_vec(), 2000).len(), 1);
        let pieces = scribe.handle_received(b"SSH-2.0-x".to_vec(), 2000);
        assert_eq!((pieces.len(), pieces[0].is_sound), (1, Some(false)));
    }

    proptest! {
        #[test]
        fn nothing_that_came_is_left_out_but_the_beginning_of_a_frame(
            which in 0..4_usize,
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let framing = [Framing::Rtu, Framing::Ascii, Framing::Udp, Framing::Plain][which];
            let mut scribe = asked(framing);
            for chunk in chunks {
                let pieces = scribe.handle_received(chunk.clone(), 2000);
                let all: Vec<u8> = pieces.into_iter().flat_map(|it| it.bytes).collect();
                prop_assert_eq!(all, chunk);
            }
        }
    }
}
