//! shell: answers questions for a gateway that runs, out of its hub.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{info, warn};

use super::clients::{ClientReport, ClientsReport};
use super::export::{ExportedMessage, Names, filter, find_session, selection};
use super::listener::Lines;
use super::report::{
    DamageReport, ExportReport, PurgeReport, QueueReport, SessionKind, SessionReport, StuckReport,
    VerifyReport,
};
use super::request::{ExportRequest, PurgeRequest, PurgeWhat, Request};
use super::units;
use crate::field::BusHandle;
use crate::hub::{HubHandle, HubStatus, Looked, Oldest, Purge, SessionStatus};
use crate::model::{Seq, Timestamp};
use crate::store::{Damage, Purged, QueueSettings, Selection, SessionId, SessionOwner, StoreError};

/// How long a gateway that is well needs at most to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a slice of a purge may take to become durable.
const PURGE_MAX: Duration = Duration::from_secs(30);
/// Slices that are looked at for the oldest messages of sessions that have not read theirs.
const OLDEST_SLICES_MAX: usize = 400;

/// Answers questions.
#[derive(Debug)]
pub struct Desk {
    hub: HubHandle,
    queue: QueueSettings,
    /// The Modbus buses, by name.
    buses: BTreeMap<Arc<str>, BusHandle>,
}

/// Why there is no whole answer.
#[derive(Debug)]
pub(super) enum DeskError {
    /// The client is told this.
    Said(String),
    /// The client is gone.
    Gone(io::Error),
}

impl From<String> for DeskError {
    fn from(why: String) -> Self {
        Self::Said(why)
    }
}

impl From<StoreError> for DeskError {
    fn from(error: StoreError) -> Self {
        Self::Said(error.to_string())
    }
}

