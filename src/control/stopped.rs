//! shell: answers the questions about the queue for a gateway that does not run, out of its store.

use std::collections::BTreeMap;

use super::export::{ExportedMessage, Names, filter, find_session, selection};
use super::report::{
    DamageReport, ExportReport, PurgeReport, QueueReport, SessionKind, SessionReport, VerifyReport,
};
use super::request::{ExportRequest, PurgeRequest, PurgeWhat, Request};
use crate::model::{Seq, Timestamp};
use crate::store::{
    Damage, Purged, QueueSettings, Selection, SessionId, SessionOwner, Slice, StoppedStore,
    StoreError, StoredMessage, Waiting,
};

/// Rows read at a time.
const SLICE_COUNT: usize = 1024;
/// Payload bytes read at a time (one message more).
const SLICE_BYTES: usize = 1024 * 1024;

/// The queue of a gateway that does not run. No gateway can start on it meanwhile.
#[derive(Debug)]
pub struct StoppedQueue {
    store: StoppedStore,
    queue: QueueSettings,
    uplinks: Vec<String>,
    now: Timestamp,
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
enum Broken<E> {
    #[error("{0}")]
    Said(String),
    #[error("{0}")]
    Item(E),
}

impl<E> From<StoreError> for Broken<E> {
    fn from(error: StoreError) -> Self {
        Self::Said(error.to_string())
    }
}

impl<E> From<String> for Broken<E> {
    fn from(why: String) -> Self {
        Self::Said(why)
    }
}

impl<E> From<serde_json::Error> for Broken<E> {
    fn from(error: serde_json::Error) -> Self {
        Self::Said(error.to_string())
    }
}

/// A session's messages as a walk counts them.
#[derive(Debug, Default)]
struct Counted {
    waiting: u64,
    in_flight: u64,
    oldest: Option<Timestamp>,
}

impl StoppedQueue {
    /// Opens the store of `queue` at `now`; `uplinks` are those of the configuration.
    ///
    /// # Errors
    /// [`StoreError`] if there is none, or it is in use, or cannot be read.
    pub fn open(
        queue: QueueSettings,
        uplinks: Vec<String>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let store = StoppedStore::open(&queue.state_dir, queue.runtime_dir.as_deref())?;
        Ok(Self { store, queue, uplinks, now })
    }

    /// Answers a question: items go to `item` one by one, the sum comes back, both as JSON.
    ///
    /// # Errors
    /// What went wrong, made an error of the caller's by `said`; what `item` says.
    pub fn answer<E>(
        &mut self,
        request: &Request,
        mut item: impl FnMut(String) -> Result<(), E>,
        said: impl FnOnce(String) -> E,
    ) -> Result<String, E> {
        let mut put = |json: String| item(json).map_err(Broken::Item);
        let result = match request {
            Request::QueueStatus => self.status().and_then(|report| json(&report)),
            Request::QueueExport(request) => {
                self.export(request, &mut put).and_then(|report| json(&report))
            }
            Request::QueuePurge(request) => self.purge(request).and_then(|report| json(&report)),
            Request::QueueVerify => self.verify(&mut put).and_then(|report| json(&report)),
            Request::AskUnit(_) => {
                Err(Broken::Said("the gateway does not run, so it has no buses".to_owned()))
            }
            Request::Clients | Request::SendAway { .. } => {
                Err(Broken::Said("the gateway does not run, so it has no clients".to_owned()))
            }
        };
        result.map_err(|error| match error {
            Broken::Said(why) => said(why),
            Broken::Item(error) => error,
        })
    }

    fn names(&self) -> Result<Names, StoreError> {
        let sessions = self.store.sessions()?;
        Ok(sessions.into_iter().map(|session| (session.id, session.owner)).collect())
    }

    fn is_configured(&self, owner: &SessionOwner) -> bool {
        match owner {
            SessionOwner::Uplink(name) => self.uplinks.iter().any(|known| **known == **name),
            SessionOwner::Client(_) => true,
        }
    }

