//! shell: carries what the field says to the hub, as many events at a time as have come.

use tokio::sync::{mpsc, watch};
use tracing::error;

use super::publisher::Publisher;
use crate::field::{DeviceState, FieldEvent};
use crate::hub::HubHandle;
use crate::model::{ClockState, Message, TopicError};

/// Events carried in one batch, at most.
const BATCH_MAX: usize = 256;

/// Runs until every bus has hung up or the hub has stopped. A slow hub slows the buses. `published` is how many
/// messages with readings the hub has taken since the start, `clock` whether the wall clock may be believed.
pub async fn carry(
    mut events: mpsc::Receiver<FieldEvent>,
    mut publisher: Publisher,
    hub: HubHandle,
    published: watch::Sender<u64>,
    clock: watch::Receiver<ClockState>,
) {
    let mut batch = Vec::new();
    while events.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut messages = Vec::with_capacity(batch.iter().map(message_count).sum());
        let clock = *clock.borrow();
        for event in batch.drain(..) {
            if let Err(cause) = describe(&event, clock, &mut publisher, &mut messages) {
                // The configuration lets no such name through.
                error!(%cause, ?event, "a name cannot be a topic");
            }
        }
        if hub.publish(messages).await.is_err() {
            return;
        }
        published.send_replace(publisher.published());
    }
}

/// How many messages an event becomes.
fn message_count(event: &FieldEvent) -> usize {
    match event {
        FieldEvent::Readings(readings) => readings.len(),
        FieldEvent::Device { .. } => 1,
    }
}

fn describe(
    event: &FieldEvent,
    clock: ClockState,
    publisher: &mut Publisher,
    messages: &mut Vec<Message>,
) -> Result<(), TopicError> {
    match event {
        FieldEvent::Readings(readings) => publisher.readings(readings, clock, messages)?,
        FieldEvent::Device { device, state, time } => {
            let online = *state == DeviceState::Online;
            messages.push(publisher.device(device, online, *time)?);
        }
    }
    Ok(())
}
