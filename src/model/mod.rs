//! The words everything else is made of: readings, values, messages, topics, time.
//!
//! Plain data with its own rules of form (a topic name has no wildcard, a sequence number only grows). No behaviour of
//! a room lives here: nothing below decides what to poll, what to send or what to keep.

mod message;
mod qos;
mod reading;
mod rename;
mod secret;
mod time;
mod topic;

pub use message::{Body, Message, MessageProperties, Seq, TimeForm, TimePlaces, Unsynced};
pub use qos::QoS;
pub use reading::{PointName, Quality, Reading, ReadingId, Value};
pub use rename::{RenameError, TopicRename};
pub use secret::Secret;
pub use time::{ClockState, Moment, Timestamp};
pub use topic::{TopicError, TopicFilter, TopicName};
