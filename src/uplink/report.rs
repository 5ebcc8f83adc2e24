//! shell: tells the LAN how an uplink is doing: at each change, and while messages wait once a minute.
#![allow(clippy::disallowed_methods, reason = "this shell reads the clock for what it says")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::state::{Condition, Situation};
use crate::hub::{HubHandle, UplinkLoad};
use crate::model::TopicName;

/// How often it is said how many messages wait, while that changes.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Runs until the uplink is gone, and says what it left.
pub(super) async fn report(
    uplink: Arc<str>,
    topic: TopicName,
    hub: HubHandle,
    mut situations: watch::Receiver<Situation>,
    load: watch::Receiver<UplinkLoad>,
) {
    let mut said = None;
    loop {
        let situation = situations.borrow_and_update().clone();
        let queued = load.borrow().queued;
        let is_up = situation.condition == Condition::Online;
        let (before, waited) = said.clone().unzip();
        // What is under way while all goes well is no news.
        let is_drained = waited.is_some_and(|waited: u64| waited > 0);
        let is_other = before.as_ref() != Some(&situation);
        if is_other || (waited != Some(queued) && (!is_up || is_drained)) {
            let now = SystemTime::now().into();
            if hub.publish(situation.messages(&uplink, &topic, queued, now)).await.is_err() {
                return;
            }
            said = Some((situation, queued));
        }
        tokio::select! {
            changed = situations.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(SAID_EVERY) => {}
        }
    }
}
