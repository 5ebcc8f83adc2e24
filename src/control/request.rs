//! core: what can be asked, and how an answer stands in lines.

use serde::{Deserialize, Serialize};

use crate::field::modbus::query::Query;
use crate::field::{Rank, UnitId};

/// What is sent to a gateway, one line of JSON: a question, and of whose queue it is. Gateways may have taken a runtime
/// directory one after the other, and nobody wants the queue of another purged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The state directory, by its device and inode, so that it may have several names.
    pub state_dir: (u64, u64),
    /// The question.
    pub request: Request,
}

/// A question to a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the queue stands. Done says a [`QueueReport`](super::QueueReport).
    QueueStatus,
    /// The messages in the queue. Each is an item ([`ExportedMessage`](super::ExportedMessage)), done says an
    /// [`ExportReport`](super::ExportReport).
    QueueExport(ExportRequest),
    /// Remove messages. Done says a [`PurgeReport`](super::PurgeReport).
    QueuePurge(PurgeRequest),
    /// Whether all of the queue can be read. Each fault is an item ([`DamageReport`](super::DamageReport)), done says a
    /// [`VerifyReport`](super::VerifyReport).
    QueueVerify,
    /// Who the broker's clients are. Each is an item ([`ClientReport`](super::ClientReport)), done says a
    /// [`ClientsReport`](super::ClientsReport).
    Clients,
    /// Ask a unit of a bus. Done says the [`Outcome`](crate::field::modbus::transaction::Outcome).
    AskUnit(UnitRequest),
    /// End the connection of a client. Done says nothing more.
    SendAway {
        /// Which.
        client_id: String,
    },
}

/// A question for a unit of one of the gateway's buses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRequest {
    /// The bus, by its key in the configuration.
    pub bus: String,
    /// The unit; it need be none of the configuration.
    pub unit: UnitId,
    /// When it may go.
    pub rank: Rank,
    /// What is asked.
    pub query: Query,
}

/// Which messages are wanted; what is given must hold all at once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// Waiting for this session: a name, or `uplink:NAME` or `client:NAME`.
    pub session: Option<String>,
    /// With a topic under this filter.
    pub topic: Option<String>,
    /// Accepted at this time or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Accepted before this time, likewise.
    pub until_ms: Option<u64>,
    /// So many at most.
    pub limit: Option<u64>,
}

/// What is to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// What.
    pub what: PurgeWhat,
    /// Only count it.
    pub dry_run: bool,
}

/// What is to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PurgeWhat {
    /// All waiting messages.
    All,
    /// Waiting messages; what is given must hold all at once. A session alone that is an uplink's which the
    /// configuration no longer has goes itself, too.
    Some {
        /// Waiting for this session: a name, or `uplink:NAME` or `client:NAME`.
        session: Option<String>,
        /// With a topic under this filter.
        topic: Option<String>,
        /// Accepted before this time, in milliseconds since the Unix epoch.
        before_ms: Option<u64>,
    },
    /// The session of an uplink that the configuration no longer has, and what waits for it.
    UplinkGone {
        /// The uplink's name.
        name: String,
    },
    /// What cannot be understood.
    Damaged,
}

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// One of the things asked for, as JSON.
    Item(String),
    /// The last line: it went well, and this is the sum of it, as JSON.
    Done(String),
    /// The last line: what went wrong, and the remedy.
    Error(String),
}

impl Line {
    /// The line as it is sent, with its end.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Item(json) => format!("{{\"item\":{json}}}\n"),
            Self::Done(json) => format!("{{\"done\":{json}}}\n"),
            Self::Error(text) => {
                format!("{{\"error\":{}}}\n", serde_json::Value::from(text.as_str()))
            }
        }
    }

    /// The inverse of [`Self::encode`]; `None` if it is no such line.
    #[must_use]
    pub fn decode(line: &str) -> Option<Self> {
        let inner = line.trim_end_matches('\n').strip_suffix('}')?;
        if let Some(json) = inner.strip_prefix("{\"item\":") {
            Some(Self::Item(json.to_owned()))
        } else if let Some(json) = inner.strip_prefix("{\"done\":") {
            Some(Self::Done(json.to_owned()))
        } else {
            let text = inner.strip_prefix("{\"error\":")?;
            serde_json::from_str(text).ok().map(Self::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_went() {
        for line in [
            Line::Item("{\"a\":1}".to_owned()),
            Line::Done("{}".to_owned()),
            Line::Error("a \"quoted\"\nword".to_owned()),
        ] {
            let text = line.encode();
            assert_eq!(text.matches('\n').count(), 1);
            assert_eq!(Line::decode(&text), Some(line));
        }
        assert_eq!(Line::decode("{\"else\":1}"), None);
        assert_eq!(Line::decode("{\"error\":1}"), None);
        assert_eq!(Line::decode(""), None);
    }

    #[test]
    fn questions_come_back_as_they_went_and_unknown_words_are_refused() {
        let purge = Request::QueuePurge(PurgeRequest {
            what: PurgeWhat::Some {
                session: Some("far".to_owned()),
                topic: None,
                before_ms: Some(7),
            },
            dry_run: true,
        });
        let ask = Request::AskUnit(UnitRequest {
            bus: "rs485".to_owned(),
            unit: UnitId(3),
            rank: Rank::Idle,
            query: Query::ServerId,
        });
        let export = Request::QueueExport(ExportRequest::default());
        for request in [Request::QueueStatus, export, purge, ask] {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
        }
        assert!(serde_json::from_str::<Request>("\"queue_burn\"").is_err());
        assert!(serde_json::from_str::<Request>(r#"{"queue_export":{"sesion":"far"}}"#).is_err());
    }
}
