//! core: wills: kept with their sessions, published when they are due, also after a start. MQTT 5.0 sections 3.1.2.5 and
//! 3.1.3.2.

use std::time::Duration;

use super::addressed::Arrival;
use super::{DeniedWhat, Engine, Timer};
use crate::hub::session::SessionWill;
use crate::model::Moment;
use crate::store::{Change, SessionId, StoredWill};

impl Engine {
    /// Takes up the wills that a start found. A connection that was there when the program ended was cut by that: whoever
    /// has a session may come back to it within its will's delay. `away` tells how long a session had been left.
    pub(super) fn adopt_wills(
        &mut self,
        wills: Vec<(SessionId, StoredWill)>,
        away: impl Fn(SessionId) -> Duration,
        now: Moment,
    ) {
        for (id, will) in wills {
            self.last_session = self.last_session.max(id.0);
            let will = session_will(will);
            let expiry = self.sessions.get(&id).map_or(0, |session| session.expiry);
            let delay = will.delay.min(Duration::from_secs(expiry.into()));
            self.wills.insert(id, will);
            self.timers.insert((now.mono + delay.saturating_sub(away(id)), id, Timer::Will));
        }
    }

    /// Keeps the will of a connected client in the store, or forgets the one it had. Gives the batch that makes it
    /// durable; 0 for none.
    pub(super) fn keep_will(
        &mut self,
        id: SessionId,
        will: Option<&SessionWill>,
        had_one: bool,
    ) -> u64 {
        if will.is_none() && !had_one {
            return 0;
        }
        self.uncommitted_bytes += will.map_or(0, |will| will.message.payload.len());
        self.changes.push(Change::Will { session: id, will: will.map(stored_will) });
        self.open_batch
    }

    /// A client has left: its will is due, or will be.
    pub(super) fn begin_will(&mut self, id: SessionId, will: SessionWill, now: Moment) {
        let expiry = self.sessions.get(&id).map_or(0, |session| session.expiry);
        let delay = will.delay.min(Duration::from_secs(expiry.into()));
        self.wills.insert(id, will);
        if delay.is_zero() {
            self.publish_will(id, now);
        } else {
            self.timers.insert((now.mono + delay, id, Timer::Will));
        }
    }

    pub(super) fn publish_will(&mut self, id: SessionId, now: Moment) {
        let Some(will) = self.wills.remove(&id) else { return };
        if self.starting {
            // Not everybody who wants it is known yet.
            self.due_wills.push((id, will));
            return;
        }
        let SessionWill { mut message, expiry, .. } = will;
        // Its lifetime begins when it is published (3.1.3.2.4).
        message.expires = expiry.map(|expiry| now.wall.plus(expiry));
        let refused = self.publication_refused(&message, id);
        if let Some(refusal) = refused {
            self.count_rejected(id, &message.topic, refusal);
        } else if !self.denies_publish(id, &message.topic, DeniedWhat::Will) {
            let arrival = Arrival { retained: message.retain, ..Arrival::default() };
            self.hand_over(&mut message, id, arrival, now);
            self.route(message, Some(id), now);
        }
        // In the batch that holds its message: it is published once, whenever the program ends.
        self.changes.push(Change::Will { session: id, will: None });
    }

    /// Everybody who was known to the store or is in the configuration is there.
    pub(super) fn end_start(&mut self, now: Moment) {
        self.starting = false;
        for (id, will) in std::mem::take(&mut self.due_wills) {
            self.wills.insert(id, will);
            self.publish_will(id, now);
        }
    }
}

fn session_will(will: StoredWill) -> SessionWill {
    let StoredWill { message, delay, lifetime } = will;
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    SessionWill { message, delay: seconds(delay), expiry: lifetime.map(seconds) }
}

fn stored_will(will: &SessionWill) -> StoredWill {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    StoredWill {
        message: will.message.clone(),
        delay: seconds(will.delay),
        lifetime: will.expiry.map(seconds),
    }
}