impl From<io::Error> for DeskError {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// Waits for the hub, for a bounded time.
async fn within<T, E: std::fmt::Display>(
    patience: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, DeskError> {
    match timeout(patience, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(DeskError::Said(error.to_string())),
        Err(_) => Err(DeskError::Said(format!(
            "the gateway did not do it within {} s; its log, or `fieldpost queue status`, may say why",
            patience.as_secs()
        ))),
    }
}

fn json(report: &impl serde::Serialize) -> Result<String, DeskError> {
    serde_json::to_string(report).map_err(|error| DeskError::Said(error.to_string()))
}

impl Desk {
    /// Where the queue lies that is spoken of.
    pub(super) fn state_dir(&self) -> &Path {
        &self.queue.state_dir
    }

    /// A desk beside a running hub; `queue` is what its store runs with, `buses` are those whose units may be asked.
    #[must_use]
    pub fn new(hub: HubHandle, queue: QueueSettings, buses: BTreeMap<Arc<str>, BusHandle>) -> Self {
        Self { hub, queue, buses }
    }

    /// Answers a question: items go to `lines`, the sum comes back.
    pub(super) async fn answer(
        &self,
        request: Request,
        lines: &mut Lines,
    ) -> Result<String, DeskError> {
        match request {
            Request::QueueStatus => json(&self.queue_status().await?),
            Request::QueueExport(request) => json(&self.export(&request, lines).await?),
            Request::QueuePurge(request) => json(&self.purge(&request).await?),
            Request::QueueVerify => json(&self.verify(lines).await?),
            Request::AskUnit(request) => json(&units::ask(&self.buses, request).await?),
            Request::Clients => json(&self.clients(lines).await?),
            Request::SendAway { client_id } => json(&self.send_away(&client_id).await?),
        }
    }

    async fn status(&self) -> Result<HubStatus, DeskError> {
        within(ANSWER_MAX, self.hub.status()).await
    }

    async fn look(&self, after: Seq) -> Result<Looked, DeskError> {
        Ok(within(ANSWER_MAX, self.hub.look(after)).await??)
    }

    async fn clients(&self, lines: &mut Lines) -> Result<ClientsReport, DeskError> {
        let status = self.status().await?;
        let mut report = ClientsReport::default();
        for client in status.sessions.iter().filter_map(ClientReport::of) {
            let of = if client.connected { &mut report.connected } else { &mut report.away };
            *of += 1;
            lines.item(json(&client)?).await?;
        }
        Ok(report)
    }

    async fn send_away(&self, client_id: &str) -> Result<(), DeskError> {
        if !within(ANSWER_MAX, self.hub.send_away(client_id)).await? {
            return Err(DeskError::Said(format!("no client `{client_id}` is connected")));
        }
        info!(client_id, "client is sent away by command");
        Ok(())
    }

    async fn queue_status(&self) -> Result<QueueReport, DeskError> {
        let status = self.status().await?;
        let durable: Vec<&SessionStatus> = status.sessions.iter().filter(|s| s.durable).collect();
        let oldest = self.oldest(&durable).await?;
        let sessions = durable.iter().map(|session| {
            let (kind, name) = SessionKind::of(&session.owner);
            let in_flight = session.inflight as u64;
            SessionReport {
                name: name.to_owned(),
                kind,
                configured: session.configured,
                connected: session.connected,
                waiting: session.queued.saturating_sub(in_flight),
                in_flight,
                oldest: oldest.get(&session.owner).map(ToString::to_string),
                totals: Some(session.counters.into()),
            }
        });
        Ok(QueueReport {
            bytes_used: status.bytes_used,
            stuck: status.stuck.as_ref().map(|(cause, since)| StuckReport::new(cause, *since)),
            sessions: sessions.collect(),
            ..QueueReport::of_settings(&self.queue, true)
        })
    }

    /// When the oldest message of each session was accepted. What the hub has not read yet is looked for in the store.
    async fn oldest(
        &self,
        sessions: &[&SessionStatus],
    ) -> Result<BTreeMap<SessionOwner, Timestamp>, DeskError> {
        let mut found = BTreeMap::new();
        let mut sought = BTreeMap::new();
        for session in sessions {
            let key = session.owner.clone();
            match session.oldest {
                Oldest::None => {}
                Oldest::Accepted(accepted) => _ = found.insert(key, accepted),
                Oldest::After(seq) => _ = sought.insert(key, seq),
            }
        }
        let mut next = sought.values().min().copied();
        for _ in 0..OLDEST_SLICES_MAX {
            let Some(after) = next.filter(|_| !sought.is_empty()) else { break };
            let looked = self.look(after).await?;
            for (stored, waiting) in &looked.messages {
                for owner in waiting {
                    let key = owner.clone();
                    if sought.remove(&key).is_some() {
                        found.insert(key, stored.message.accepted);
                    }
                }
            }
            next = looked.next;
        }
        Ok(found)
    }

    async fn export(
        &self,
        request: &ExportRequest,
        lines: &mut Lines,
    ) -> Result<ExportReport, DeskError> {
        let status = self.status().await?;
        let names = names(&status);
        let selection = selection(request, &names)?;
        let chosen = selection.session.and_then(|id| names.get(&id));
        let mut report = ExportReport::default();
        let mut next = Some(Seq(0));
        while let Some(after) = next {
            let looked = self.look(after).await?;
            report.damaged += looked.damaged.len() as u64;
            for (stored, waiting) in &looked.messages {
                // What came after the question is not waited for, or a busy gateway would never come to an end.
                if stored.seq > status.last_seq || Some(report.messages) == request.limit {
                    return Ok(report);
                }
                let is_its = chosen.is_none_or(|owner| waiting.contains(owner));
                if is_its && selection.takes(&stored.message) {
                    lines.item(json(&ExportedMessage::new(stored, waiting))?).await?;
                    report.messages += 1;
                }
            }
            next = looked.next;
        }
        Ok(report)
    }

    async fn purge(&self, request: &PurgeRequest) -> Result<PurgeReport, DeskError> {
        let status = self.status().await?;
        let names = names(&status);
        let mut ended = None;
        let purge = match &request.what {
            PurgeWhat::All => Purge::Messages(Selection::default()),
            PurgeWhat::Damaged => Purge::Damaged,
            PurgeWhat::UplinkGone { name } => {
                let session = gone_uplink(name, &status)?;
                ended = Some(name.clone());
                Purge::Messages(Selection { session: Some(session), ..Selection::default() })
            }
            PurgeWhat::Some { session, topic, before_ms } => {
                let find = |text: &str| find_session(text, &names);
                let session = session.as_deref().map(find).transpose()?;
                let before = before_ms.map(Timestamp::from_unix_ms);
                let filter = filter(topic.as_deref())?;
                if filter.is_none() && before.is_none() {
                    let found = status.sessions.iter().find(|known| Some(known.id) == session);
                    let gone = found.filter(|known| !known.configured);
                    ended = gone.map(|gone| SessionKind::of(&gone.owner).1.to_owned());
                }
                Purge::Messages(Selection { session, filter, before, since: None })
            }
        };
        let result = self.purge_slices(&purge, status.last_seq, request.dry_run).await;
        let purged = result.as_ref().unwrap_or_else(|(purged, _)| purged);
        let mut report = PurgeReport::new(purged, &names);
        if !request.dry_run {
            log_purge(&report);
        }
        if let Err((_, why)) = result {
            return Err(why);
        }
        if let Some(name) = ended.as_ref().filter(|_| !request.dry_run) {
            let end = within(PURGE_MAX, self.hub.end_uplink(name)).await?;
            end.map_err(|error| format!("uplink {name}: {error}"))?;
            warn!(uplink = %name, "session of a removed uplink ended by command");
        }
        report.ended = ended;
        Ok(report)
    }

    /// Slice by slice; what was done before something went wrong comes along.
    async fn purge_slices(
        &self,
        purge: &Purge,
        last: Seq,
        dry_run: bool,
    ) -> Result<Purged, (Purged, DeskError)> {
        let mut purged = Purged::default();
        let mut next = Some(Seq(0));
        while let Some(after) = next.filter(|after| *after < last) {
            let answer = within(PURGE_MAX, self.hub.purge(purge.clone(), after, dry_run)).await;
            let slice = match answer {
                Ok(Ok(slice)) => slice,
                Ok(Err(error)) => return Err((purged, error.into())),
                Err(error) => return Err((purged, error)),
            };
            purged.add(&slice.purged);
            next = slice.next;
        }
        Ok(purged)
    }

    async fn verify(&self, lines: &mut Lines) -> Result<VerifyReport, DeskError> {
        let mut report = VerifyReport::default();
        let damages = within(ANSWER_MAX, self.hub.verify()).await??;
        let last = self.status().await?.last_seq;
        self.tell(damages, &mut report, lines).await?;
        let mut next = Some(Seq(0));
        while let Some(after) = next.filter(|after| *after < last) {
            let looked = self.look(after).await?;
            report.messages += looked.messages.len() as u64;
            let damages = looked.damaged.iter().map(Damage::of_segment).collect();
            self.tell(damages, &mut report, lines).await?;
            next = looked.next;
        }
        Ok(report)
    }

    async fn tell(
        &self,
        damages: Vec<Damage>,
        report: &mut VerifyReport,
        lines: &mut Lines,
    ) -> Result<(), DeskError> {
        report.faults += damages.len() as u64;
        for damage in damages {
            lines.item(json(&DamageReport::from(damage))?).await?;
        }
        Ok(())
    }
}

fn names(status: &HubStatus) -> Names {
    let durable = status.sessions.iter().filter(|session| session.durable);
    durable.map(|session| (session.id, session.owner.clone())).collect()
}

fn gone_uplink(name: &str, status: &HubStatus) -> Result<SessionId, String> {
    let is_it = |owner: &SessionOwner| *owner == SessionOwner::Uplink(name.into());
    let found = status.sessions.iter().find(|session| is_it(&session.owner));
    let found = found.ok_or_else(|| format!("nothing is stored for an uplink `{name}`"))?;
    if found.configured {
        return Err(format!(
            "the gateway runs with the uplink `{name}`: take it out of the configuration and restart first, or remove \
             only what waits for it with --session {name}"
        ));
    }
    Ok(found.id)
}

fn log_purge(report: &PurgeReport) {
    for session in &report.sessions {
        let (count, in_flight) = (session.removed, session.in_flight);
        warn!(session = %session.name, count, in_flight, "messages purged by command");
    }
    if report.damaged > 0 {
        warn!(count = report.damaged, "damaged rows purged by command");
    }
}
