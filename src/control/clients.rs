//! core: what the broker's clients look like to somebody outside.

use serde::{Deserialize, Serialize};

use super::report::TotalsReport;
use crate::hub::SessionStatus;
use crate::store::SessionOwner;

/// A client of the broker, or its session while it is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientReport {
    /// Its client id.
    pub client_id: String,
    /// Whether it has a connection.
    pub connected: bool,
    /// Where it came from last, `192.0.2.7:50123`; `None` if it has not come since the gateway started.
    pub address: Option<String>,
    /// The user it entered as.
    pub user: Option<String>,
    /// The listener it came to, `mqtts://192.0.2.1:8883`.
    pub listener: Option<String>,
    /// `3.1`, `3.1.1` or `5.0`; `None` while it is away.
    pub version: Option<String>,
    /// Its keep alive in seconds, 0 for none.
    pub keep_alive_s: Option<u16>,
    /// Whether it began its session anew when it came.
    pub clean_start: Option<bool>,
    /// Seconds its session outlives its connection; `None` for ever.
    pub session_expiry_s: Option<u32>,
    /// When it came, or went if it is away, RFC 3339; `None` if the clock was not set.
    pub since: Option<String>,
    /// Its subscriptions.
    pub subscriptions: u64,
    /// Messages under way to it.
    pub in_flight: u64,
    /// Messages that wait for it, without those under way.
    pub queued: u64,
    /// Bytes of payload that wait for it in memory; what lies in the store alone is not counted.
    pub queued_bytes: u64,
    /// What became of other messages since its session began or the gateway started.
    pub totals: TotalsReport,
    /// Its publications that were not taken, but for what the rules deny.
    pub publications_refused: u64,
    /// Its subscriptions that were not taken, likewise.
    pub subscriptions_refused: u64,
}

/// All of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClientsReport {
    /// Connected clients.
    pub connected: u64,
    /// Sessions of clients that are away.
    pub away: u64,
}

impl ClientReport {
    /// A session as it is told; `None` if it is no client's.
    #[must_use]
    pub fn of(session: &SessionStatus) -> Option<Self> {
        let SessionOwner::Client(client_id) = &session.owner else { return None };
        let caller = session.caller.as_deref();
        let in_flight = session.inflight as u64;
        let version = session.version.map(|version| version.to_string());
        Some(Self {
            client_id: client_id.to_string(),
            connected: session.connected,
            address: caller.map(|caller| caller.peer.to_string()),
            user: session.user.as_deref().map(str::to_owned),
            listener: caller.map(|caller| caller.listener.to_string()),
            version: version.map(|version| version.replace("MQTT ", "")),
            keep_alive_s: caller.map(|caller| caller.keep_alive),
            clean_start: caller.map(|caller| caller.clean_start),
            session_expiry_s: Some(session.expiry).filter(|expiry| *expiry != u32::MAX),
            since: session.since.is_set().then(|| session.since.to_string()),
            subscriptions: session.subscriptions as u64,
            in_flight,
            queued: session.queued.saturating_sub(in_flight),
            queued_bytes: session.waiting_bytes as u64,
            totals: session.counters.into(),
            publications_refused: session.counters.rejected,
            subscriptions_refused: session.counters.subscriptions_refused,
        })
    }
}
