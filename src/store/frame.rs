//! core: how a batch of changes stands in the staged layer: length, checksum, changes. What was torn off by a kill is
//! recognised and left out: it was acknowledged to nobody.
//!
//! The segments of the database hold appends in the same form, and for years: what was once written stays readable, a
//! change of form gets a tag of its own.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;

use super::change::{
    Change, DropCount, DropReason, Phase, SessionId, SessionOwner, StoredWill, Target,
};
use super::checksum;
use super::row::{self, RowError};
use crate::model::{Message, Seq, Timestamp, TopicFilter, TopicName};

/// Length (four bytes) and checksum (eight), little endian.
const HEAD_LEN: usize = 12;

const APPEND: u8 = 1;
const DELETE: u8 = 2;
const FLIGHT: u8 = 3;
const RECALL: u8 = 4;
const CURSOR: u8 = 5;
const INBOX: u8 = 6;
const RETAIN: u8 = 7;
const SESSION: u8 = 8;
const AWAY: u8 = 9;
const END_SESSION: u8 = 10;
const SUBSCRIPTION: u8 = 11;
const RESERVE: u8 = 12;
const SETTLED: u8 = 13;
const DROPPED: u8 = 14;
const IDS_CLOSED: u8 = 15;
const WILL: u8 = 16;
/// The phase that an earlier version gave to a place that was settled out of order.
const SETTLED_PHASE: u8 = 3;

/// Puts a batch behind what is in `out`.
pub(super) fn write<'a>(changes: impl IntoIterator<Item = &'a Change>, out: &mut Vec<u8>) {
    let head = out.len();
    out.extend_from_slice(&[0; HEAD_LEN]);
    for change in changes {
        write_change(change, out);
    }
    let body = head + HEAD_LEN;
    let length = u32::try_from(out.len() - body).unwrap_or(u32::MAX);
    let sum = checksum(out.get(body..).unwrap_or_default());
    if let Some(place) = out.get_mut(head..body) {
        let (first, second) = place.split_at_mut(4);
        first.copy_from_slice(&length.to_le_bytes());
        second.copy_from_slice(&sum.to_le_bytes());
    }
}

/// The batches in `bytes`, up to the first that is not whole.
///
/// # Errors
/// A batch that is whole holds what this version does not know: leaving it out would lose what it says.
pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<Vec<Change>>, RowError> {
    let mut batches = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() {
        let [a, b, c, d, sum @ ..] = *head;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some((body, rest)) = rest.split_at_checked(length) else { break };
        if !is_sound(body, sum) {
            break;
        }
        batches.push(read_changes(body)?);
        bytes = rest;
    }
    Ok(batches)
}

/// What is found in bytes that should be batches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Checked {
    /// Batches that are whole.
    pub(super) batches: usize,
    /// Bytes of a last batch that was being written when the program was killed.
    pub(super) torn: usize,
    /// Where the first batch stands that is there and cannot be understood, and why.
    pub(super) fault: Option<(usize, String)>,
}

/// Looks at every batch in `bytes`.
pub(super) fn check(bytes: &[u8]) -> Checked {
    let (mut checked, mut rest) = (Checked::default(), bytes);
    loop {
        checked.torn = rest.len();
        let Some((head, behind)) = rest.split_first_chunk::<HEAD_LEN>() else { return checked };
        let [a, b, c, d, sum @ ..] = *head;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some((body, behind)) = behind.split_at_checked(length) else { return checked };
        let fault = if is_sound(body, sum) {
            read_changes(body).err().map(|error| error.to_string())
        } else {
            Some("its checksum is wrong".to_owned())
        };
        if let Some(fault) = fault {
            checked.fault = Some((bytes.len() - rest.len(), fault));
            checked.torn = 0;
            return checked;
        }
        checked.batches += 1;
        rest = behind;
    }
}

fn checksum(body: &[u8]) -> u64 {
    checksum::of_words(body.len() as u64, body)
}

/// Whether `body` is what `sum` was written for, by this version or by the one before it.
fn is_sound(body: &[u8], sum: [u8; 8]) -> bool {
    let sum = u64::from_le_bytes(sum);
    checksum(body) == sum || checksum::of_bytes(body) == sum
}

