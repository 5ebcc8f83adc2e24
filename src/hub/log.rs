//! shell: says what happened in the hub, and keeps clients from filling the log.

use std::net::IpAddr;
use std::time::Instant;

use tracing::field::display;
use tracing::{debug, error, info, warn};

use super::engine::{DeniedWhat, Fact};
use super::session::Caller;
use super::takeover::Takeover;
use crate::quiet::Quiet;
use crate::store::DropReason;

/// Lines a minute about what clients of one address are refused, of each kind.
const REFUSALS_SAID: u32 = 5;

/// The log of the hub.
#[derive(Debug)]
pub(super) struct FactLog {
    refusals: Quiet<(Refused, Option<IpAddr>)>,
}

/// What clients are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Refused {
    Publication,
    Subscription,
    Denied(DeniedWhat),
    TooLarge,
}

impl Refused {
    fn words(self) -> &'static str {
        match self {
            Self::Publication => "publications refused",
            Self::Subscription => "subscriptions refused",
            Self::TooLarge => "messages dropped: larger than the other side takes",
            Self::Denied(DeniedWhat::Publish) => "publications denied by the rules",
            Self::Denied(DeniedWhat::Will) => "wills denied by the rules",
            Self::Denied(DeniedWhat::Subscribe) => "subscriptions denied by the rules",
            Self::Denied(DeniedWhat::Delivery) => "deliveries denied by the rules",
        }
    }
}

impl Default for FactLog {
    fn default() -> Self {
        Self { refusals: Quiet::new(REFUSALS_SAID) }
    }
}

impl FactLog {
    /// Says what happened.
    pub(super) fn tell(&mut self, fact: &Fact, now: Instant) {
        match fact {
            Fact::PublicationRefused { session, topic, reason, address, count } => {
                let said = self.may_say(Refused::Publication, *address, now);
                let address = address.map(display);
                if said {
                    warn!(%session, address, %topic, %reason, count, "publication refused");
                } else {
                    debug!(%session, address, %topic, %reason, count, "publication refused");
                }
            }
            Fact::SubscriptionRefused { session, filter, reason, address, count } => {
                let said = self.may_say(Refused::Subscription, *address, now);
                let address = address.map(display);
                if said {
                    warn!(%session, address, %filter, %reason, count, "subscription refused");
                } else {
                    debug!(%session, address, %filter, %reason, count, "subscription refused");
                }
            }
            Fact::Denied { client_id, user, what, topic, address, rule, count } => {
                let said = self.may_say(Refused::Denied(*what), *address, now);
                let (user, address, what) = (user.as_deref(), address.map(display), denied(*what));
                let why = match rule {
                    Some(place) => format!("rule {place} denies it"),
                    None => "no rule allows it".to_owned(),
                };
                if said {
                    warn!(%client_id, user, address, what, %topic, %why, count, "client was denied by the rules (broker.acl)");
                } else {
                    debug!(%client_id, user, address, what, %topic, %why, count, "client was denied by the rules");
                }
            }
            Fact::TooLarge { session, topic } => {
                if self.may_say(Refused::TooLarge, None, now) {
                    warn!(%session, %topic, "message dropped: larger than the other side takes");
                } else {
                    debug!(%session, %topic, "message dropped: larger than the other side takes");
                }
            }
            Fact::TakenOver { client_id, first, second, what } => {
                log_takeover(client_id, first, second, *what);
            }
            Fact::SessionLost { .. }
            | Fact::Dropped { .. }
            | Fact::DropsEnded { .. }
            | Fact::Overflowed { .. }
            | Fact::RetainedRefused { .. }
            | Fact::Refused { .. }
            | Fact::UplinkGone { .. }
            | Fact::Returned { .. }
            | Fact::Unasked { .. } => log_fact(fact),
        }
    }

    /// Says how much was left unsaid in the minute that is over.
    pub(super) fn tell_unsaid(&mut self, now: Instant) {
        for ((refused, address), unsaid) in self.refusals.handle_timeout(now) {
            warn!(address = address.map(display), unsaid, "more {}", refused.words());
        }
    }

