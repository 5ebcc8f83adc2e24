//! core: the words for what changes in a reading between its taking and its sending.

use bytes::Bytes;

use crate::model::{Body, Timestamp};

/// What is to be set right in the payload of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// When it was taken, if what the payload says of that was by a clock nobody could believe.
    pub time: Option<Timestamp>,
    /// Whether it comes after later ones.
    pub late: bool,
}

/// Sets the payload of a reading right. Only who wrote it knows how; the hub does not know what is in a payload.
pub type Retouch = fn(&Bytes, Body, Marks) -> Bytes;

/// Leaves every payload as it is.
#[must_use]
pub(super) fn untouched(payload: &Bytes, _: Body, _: Marks) -> Bytes {
    payload.clone()
}