fn write_change(change: &Change, out: &mut Vec<u8>) {
    match change {
        Change::Append { seq, message, targets } => write_append(*seq, message, targets, out),
        Change::Delete { first, last } => {
            out.push(DELETE);
            put_u64(out, first.0);
            put_u64(out, last.0);
        }
        Change::Flight { session, seq, packet_id, phase } => {
            out.push(FLIGHT);
            put_u32(out, session.0);
            put_u64(out, seq.0);
            put_u16(out, packet_id.get());
            out.push(*phase as u8);
        }
        Change::Settled { session, first, last } => {
            out.push(SETTLED);
            put_u32(out, session.0);
            put_u64(out, first.0);
            put_u64(out, last.0);
        }
        Change::Dropped { session, count: DropCount { reason, count, first, last } } => {
            out.push(DROPPED);
            put_u32(out, session.0);
            out.push(*reason as u8);
            put_u64(out, *count);
            put_u64(out, first.unix_ms());
            put_u64(out, last.unix_ms());
        }
        Change::Recall { session, seq } => {
            out.push(RECALL);
            put_u32(out, session.0);
            put_u64(out, seq.0);
        }
        Change::Cursor { session, cursor } => {
            out.push(CURSOR);
            put_u32(out, session.0);
            put_u64(out, cursor.0);
        }
        Change::Inbox { session, packet_id, present } => {
            out.push(INBOX);
            put_u32(out, session.0);
            put_u16(out, packet_id.get());
            out.push(u8::from(*present));
        }
        Change::Reserve { session, first, last } => {
            out.push(RESERVE);
            put_u32(out, session.0);
            put_u16(out, first.get());
            put_u16(out, last.get());
        }
        Change::IdsClosed { session } => {
            out.push(IDS_CLOSED);
            put_u32(out, session.0);
        }
        Change::Retain { topic, message } => {
            out.push(RETAIN);
            put_bytes(out, topic.as_str().as_bytes());
            put_option(out, message.as_ref(), put_message);
        }
        Change::Session { session, owner, cursor, expiry } => {
            out.push(SESSION);
            put_u32(out, session.0);
            let (uplink, name) = match owner {
                SessionOwner::Uplink(name) => (1, name),
                SessionOwner::Client(name) => (0, name),
            };
            out.push(uplink);
            put_bytes(out, name.as_bytes());
            put_u64(out, cursor.0);
            put_u32(out, *expiry);
        }
        Change::Away { session, since } => {
            out.push(AWAY);
            put_u32(out, session.0);
            put_option(out, since.as_ref(), |out, since| put_u64(out, since.unix_ms()));
        }
        Change::EndSession { session } => {
            out.push(END_SESSION);
            put_u32(out, session.0);
        }
        Change::Will { session, will } => {
            out.push(WILL);
            put_u32(out, session.0);
            put_option(out, will.as_ref(), |out, StoredWill { message, delay, lifetime }| {
                put_u32(out, *delay);
                put_option(out, lifetime.as_ref(), |out, lifetime| put_u32(out, *lifetime));
                put_message(out, message);
            });
        }
        Change::Subscription { session, filter, options } => {
            out.push(SUBSCRIPTION);
            put_u32(out, session.0);
            put_bytes(out, filter.as_str().as_bytes());
            put_option(out, options.as_ref(), |out, (options, id)| {
                out.push(*options);
                put_u32(out, id.unwrap_or(0));
            });
        }
    }
}

