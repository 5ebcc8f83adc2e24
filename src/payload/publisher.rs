//! core: what a reading looks like on its way: its topic, its payload, its id.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::device::Together;
use super::json::payload;
use super::settings::{DeviceFormat, Format, PointFormat};
use super::topics::Topics;
use super::words::{Said, bare, filled, tells};
use crate::model::{
    Body, ClockState, Message, QoS, Reading, ReadingId, Timestamp, TopicError, TopicFilter,
    TopicName,
};

/// Names readings and device states in the topics of one gateway.
#[derive(Debug, Clone)]
pub struct Publisher {
    gateway: Arc<str>,
    start: u64,
    last_number: u64,
    topics: Topics,
    devices: HashMap<Arc<str>, Ways>,
}

/// The ways of one device's readings.
#[derive(Debug, Clone, Default)]
struct Ways {
    format: DeviceFormat,
    /// Where what goes out together is published; `None` until it is.
    topic: Option<TopicName>,
}

impl Publisher {
    /// A publisher for the gateway's `start`-th start; readings are numbered from 1.
    #[must_use]
    pub fn new(gateway: Arc<str>, start: u64) -> Self {
        let topics = Topics::new(Arc::clone(&gateway));
        Self { gateway, start, last_number: 0, topics, devices: HashMap::new() }
    }

    /// With how the readings of devices look; those of others are JSON, each on a topic of its own.
    #[must_use]
    pub fn with_formats(
        mut self,
        formats: impl IntoIterator<Item = (Arc<str>, DeviceFormat)>,
    ) -> Self {
        let ways = |format| Ways { format, ..Ways::default() };
        self.devices = formats.into_iter().map(|(device, it)| (device, ways(it))).collect();
        self
    }

    /// The topic where uplinks say `online` and `offline`.
    ///
    /// # Errors
    /// [`TopicError`] if the gateway id is no topic level.
    pub fn status_topic(gateway: &str) -> Result<TopicName, TopicError> {
        TopicName::new(&format!("{gateway}/status"))
    }

    /// The topic where the LAN is told how an uplink is doing.
    ///
    /// # Errors
    /// [`TopicError`] if the gateway id or the name is no topic level.
    pub fn uplink_topic(gateway: &str, uplink: &str) -> Result<TopicName, TopicError> {
        TopicName::new(&format!("{gateway}/uplinks/{uplink}/state"))
    }

    /// All of these topics: they are of no use upstream.
    ///
    /// # Errors
    /// [`TopicError`] if the gateway id is no topic level.
    pub fn uplinks_filter(gateway: &str) -> Result<TopicFilter, TopicError> {
        TopicFilter::new(&format!("{gateway}/uplinks/#"))
    }

    /// The topic where an upstream is told of messages it will not get.
    ///
    /// # Errors
    /// [`TopicError`] if the gateway id is no topic level.
    pub fn drops_topic(gateway: &str) -> Result<TopicName, TopicError> {
        TopicName::new(&format!("{gateway}/gateway/dropped"))
    }

    /// The topic where the gateway says how it is doing.
    ///
    /// # Errors
    /// [`TopicError`] if the gateway id is no topic level.
    pub fn state_topic(gateway: &str) -> Result<TopicName, TopicError> {
        TopicName::new(&format!("{gateway}/gateway/state"))
    }

