//! shell: publishes at intervals how the gateway is doing.
#![allow(clippy::disallowed_methods, reason = "this shell keeps an interval")]

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at};
use tracing::debug;

use super::buses::Buses;
use super::desk::DeskError;
use super::state;
use crate::hub::HubHandle;
use crate::model::TopicName;

/// How often it is said, the first time after that long.
const EVERY: Duration = Duration::from_secs(60);

/// Says on `topic` how the gateway is doing, until `stop` turns true or the hub is gone. It is retained in memory and never
/// stored.
pub async fn announce(
    topic: TopicName,
    buses: Buses,
    hub: HubHandle,
    mut stop: watch::Receiver<bool>,
) {
    let start = Instant::now();
    let mut ticks = interval_at((start + EVERY).into(), EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // An error means that whoever could say so is gone, which comes to the same.
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let reports = match buses.reports().await {
            Ok(reports) => reports,
            Err(DeskError::Said(why)) => {
                debug!(why, "state of the gateway is not published this time");
                continue;
            }
            Err(DeskError::Gone(_)) => return,
        };
        let Ok(status) = hub.status().await else { return };
        let (running, now) = (start.elapsed().as_secs(), SystemTime::now().into());
        let message = state::message(&topic, &reports, &status, running, now);
        if hub.say_of_self(vec![message]).await.is_err() {
            return;
        }
    }
}
