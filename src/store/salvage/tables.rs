//! core: the tables beside the messages, and what a row of them may look like.

use rusqlite::types::{Value, ValueRef};

use crate::model::TopicName;
use crate::store::row;

/// What a column may hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A whole number, at least and at most.
    Number(u64, u64),
    /// The same, or nothing.
    NumberOrNull(u64, u64),
    Text,
    Blob,
    BlobOrNull,
}

/// A table whose rows are copied one by one.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The columns of its key, in their order.
    pub(super) key: &'static [&'static str],
    pub(super) columns: &'static [(&'static str, Kind)],
}

/// SQLite's integers have a sign.
const ANY: Kind = Kind::Number(0, u64::MAX >> 1);
const ANY_OR_NULL: Kind = Kind::NumberOrNull(0, u64::MAX >> 1);
const U32: Kind = Kind::Number(0, u32::MAX as u64);
const PACKET_ID: Kind = Kind::Number(1, u16::MAX as u64);
const PACKET_ID_OR_NULL: Kind = Kind::NumberOrNull(1, u16::MAX as u64);

/// All but `segment`, sessions first: the others speak of them.
pub(super) const TABLES: &[Table] = &[
    Table { name: "meta", key: &["key"], columns: &[("key", Kind::Text), ("value", ANY)] },
    Table {
        name: "session",
        key: &["id"],
        columns: &[
            ("id", U32),
            ("uplink", Kind::Number(0, 1)),
            ("name", Kind::Text),
            ("cursor", ANY),
            ("expiry", U32),
            ("away_since", ANY_OR_NULL),
            ("ids_first", PACKET_ID_OR_NULL),
            ("ids_last", PACKET_ID_OR_NULL),
        ],
    },
    Table {
        name: "subscription",
        key: &["session", "filter"],
        columns: &[
            ("session", U32),
            ("filter", Kind::Text),
            ("options", Kind::Number(0, u8::MAX as u64)),
            ("subscription_id", Kind::NumberOrNull(0, u32::MAX as u64)),
        ],
    },
    Table {
        name: "flight",
        key: &["session", "seq"],
        columns: &[
            ("session", U32),
            ("seq", ANY),
            // Earlier versions kept what was settled here, without an id.
            ("packet_id", PACKET_ID_OR_NULL),
            ("phase", Kind::Number(1, 4)),
        ],
    },
    Table {
        name: "inbox",
        key: &["session", "packet_id"],
        columns: &[("session", U32), ("packet_id", PACKET_ID)],
    },
    Table {
        name: "retained",
        key: &["topic"],
        columns: &[
            ("topic", Kind::Text),
            ("accepted", ANY),
            ("expires", ANY_OR_NULL),
            ("flags", Kind::Number(0, u8::MAX as u64)),
            ("properties", Kind::BlobOrNull),
            ("payload", Kind::Blob),
        ],
    },
    Table {
        name: "settled",
        key: &["session", "first"],
        columns: &[("session", U32), ("first", ANY), ("last", ANY)],
    },
    Table {
        name: "dropped",
        key: &["session", "reason"],
        columns: &[
            ("session", U32),
            ("reason", Kind::Number(0, u8::MAX as u64)),
            ("count", ANY),
            ("first", ANY),
            ("last", ANY),
        ],
    },
    Table {
        name: "will",
        key: &["session"],
        columns: &[
            ("session", U32),
            ("delay", U32),
            ("lifetime", Kind::NumberOrNull(0, u32::MAX as u64)),
            ("flags", Kind::Number(0, u8::MAX as u64)),
            ("topic", Kind::Text),
            ("properties", Kind::BlobOrNull),
            ("payload", Kind::Blob),
        ],
    },
    Table { name: "gone", key: &["first"], columns: &[("first", ANY), ("bits", Kind::Blob)] },
];

impl Kind {
    /// The value, if such a column may hold it.
    pub(super) fn take(self, value: ValueRef<'_>) -> Option<Value> {
        match (self, value) {
            (Self::Number(min, max) | Self::NumberOrNull(min, max), ValueRef::Integer(number)) => {
                let is_within = (min..=max).contains(&u64::try_from(number).ok()?);
                is_within.then_some(Value::Integer(number))
            }
            (Self::NumberOrNull(..) | Self::BlobOrNull, ValueRef::Null) => Some(Value::Null),
            (Self::Text, ValueRef::Text(bytes)) => {
                Some(Value::Text(std::str::from_utf8(bytes).ok()?.to_owned()))
            }
            (Self::Blob | Self::BlobOrNull, ValueRef::Blob(bytes)) => {
                Some(Value::Blob(bytes.to_vec()))
            }
            (_, _) => None,
        }
    }
}

/// Whether the columns of a row fit together, each of which may stand there.
pub(super) fn is_sound(table: &Table, row: &[Value]) -> bool {
    match (table.name, row) {
        (
            "retained",
            [Value::Text(topic), _, _, Value::Integer(flags), properties, Value::Blob(_)],
        )
        | (
            "will",
            [_, _, _, Value::Integer(flags), Value::Text(topic), properties, Value::Blob(_)],
        ) => {
            let flags = u8::try_from(*flags).is_ok_and(|flags| row::read_flags(flags).is_ok());
            let properties =
                !matches!(properties, Value::Blob(bytes) if row::read_properties(bytes).is_err());
            flags && properties && TopicName::new(topic).is_ok()
        }
        ("settled", [_, Value::Integer(first), Value::Integer(last)]) => first <= last,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_takes_what_may_stand_there_and_nothing_else() {
        assert!(PACKET_ID.take(ValueRef::Integer(0)).is_none());
        assert!(PACKET_ID.take(ValueRef::Integer(65_535)).is_some());
        assert!(PACKET_ID.take(ValueRef::Null).is_none());
        assert!(PACKET_ID_OR_NULL.take(ValueRef::Null).is_some());
        assert!(ANY.take(ValueRef::Integer(-1)).is_none());
        assert!(ANY.take(ValueRef::Text(b"1")).is_none());
        assert!(Kind::Text.take(ValueRef::Text(&[0xff])).is_none());
        assert!(Kind::Text.take(ValueRef::Blob(b"a")).is_none());
        assert!(Kind::BlobOrNull.take(ValueRef::Null).is_some());
    }
}