    /// How many messages with readings were published since the start.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.last_number
    }

    /// Puts the messages for readings that came together into `messages`, QoS as high as each subscription wants it: for
    /// each that is on its own, one on `{gateway}/{device}/{point}`, as JSON, as the bare value or in the operator's words;
    /// for the others of a device, one on `{gateway}/{device}`. What the format of a point cannot say that it is not good has
    /// none. `clock` says whether the times may be believed.
    ///
    /// # Errors
    /// [`TopicError`] if a name is no topic level; what comes behind it has no message.
    pub fn readings(
        &mut self,
        readings: &[Reading],
        clock: ClockState,
        messages: &mut Vec<Message>,
    ) -> Result<(), TopicError> {
        for readings in readings.chunk_by(|a, b| a.point.device == b.point.device) {
            let Some(first) = readings.first() else { continue };
            let device = &first.point.device;
            if !self.devices.contains_key(device) {
                self.devices.insert(Arc::clone(device), Ways::default());
            }
            let Some(ways) = self.devices.get_mut(device) else { continue };
            let mut together = Vec::new();
            for reading in readings {
                let id = ReadingId { start: self.start, number: self.last_number + 1 };
                let is_dated = clock.covers(reading.taken);
                let said = Said { reading, gateway: &self.gateway, id, is_dated };
                match ways.format_of(reading) {
                    None => together.push(reading),
                    Some(format) => {
                        let Some((text, body)) = written(format, said) else { continue };
                        let topic = self.topics.of(&reading.point)?;
                        self.last_number += 1;
                        let message = message(topic, text.into(), false, reading.taken.wall);
                        messages.push(Message { body, ..message });
                    }
                }
            }
            if let (Format::Together { units }, Some(it)) =
                (&ways.format.format, Together::new(&together))
            {
                self.last_number += 1;
                let id = ReadingId { start: self.start, number: self.last_number };
                let text = it.payload(&self.gateway, id, clock, *units);
                let taken = it.taken();
                let unsynced_at = (!clock.covers(taken)).then_some(taken.boot_ms);
                let body = Body::Device { unsynced_at, points: it.points() };
                let topic = match &ways.topic {
                    Some(topic) => topic.clone(),
                    None => TopicName::new(&format!("{}/{device}", self.gateway))?,
                };
                ways.topic = Some(topic.clone());
                messages.push(Message { body, ..message(topic, text.into(), false, taken.wall) });
            }
        }
        Ok(())
    }

    /// The retained message for a device's state: `online`, or `offline` with nothing else.
    ///
    /// # Errors
    /// [`TopicError`] if the name is no topic level.
    pub fn device(
        &self,
        device: &str,
        online: bool,
        time: Timestamp,
    ) -> Result<Message, TopicError> {
        let topic = TopicName::new(&format!("{}/{device}/status", self.gateway))?;
        let payload: &'static [u8] = if online { b"online" } else { b"offline" };
        Ok(message(topic, Bytes::from_static(payload), true, time))
    }

    /// Messages that take back what is retained of devices which are not among `devices` any more: their last state would
    /// stand for ever.
    #[must_use]
    pub fn taken_back(
        &self,
        retained: &[Message],
        devices: &BTreeSet<Arc<str>>,
        time: Timestamp,
    ) -> Vec<Message> {
        let is_gone = |topic: &TopicName| {
            let device = topic.as_str().strip_prefix(&*self.gateway);
            let device = device.and_then(|rest| rest.strip_prefix('/')?.strip_suffix("/status"));
            device.is_some_and(|device| !device.contains('/') && !devices.contains(device))
        };
        let gone = retained.iter().map(|message| &message.topic).filter(|topic| is_gone(topic));
        gone.map(|topic| message(topic.clone(), Bytes::new(), true, time)).collect()
    }
}

impl Ways {
    /// How a reading looks; `None` if it goes out with others.
    fn format_of(&self, reading: &Reading) -> Option<&PointFormat> {
        let own = self.format.points.get(&reading.point.point);
        match &self.format.format {
            Format::Each(format) => Some(own.unwrap_or(format)),
            Format::Together { .. } => own,
        }
    }
}

/// The payload of a reading on its own, and whose words it is; `None` if this format has no word for its quality.
fn written(format: &PointFormat, said: Said<'_>) -> Option<(String, Body)> {
    let Said { reading, gateway, id, is_dated } = said;
    match format {
        PointFormat::Json => {
            let unsynced_at = (!is_dated).then_some(reading.taken.boot_ms);
            Some((payload(reading, gateway, id, is_dated), Body::Reading { unsynced_at }))
        }
        PointFormat::Value => Some((bare(reading)?, Body::Worded { unsynced: None })),
        PointFormat::Template(template) => tells(template, reading).then(|| filled(template, said)),
    }
}

fn message(topic: TopicName, payload: Bytes, retain: bool, accepted: Timestamp) -> Message {
    let qos = QoS::ExactlyOnce;
    Message {
        topic,
        payload,
        qos,
        retain,
        properties: None,
        accepted,
        expires: None,
        body: Body::Foreign,
    }
}

#[cfg(test)]
mod tests;