    /// Reads everything; `false` ends it.
    fn walk<E>(
        &mut self,
        mut step: impl FnMut(&Slice) -> Result<bool, Broken<E>>,
    ) -> Result<(), Broken<E>> {
        let mut next = Some(Seq(0));
        while let Some(after) = next {
            let slice = self.store.slice(after, SLICE_COUNT, SLICE_BYTES)?;
            next = slice.examined;
            if !step(&slice)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn status<E>(&mut self) -> Result<QueueReport, Broken<E>> {
        let stored = self.store.sessions()?;
        let waiting = Waiting::new(&stored);
        let mut counted: BTreeMap<SessionId, Counted> = BTreeMap::new();
        self.walk(|slice| {
            for stored in &slice.messages {
                for target in stored.targets.iter() {
                    if !waiting.waits(target.session, stored.seq) {
                        continue;
                    }
                    let of = counted.entry(target.session).or_default();
                    of.oldest.get_or_insert(stored.message.accepted);
                    if waiting.is_in_flight(target.session, stored.seq) {
                        of.in_flight += 1;
                    } else {
                        of.waiting += 1;
                    }
                }
            }
            Ok::<_, Broken<E>>(true)
        })?;
        let report = |owner: &SessionOwner, counted: &Counted| {
            let (kind, name) = SessionKind::of(owner);
            SessionReport {
                name: name.to_owned(),
                kind,
                configured: self.is_configured(owner),
                connected: false,
                waiting: counted.waiting,
                in_flight: counted.in_flight,
                oldest: counted.oldest.map(|oldest| oldest.to_string()),
                totals: None,
            }
        };
        let none = Counted::default();
        let mut sessions: Vec<SessionReport> =
            stored.iter().map(|s| report(&s.owner, counted.get(&s.id).unwrap_or(&none))).collect();
        for name in &self.uplinks {
            let owner = SessionOwner::Uplink(name.as_str().into());
            if !stored.iter().any(|session| session.owner == owner) {
                sessions.push(report(&owner, &none));
            }
        }
        Ok(QueueReport {
            bytes_used: self.store.bytes_used()?,
            staged_lost: self.store.staged_lost(),
            sessions,
            ..QueueReport::of_settings(&self.queue, false)
        })
    }

    fn export<E>(
        &mut self,
        request: &ExportRequest,
        put: &mut impl FnMut(String) -> Result<(), Broken<E>>,
    ) -> Result<ExportReport, Broken<E>> {
        let names = self.names()?;
        let selection = selection(request, &names)?;
        let waiting = Waiting::new(&self.store.sessions()?);
        let waits = |stored: &StoredMessage| -> Vec<SessionId> {
            let sessions = stored.targets.iter().map(|target| target.session);
            sessions.filter(|session| waiting.waits(*session, stored.seq)).collect()
        };
        let mut report = ExportReport::default();
        self.walk(|slice| {
            report.damaged += slice.damaged.len() as u64;
            for stored in &slice.messages {
                if Some(report.messages) == request.limit {
                    return Ok(false);
                }
                let sessions = waits(stored);
                let is_its = sessions.iter().any(|session| selection.includes(*session));
                if is_its && selection.takes(&stored.message) {
                    let owners = sessions.iter().filter_map(|session| names.get(session).cloned());
                    let owners: Vec<SessionOwner> = owners.collect();
                    put(serde_json::to_string(&ExportedMessage::new(stored, &owners))?)?;
                    report.messages += 1;
                }
            }
            Ok(true)
        })?;
        Ok(report)
    }

    fn purge<E>(&mut self, request: &PurgeRequest) -> Result<PurgeReport, Broken<E>> {
        let names = self.names()?;
        let mut ended = None;
        let selection = match &request.what {
            PurgeWhat::Damaged => return self.purge_damaged(request.dry_run),
            PurgeWhat::All => Selection::default(),
            PurgeWhat::UplinkGone { name } => {
                let id = self.gone_uplink(name, &names)?;
                ended = Some((id, name.clone()));
                Selection { session: Some(id), ..Selection::default() }
            }
            PurgeWhat::Some { session, topic, before_ms } => {
                let find = |text: &str| find_session(text, &names);
                let session = session.as_deref().map(find).transpose()?;
                let before = before_ms.map(Timestamp::from_unix_ms);
                let filter = filter(topic.as_deref())?;
                if let (Some(id), None, None) = (session, &filter, before)
                    && let Some(owner) = names.get(&id).filter(|owner| !self.is_configured(owner))
                {
                    ended = Some((id, SessionKind::of(owner).1.to_owned()));
                }
                Selection { session, filter, before, since: None }
            }
        };
        if !request.dry_run {
            self.store.begin_changes()?;
        }
        let mut waiting = Waiting::new(&self.store.sessions()?);
        let mut purged = Purged::default();
        let mut next = Some(Seq(0));
        while let Some(after) = next {
            let slice = self.store.slice(after, SLICE_COUNT, SLICE_BYTES)?;
            let (dry_run, now) = (request.dry_run, self.now);
            purged.add(&self.store.purge(&mut waiting, &selection, &slice, dry_run, now)?);
            next = slice.examined;
        }
        if let Some((id, _)) = ended.as_ref().filter(|_| !request.dry_run) {
            self.store.end_session(*id)?;
        }
        let ended = ended.map(|(_, name)| name);
        Ok(PurgeReport { ended, ..PurgeReport::new(&purged, &names) })
    }

    fn purge_damaged<E>(&mut self, dry_run: bool) -> Result<PurgeReport, Broken<E>> {
        if !dry_run {
            self.store.begin_changes()?;
        }
        let mut damaged = self.store.remove_damaged_rows(dry_run)?;
        let mut next = Some(Seq(0));
        while let Some(after) = next {
            let slice = self.store.slice(after, SLICE_COUNT, SLICE_BYTES)?;
            damaged += slice.damaged.len() as u64;
            if !dry_run {
                self.store.remove_damaged_messages(&slice)?;
            }
            next = slice.examined;
        }
        Ok(PurgeReport { damaged, ..PurgeReport::default() })
    }

    fn gone_uplink(&self, name: &str, names: &Names) -> Result<SessionId, String> {
        let owner = SessionOwner::Uplink(name.into());
        if self.is_configured(&owner) {
            return Err(format!(
                "the configuration has the uplink `{name}`: take it out first, or remove only what waits for it with \
                 --session {name}"
            ));
        }
        let found = names.iter().find(|(_, known)| **known == owner).map(|(id, _)| *id);
        found.ok_or_else(|| format!("nothing is stored for an uplink `{name}`"))
    }

    fn verify<E>(
        &mut self,
        put: &mut impl FnMut(String) -> Result<(), Broken<E>>,
    ) -> Result<VerifyReport, Broken<E>> {
        let (damages, torn) = self.store.verify()?;
        let mut report = VerifyReport {
            messages: 0,
            faults: damages.len() as u64,
            pages_checked: true,
            torn_bytes: torn as u64,
        };
        for damage in damages {
            put(serde_json::to_string(&DamageReport::from(damage))?)?;
        }
        self.walk(|slice| {
            report.messages += slice.messages.len() as u64;
            report.faults += slice.damaged.len() as u64;
            for segment in &slice.damaged {
                put(serde_json::to_string(&DamageReport::from(Damage::of_segment(segment)))?)?;
            }
            Ok(true)
        })?;
        Ok(report)
    }
}

fn json<E>(report: &impl serde::Serialize) -> Result<String, Broken<E>> {
    Ok(serde_json::to_string(report)?)
}