    fn may_say(&mut self, refused: Refused, address: Option<IpAddr>, now: Instant) -> bool {
        self.refusals.handle(&(refused, address), now).is_some()
    }
}

fn log_takeover(client_id: &str, first: &Caller, second: &Caller, what: Takeover) {
    let (first, second) = (&first.peer, &second.peer);
    match what {
        Takeover::Usual => {
            warn!(%client_id, %first, %second, "client id connected twice; first connection ended");
        }
        Takeover::Fight => {
            warn!(%client_id, %first, %second, "two clients share a client id and end each other's connection again and again; give each a client id of its own");
        }
        Takeover::Fighting(count) => {
            debug!(%client_id, %first, %second, count, "client id connected twice");
        }
    }
}

/// What keeps messages from being dropped for this reason; `None` where it is meant to be so.
fn remedy(reason: DropReason) -> Option<&'static str> {
    match reason {
        DropReason::QueueFull | DropReason::Thinned => {
            Some("look after the link, or raise queue.max_size")
        }
        DropReason::DiskFull => Some("make room on the disk of state_dir"),
        DropReason::TooOld => Some("look after the link, or raise queue.max_age"),
        DropReason::TooLarge => Some("let the other side take larger packets"),
        DropReason::Damaged => Some("the damaged file lies beside the queue; look after the disk"),
        DropReason::Expired | DropReason::Purged => None,
    }
}

/// What a client was kept from, in a word.
fn denied(what: DeniedWhat) -> &'static str {
    match what {
        DeniedWhat::Publish => "publish",
        DeniedWhat::Will => "will",
        DeniedWhat::Subscribe => "subscribe",
        DeniedWhat::Delivery => "delivery",
    }
}

fn log_fact(fact: &Fact) {
    match fact {
        Fact::SessionLost { uplink, republished, trusted } => {
            warn!(%uplink, republished, trusted, "upstream lost our session; unsettled messages sent again");
        }
        Fact::Dropped { session, reason, count, first: true } => {
            let (reason, remedy) = (reason.word(), remedy(*reason));
            error!(%session, reason, count, remedy, "messages dropped to keep the queue's bounds, and more as others come");
        }
        Fact::Dropped { session, reason, count, first: false } => {
            debug!(%session, reason = reason.word(), count, "messages dropped");
        }
        Fact::DropsEnded { session, count } => {
            info!(%session, count, "no more messages are dropped");
        }
        Fact::Overflowed { session, waiting, bytes } => {
            warn!(%session, waiting, bytes, "queue of a client is full; messages for it are dropped");
        }
        Fact::RetainedRefused { topic, count: 1, messages, bytes } => {
            warn!(%topic, messages, bytes, "no room to retain a message; more of these at debug level");
        }
        Fact::RetainedRefused { topic, count, .. } => {
            debug!(%topic, count, "no room to retain a message");
        }
        Fact::Refused { session, topic, count: 1 } => {
            warn!(%session, %topic, "other side refused a message; more of these at debug level");
        }
        Fact::Refused { session, topic, count } => {
            debug!(%session, %topic, count, "other side refused a message");
        }
        Fact::UplinkGone { uplink, queued } => {
            warn!(%uplink, queued, "stored messages wait for an uplink that is not configured");
        }
        Fact::Returned { session, topic, count: 1 } => {
            warn!(%session, %topic, "message came back over a bridge and was not taken again; more of these at debug level");
        }
        Fact::Returned { session, topic, count } => {
            debug!(%session, %topic, count, "message came back over a bridge");
        }
        Fact::Unasked { uplink, topic } => {
            debug!(%uplink, %topic, "upstream sent what no rule accepts; it is not taken");
        }
        // Said by `FactLog::tell`.
        Fact::PublicationRefused { .. }
        | Fact::SubscriptionRefused { .. }
        | Fact::Denied { .. }
        | Fact::TooLarge { .. }
        | Fact::TakenOver { .. } => {}
    }
}
