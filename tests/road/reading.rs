//! What a far subscriber makes of a payload.

use serde_json::Value;

use crate::support::Received;

/// A reading as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub topic: String,
    pub value: Value,
    pub quality: String,
    /// Which start of the gateway, which reading since.
    pub id: (u64, u64),
    /// The packet id of its delivery, and whether the broker delivers it again by its own account (DUP).
    pub delivery: (u64, bool),
}

impl Reading {
    /// `None` if the message is no reading of a point.
    pub fn of(message: &Received) -> Option<Self> {
        let json: Value = serde_json::from_str(&message.payload).ok()?;
        let mut numbers = json.get("id")?.as_str()?.rsplit('-').map(str::parse);
        let (number, start) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self {
            topic: message.topic.clone(),
            value: json.get("value")?.clone(),
            quality: json.get("quality")?.as_str()?.to_owned(),
            id: (start, number),
            delivery: (message.mid, message.dup),
        })
    }
}

/// All readings among the messages.
pub fn readings(messages: &[Received]) -> Vec<Reading> {
    messages.iter().filter_map(Reading::of).collect()
}
