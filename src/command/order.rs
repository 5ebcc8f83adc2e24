//! core: what a request comes to: settings of points that may be sent to a device, or why not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value as Json;

use super::book::Key;
use super::request::{Asked, Misread, Place, Request, parse, patience};
use super::writing::Outcome;
use crate::field::modbus::encode::{Setting, Wish, encode};
use crate::field::{DeviceSettings, ValueType};
use crate::hub::Addressed;
use crate::model::{ClockState, TopicName};

/// How long a request may wait when nothing says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Where the answer goes and what it is known by there.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Where the request was published.
    pub request: TopicName,
    /// What the sender knows it by.
    pub id: Option<Json>,
    /// Where the sender wants the answer as well (MQTT 5.0, 4.10.1).
    pub response: Option<TopicName>,
    /// What the sender tells the answer by (MQTT 5.0, 3.3.2.3.6).
    pub correlation: Option<Bytes>,
    /// Whether it is about the one point of its topic.
    pub is_single: bool,
}

/// Settings that may be sent to a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The device.
    pub device: Arc<DeviceSettings>,
    /// The indices of its points and what each becomes, in the order of the configuration.
    pub points: Vec<(usize, Setting)>,
    /// From then on nothing of it is sent any more.
    pub until: Instant,
    /// What it is told by; the first is its own.
    pub keys: Vec<Key>,
    /// Those of them under which no other may have been taken before.
    pub unique: Vec<Key>,
    /// Where the answer goes.
    pub reply: Reply,
}

/// A request of which nothing is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Where the answer goes.
    pub reply: Reply,
    /// What is said of it, or of each of its points by name.
    pub outcomes: Vec<(Arc<str>, Outcome)>,
}

/// Holds a request against the devices of this gateway, the clock and the limits of its points. Nothing of it is sent
/// unless all of it may be.
///
/// # Errors
/// [`Refusal`]. `None` if the topic is none of a request.
#[must_use]
pub fn check(
    addressed: &Addressed,
    gateway: &str,
    devices: &HashMap<Arc<str>, Arc<DeviceSettings>>,
    clock: ClockState,
) -> Option<Result<Order, Box<Refusal>>> {
    let message = &addressed.message;
    let place = Place::of(gateway, message.topic.as_str())?;
    let properties = message.properties.as_ref();
    let mut reply = Reply {
        request: message.topic.clone(),
        id: None,
        response: addressed.response_topic.clone(),
        correlation: properties.and_then(|it| it.correlation_data.clone()),
        is_single: place.point.is_some(),
    };
    let refuse = |reply: Reply, reason: String| {
        let name = Arc::from(place.point.unwrap_or(place.device));
        let reply = Reply { is_single: true, ..reply };
        let outcomes = vec![(name, Outcome::refused(reason))];
        Some(Err(Box::new(Refusal { reply, outcomes })))
    };
    let request = match parse(&message.payload, place.point) {
        Ok(request) => request,
        Err(Misread { id, reason }) => return refuse(Reply { id, ..reply }, reason),
    };
    reply.id = request.id.clone();
    if addressed.arrival.retained {
        let reason = "it is retained, and nobody knows how old it is; publish it without retain";
        return refuse(reply, reason.to_owned());
    }
    let until = match deadline(addressed, &request, clock) {
        Ok(until) => until,
        Err(reason) => return refuse(reply, reason.to_owned()),
    };
    let Some(device) = devices.get(place.device) else {
        return refuse(reply, format!("there is no device `{}`", place.device));
    };
    let mut points = Vec::new();
    let mut bad = HashMap::new();
    for asked in &request.wishes {
        match setting(device, asked) {
            Ok(setting) => points.push(setting),
            Err(reason) => _ = bad.insert(asked.point.as_str(), reason),
        }
    }
    if !bad.is_empty() {
        let outcomes = request.wishes.iter().map(|asked| {
            let reason = bad.get(asked.point.as_str()).cloned();
            let other = || "another point of this request cannot be written".to_owned();
            let name = Arc::from(asked.point.as_str());
            (name, Outcome::refused(reason.unwrap_or_else(other)))
        });
        return Some(Err(Box::new(Refusal { outcomes: outcomes.collect(), reply })));
    }
    points.sort_by_key(|(index, _)| *index);
    let (keys, unique) = keys(addressed, request.id.as_ref());
    Some(Ok(Order { device: Arc::clone(device), points, until, keys, unique, reply }))
}

fn deadline(
    addressed: &Addressed,
    request: &Request,
    clock: ClockState,
) -> Result<Instant, &'static str> {
    let (message, at) = (&addressed.message, addressed.at);
    // The hub dates both by the same clock, whichever that is.
    let mut left = patience(message.expires, message.accepted, DEADLINE);
    if let Some(valid_until) = request.valid_until {
        if !clock.covers(at) {
            return Err("`valid_until` says nothing here: the clock of the gateway is not set yet");
        }
        left = left.min(valid_until.since(at.wall));
    }
    if left.is_zero() {
        return Err("its time was over when it came");
    }
    at.mono.checked_add(left).ok_or("its time is beyond all bounds")
}

/// What to send so that a point of `device` becomes what is wanted of it, and the index of the point.
///
/// # Errors
/// Why it may not become that, in plain words.
pub fn setting(device: &DeviceSettings, asked: &Asked) -> Result<(usize, Setting), String> {
    let name = asked.point.as_str();
    let Some(index) = device.points.iter().position(|point| &*point.name == name) else {
        let is_made = device.computed.iter().any(|made| &*made.name == name);
        return Err(if is_made {
            format!("`{name}` is made of other points")
        } else {
            format!("device `{}` has no point `{name}`", device.name)
        });
    };
    let point = device.points.get(index).ok_or("it is gone")?;
    let is_text = matches!(point.value_type, ValueType::Text { .. });
    let bare = asked.bare.clone().filter(|_| is_text).map(Wish::Text);
    let setting = encode(point, bare.as_ref().unwrap_or(&asked.wish));
    setting.map(|setting| (index, setting)).map_err(|error| error.to_string())
}

/// What a request is told by, and what of that must be new.
fn keys(addressed: &Addressed, id: Option<&Json>) -> (Vec<Key>, Vec<Key>) {
    let (message, sender) = (&addressed.message, &addressed.sender);
    let (topic, name) = (message.topic.as_str().as_bytes(), sender.name.as_bytes());
    let boot = addressed.at.boot_ms.to_be_bytes();
    let wall = addressed.at.wall.unix_ms().to_be_bytes();
    let own = Key::new(&[b"own", &wall, &boot, name, topic, &message.payload]);
    let packet = addressed.arrival.packet_id.map(|packet_id| {
        let kind: &[u8] = if sender.is_uplink { b"uplink" } else { b"client" };
        Key::new(&[kind, name, &packet_id.to_be_bytes(), topic, &message.payload])
    });
    let id = id.map(|id| Key::new(&[b"id", topic, id.to_string().as_bytes()]));
    let repeated = packet.filter(|_| addressed.arrival.repeated);
    let keys = [Some(own), packet, id].into_iter().flatten().collect();
    (keys, [repeated, id].into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
