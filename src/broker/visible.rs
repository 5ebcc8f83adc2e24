//! shell: tells at intervals how the broker is doing, on `$SYS`, and what the log was spared.
#![allow(clippy::disallowed_methods, reason = "this shell keeps an interval")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::connection::stopped;
use super::door::Door;
use super::sys::Sys;
use crate::hub::HubHandle;
use crate::model::{Body, Message, QoS, Timestamp, TopicName};

/// How often it is looked whether the log was spared something.
const LOG_LOOK: Duration = Duration::from_secs(10);

/// Says on `$SYS/broker/…`, every `sys_interval` if there is one, how the broker behind `door` is doing, and in the log how
/// much was left unsaid; until `stop` turns true or the hub is gone.
pub async fn keep_visible(
    door: Arc<Door>,
    hub: HubHandle,
    sys_interval: Option<Duration>,
    mut stop: watch::Receiver<bool>,
) {
    let mut sys = Sys::new(Instant::now());
    let mut tells = interval(sys_interval.unwrap_or(LOG_LOOK));
    tells.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = interval(LOG_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tells.tick(), if sys_interval.is_some() => {
                let Ok(tally) = hub.tally().await else { return };
                let values = sys.handle_counts(&tally, door.counters(), Instant::now());
                let now = SystemTime::now().into();
                let messages = values.into_iter();
                let messages = messages.filter_map(|(topic, value)| message(&topic, value, now));
                if hub.say_of_self(messages.collect()).await.is_err() {
                    return;
                }
            }
            _ = looks.tick() => door.tell_unsaid(),
            () = stopped(&mut stop) => return,
        }
    }
}

fn message(topic: &str, value: String, now: Timestamp) -> Option<Message> {
    Some(Message {
        topic: TopicName::new(topic).ok()?,
        payload: Bytes::from(value),
        qos: QoS::AtMostOnce,
        retain: true,
        properties: None,
        accepted: now,
        expires: None,
        body: Body::Foreign,
    })
}