/// One [`Change::Append`], without length and checksum.
pub(super) fn write_append(seq: Seq, message: &Message, targets: &[Target], out: &mut Vec<u8>) {
    out.push(APPEND);
    put_u64(out, seq.0);
    put_len(out, targets.len() * row::TARGET_LEN);
    row::write_targets(targets, out);
    put_message(out, message);
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_len(out: &mut Vec<u8>, length: usize) {
    // No packet is longer than 268 MB, so no field of one is.
    put_u32(out, u32::try_from(length).unwrap_or(u32::MAX));
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_message(out: &mut Vec<u8>, message: &Message) {
    out.push(row::flags(message.qos, message.retain) | row::body_flags(message.body));
    row::write_body(message.body, out);
    put_u64(out, message.accepted.unix_ms());
    put_option(out, message.expires.as_ref(), |out, end| put_u64(out, end.unix_ms()));
    put_bytes(out, message.topic.as_str().as_bytes());
    put_option(out, message.properties.as_ref(), |out, properties| {
        put_bytes(out, &row::write_properties(properties));
    });
    put_bytes(out, &message.payload);
}

/// Changes one after the other, without length and checksum.
pub(super) fn read_changes(mut bytes: &[u8]) -> Result<Vec<Change>, RowError> {
    let mut changes = Vec::new();
    while !bytes.is_empty() {
        changes.push(read_change(&mut bytes)?);
    }
    Ok(changes)
}

const SHORT: RowError = RowError::Short { column: "staged" };
const FOREIGN: RowError = RowError::Foreign { column: "staged" };

fn read_change(from: &mut &[u8]) -> Result<Change, RowError> {
    Ok(match take_u8(from)? {
        APPEND => Change::Append {
            seq: Seq(take_u64(from)?),
            targets: row::read_targets(take_bytes(from)?)?,
            message: Arc::new(take_message(from)?),
        },
        DELETE => Change::Delete { first: Seq(take_u64(from)?), last: Seq(take_u64(from)?) },
        FLIGHT => {
            let (session, seq) = (SessionId(take_u32(from)?), Seq(take_u64(from)?));
            let packet_id = NonZeroU16::new(take_u16(from)?);
            let phase = match take_u8(from)? {
                1 => Phase::Assigned,
                2 => Phase::Released,
                4 => Phase::AssignedLate,
                SETTLED_PHASE => return Ok(Change::Settled { session, first: seq, last: seq }),
                _ => return Err(FOREIGN),
            };
            Change::Flight { session, seq, packet_id: packet_id.ok_or(FOREIGN)?, phase }
        }
        DROPPED => Change::Dropped {
            session: SessionId(take_u32(from)?),
            count: DropCount {
                reason: DropReason::from_number(take_u8(from)?).ok_or(FOREIGN)?,
                count: take_u64(from)?,
                first: Timestamp::from_unix_ms(take_u64(from)?),
                last: Timestamp::from_unix_ms(take_u64(from)?),
            },
        },
        SETTLED => Change::Settled {
            session: SessionId(take_u32(from)?),
            first: Seq(take_u64(from)?),
            last: Seq(take_u64(from)?),
        },
        RECALL => Change::Recall { session: SessionId(take_u32(from)?), seq: Seq(take_u64(from)?) },
        CURSOR => {
            Change::Cursor { session: SessionId(take_u32(from)?), cursor: Seq(take_u64(from)?) }
        }
        INBOX => Change::Inbox {
            session: SessionId(take_u32(from)?),
            packet_id: NonZeroU16::new(take_u16(from)?).ok_or(FOREIGN)?,
            present: take_u8(from)? != 0,
        },
        RESERVE => Change::Reserve {
            session: SessionId(take_u32(from)?),
            first: NonZeroU16::new(take_u16(from)?).ok_or(FOREIGN)?,
            last: NonZeroU16::new(take_u16(from)?).ok_or(FOREIGN)?,
        },
        IDS_CLOSED => Change::IdsClosed { session: SessionId(take_u32(from)?) },
        RETAIN => {
            Change::Retain { topic: take_topic(from)?, message: take_option(from, take_message)? }
        }
        SESSION => Change::Session {
            session: SessionId(take_u32(from)?),
            owner: match (take_u8(from)?, take_text(from)?) {
                (0, name) => SessionOwner::Client(name),
                (_, name) => SessionOwner::Uplink(name),
            },
            cursor: Seq(take_u64(from)?),
            expiry: take_u32(from)?,
        },
        AWAY => Change::Away {
            session: SessionId(take_u32(from)?),
            since: take_option(from, |from| Ok(Timestamp::from_unix_ms(take_u64(from)?)))?,
        },
        END_SESSION => Change::EndSession { session: SessionId(take_u32(from)?) },
        WILL => Change::Will {
            session: SessionId(take_u32(from)?),
            will: take_option(from, |from| {
                Ok(StoredWill {
                    delay: take_u32(from)?,
                    lifetime: take_option(from, take_u32)?,
                    message: take_message(from)?,
                })
            })?,
        },
        SUBSCRIPTION => Change::Subscription {
            session: SessionId(take_u32(from)?),
            filter: TopicFilter::new(&take_text(from)?).map_err(|_| FOREIGN)?,
            options: take_option(from, |from| {
                let options = take_u8(from)?;
                let id = take_u32(from)?;
                Ok((options, (id > 0).then_some(id)))
            })?,
        },
        _ => return Err(FOREIGN),
    })
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], RowError> {
    let (taken, rest) = from.split_first_chunk::<N>().ok_or(SHORT)?;
    *from = rest;
    Ok(*taken)
}

fn take_u8(from: &mut &[u8]) -> Result<u8, RowError> {
    take::<1>(from).map(|[byte]| byte)
}

fn take_u16(from: &mut &[u8]) -> Result<u16, RowError> {
    take(from).map(u16::from_le_bytes)
}

fn take_u32(from: &mut &[u8]) -> Result<u32, RowError> {
    take(from).map(u32::from_le_bytes)
}

fn take_u64(from: &mut &[u8]) -> Result<u64, RowError> {
    take(from).map(u64::from_le_bytes)
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], RowError> {
    let length = usize::try_from(take_u32(from)?).unwrap_or(usize::MAX);
    let (taken, rest) = from.split_at_checked(length).ok_or(SHORT)?;
    *from = rest;
    Ok(taken)
}

fn take_text(from: &mut &[u8]) -> Result<Arc<str>, RowError> {
    std::str::from_utf8(take_bytes(from)?).map(Arc::from).map_err(|_| FOREIGN)
}

fn take_topic(from: &mut &[u8]) -> Result<TopicName, RowError> {
    TopicName::new(&take_text(from)?).map_err(|_| FOREIGN)
}

fn take_option<T>(
    from: &mut &[u8],
    take: impl FnOnce(&mut &[u8]) -> Result<T, RowError>,
) -> Result<Option<T>, RowError> {
    match take_u8(from)? {
        0 => Ok(None),
        1 => take(from).map(Some),
        _ => Err(FOREIGN),
    }
}

fn take_message(from: &mut &[u8]) -> Result<Message, RowError> {
    let flags = take_u8(from)?;
    let (qos, retain) = row::read_flags(flags)?;
    Ok(Message {
        body: row::read_body(flags, from).ok_or(SHORT)?,
        qos,
        retain,
        accepted: Timestamp::from_unix_ms(take_u64(from)?),
        expires: take_option(from, |from| Ok(Timestamp::from_unix_ms(take_u64(from)?)))?,
        topic: take_topic(from)?,
        properties: take_option(from, |from| {
            row::read_properties(take_bytes(from)?).map(Arc::new)
        })?,
        payload: Bytes::copy_from_slice(take_bytes(from)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, MessageProperties, QoS, TimeForm, TimePlaces, Unsynced};

    fn message(payload: &'static str) -> Message {
        Message {
            topic: TopicName::new("g/d/p").expect("well formed"),
            payload: Bytes::from_static(payload.as_bytes()),
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: Some(Arc::new(MessageProperties {
                content_type: Some("text/plain".into()),
                ..MessageProperties::default()
            })),
            accepted: Timestamp::from_unix_ms(7),
            expires: Some(Timestamp::from_unix_ms(9)),
            body: Body::Reading { unsynced_at: Some(1 << 40) },
        }
    }

    fn every_body() -> impl Iterator<Item = Body> {
        let mut places = TimePlaces::default();
        places.push(TimeForm::Seconds, 7);
        let said = Timestamp::from_unix_ms(60_000);
        let unsynced = Some(Unsynced { taken_ms: 1 << 41, said, places });
        [
            Body::Foreign,
            Body::Reading { unsynced_at: None },
            Body::Device { unsynced_at: None, points: u32::MAX },
            Body::Device { unsynced_at: Some(5), points: 1 },
            Body::Worded { unsynced: None },
            Body::Worded { unsynced },
        ]
        .into_iter()
    }

    fn every_change() -> Vec<Change> {
        let (session, seq) = (SessionId(3), Seq(1 << 40));
        let packet_id = NonZeroU16::MAX;
        let target = Target { session, qos: QoS::AtLeastOnce, retain: false, shared: false };
        vec![
            Change::Append { seq, message: Arc::new(message("x")), targets: Arc::from([target]) },
            Change::Delete { first: Seq(1), last: seq },
            Change::Flight { session, seq, packet_id, phase: Phase::Released },
            Change::Flight { session, seq, packet_id, phase: Phase::AssignedLate },
            Change::Settled { session, first: seq, last: Seq(1 << 41) },
            Change::Dropped {
                session,
                count: DropCount {
                    reason: DropReason::TooOld,
                    count: 1 << 40,
                    first: Timestamp::from_unix_ms(1),
                    last: Timestamp::from_unix_ms(1 << 41),
                },
            },
            Change::Recall { session, seq },
            Change::Cursor { session, cursor: seq },
            Change::Inbox { session, packet_id, present: true },
            Change::Reserve { session, first: NonZeroU16::MIN, last: packet_id },
            Change::IdsClosed { session },
            Change::Retain { topic: message("").topic, message: Some(message("")) },
            Change::Retain { topic: message("").topic, message: None },
            Change::Session {
                session,
                owner: SessionOwner::Client("é".into()),
                cursor: seq,
                expiry: u32::MAX,
            },
            Change::Away { session, since: Some(Timestamp::from_unix_ms(1)) },
            Change::EndSession { session },
            Change::Will {
                session,
                will: Some(StoredWill { message: message("gone"), delay: 5, lifetime: Some(7) }),
            },
            Change::Will { session, will: None },
            Change::Subscription {
                session,
                filter: TopicFilter::new("a/#").expect("well formed"),
                options: Some((2, Some(7))),
            },
        ]
    }

    #[test]
    fn every_change_comes_back_as_it_went_in() {
        let mut bytes = Vec::new();
        write(&every_change(), &mut bytes);
        write(&[], &mut bytes);
        assert_eq!(read(&bytes), Ok(vec![every_change(), Vec::new()]));
    }

    #[test]
    fn what_an_earlier_version_summed_byte_by_byte_is_read() {
        let mut bytes = Vec::new();
        write(&every_change(), &mut bytes);
        let sum = checksum::of_bytes(&bytes[HEAD_LEN..]);
        bytes[4..HEAD_LEN].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(read(&bytes), Ok(vec![every_change()]));
        assert_eq!(check(&bytes).batches, 1);
    }

    #[test]
    fn every_body_comes_back_as_it_went_in_and_none_is_made_up_of_less() {
        for body in every_body() {
            let message = Message { body, ..message("x") };
            let mut bytes = Vec::new();
            put_message(&mut bytes, &message);
            assert_eq!(take_message(&mut &bytes[..]), Ok(message));
            for end in 0..bytes.len() {
                assert!(take_message(&mut &bytes[..end]).is_err(), "{body:?} cut at {end}");
            }
        }
    }

    #[test]
    fn what_a_later_version_wrote_is_not_left_out_in_silence() {
        let mut bytes = Vec::new();
        write(&[Change::EndSession { session: SessionId(1) }], &mut bytes);
        let body = HEAD_LEN;
        bytes[body] = 200;
        let sum = checksum(&bytes[body..]);
        bytes[4..body].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(read(&bytes), Err(FOREIGN));
    }

    #[test]
    fn a_check_tells_a_torn_batch_from_a_spoilt_one() {
        let mut bytes = Vec::new();
        write(&every_change(), &mut bytes);
        let whole = bytes.len();
        write(&[Change::EndSession { session: SessionId(1) }], &mut bytes);
        let checked = |batches, torn, fault| Checked { batches, torn, fault };
        assert_eq!(check(&bytes), checked(2, 0, None));
        assert_eq!(check(&bytes[..whole + 3]), checked(1, 3, None));
        bytes[whole + HEAD_LEN] ^= 1;
        let fault = Some((whole, "its checksum is wrong".to_owned()));
        assert_eq!(check(&bytes), checked(1, 0, fault));
    }

    #[test]
    fn what_is_torn_or_spoilt_ends_the_reading_and_nothing_else() {
        let (first, second) = (every_change(), vec![Change::EndSession { session: SessionId(1) }]);
        let mut bytes = Vec::new();
        write(&first, &mut bytes);
        let whole = bytes.len();
        write(&second, &mut bytes);
        for length in 0..bytes.len() {
            let expected = if length < whole { vec![] } else { vec![first.clone()] };
            assert_eq!(read(&bytes[..length]), Ok(expected), "cut at {length}");
        }
        for index in 0..bytes.len() {
            let mut spoilt = bytes.clone();
            spoilt[index] ^= 0x40;
            let batches = read(&spoilt).expect("the checksum is looked at first");
            assert!(batches.len() < 2, "spoilt at {index}");
            assert!(batches.first().is_none_or(|batch| *batch == first), "spoilt at {index}");
        }
    }
}
