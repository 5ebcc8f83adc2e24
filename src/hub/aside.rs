//! shell: questions beside the road: what stands in the store, and what an operator takes out of it. They are heard also
//! while the hub takes no more messages.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::engine::{EndUplinkError, Engine, HubStatus};
use super::tally::Tally;
use crate::model::{Moment, Seq};
use crate::store::{
    Damage, DamagedSegment, Purged, Selection, SessionOwner, Slice, Store, StoreCommand,
    StoreError, StoreEvent, StoredMessage,
};

/// Rows one look brings at most: little enough that the store's thread is not held up.
const LOOK_COUNT: usize = 256;
/// Payload bytes one look brings at most (one message more).
const LOOK_BYTES: usize = 256 * 1024;

/// A stretch of the store and who waits for what there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Looked {
    /// The messages somebody waits for, oldest first.
    pub messages: Vec<(StoredMessage, Vec<SessionOwner>)>,
    /// Segments in between that cannot be understood.
    pub damaged: Vec<DamagedSegment>,
    /// Where to go on; `None` if there is nothing beyond.
    pub next: Option<Seq>,
}

/// What is to be taken out of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// Waiting messages.
    Messages(Selection),
    /// Rows that cannot be understood.
    Damaged,
}

/// One slice of a purge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PurgedSlice {
    /// What went, or would go.
    pub purged: Purged,
    /// Where to go on; `None` if there is nothing beyond.
    pub next: Option<Seq>,
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
pub(super) enum Question {
    Status(oneshot::Sender<HubStatus>),
    Tally(oneshot::Sender<Tally>),
    SendAway { client_id: String, answer: oneshot::Sender<bool> },
    ListenerOf { client_id: Arc<str>, answer: oneshot::Sender<Option<Arc<str>>> },
    Look { after: Seq, answer: Answer<Looked> },
    Purge { purge: Purge, after: Seq, dry_run: bool, answer: Answer<PurgedSlice> },
    EndUplink { name: String, answer: oneshot::Sender<Result<(), EndUplinkError>> },
    Verify { answer: Answer<Vec<Damage>> },
}

/// What is told once its batch is durable.
#[derive(Debug)]
enum Done {
    Purged(Answer<PurgedSlice>, PurgedSlice),
    Ended(oneshot::Sender<Result<(), EndUplinkError>>),
}

impl Done {
    fn tell(self) {
        // Who asked may be gone.
        match self {
            Self::Purged(answer, slice) => _ = answer.send(Ok(slice)),
            Self::Ended(answer) => _ = answer.send(Ok(())),
        }
    }
}

/// The questions under way.
#[derive(Debug, Default)]
pub(super) struct Asides {
    last: u64,
    asked: HashMap<u64, Question>,
    /// Those whose answer could not be used: asked again once it can.
    postponed: Vec<Question>,
    done: Vec<(u64, Done)>,
}

impl Asides {
    pub(super) fn handle_question(
        &mut self,
        question: Question,
        engine: &mut Engine,
        store: &Store,
        now: Moment,
    ) {
        match question {
            Question::Status(answer) => _ = answer.send(engine.status()),
            Question::Tally(answer) => _ = answer.send(engine.tally()),
            Question::SendAway { client_id, answer } => {
                let _ = answer.send(engine.handle_send_away(&client_id));
            }
            Question::ListenerOf { client_id, answer } => {
                let _ = answer.send(engine.listener_of(&client_id));
            }
            Question::EndUplink { name, answer } => match engine.handle_end_uplink(&name, now) {
                Ok(()) => self.done.push((engine.last_purge(), Done::Ended(answer))),
                Err(error) => _ = answer.send(Err(error)),
            },
            Question::Look { .. } | Question::Purge { .. } | Question::Verify { .. } => {
                self.ask(question, store);
            }
        }
    }

    fn ask(&mut self, asked: Question, store: &Store) {
        self.last += 1;
        let question = self.last;
        let after = match &asked {
            Question::Look { after, .. } | Question::Purge { after, .. } => Some(*after),
            Question::Status(_)
            | Question::Tally(_)
            | Question::SendAway { .. }
            | Question::ListenerOf { .. }
            | Question::EndUplink { .. }
            | Question::Verify { .. } => None,
        };
        let (count_max, bytes_max) = (LOOK_COUNT, LOOK_BYTES);
        store.send(match after {
            Some(after) => StoreCommand::Look { question, after, count_max, bytes_max },
            None => StoreCommand::Verify { question },
        });
        self.asked.insert(question, asked);
    }

    /// Takes the store's answers to questions; anything else comes back.
    pub(super) fn handle_event(
        &mut self,
        event: StoreEvent,
        engine: &mut Engine,
        now: Moment,
    ) -> Option<StoreEvent> {
        match event {
            StoreEvent::Looked { question, slice } => {
                match self.asked.remove(&question) {
                    Some(Question::Look { answer, .. }) => {
                        let _ = answer.send(slice.map(|slice| looked(slice, engine)));
                    }
                    Some(Question::Purge { purge, after, dry_run, answer }) => match slice {
                        // What a purge relies on is not so while the store drops messages itself.
                        Ok(_) if !engine.can_purge() => {
                            let question = Question::Purge { purge, after, dry_run, answer };
                            self.postponed.push(question);
                        }
                        Ok(slice) => {
                            let purged = purge_slice(&purge, after, &slice, dry_run, engine, now);
                            let slice = PurgedSlice { purged, next: slice.examined };
                            self.done.push((engine.last_purge(), Done::Purged(answer, slice)));
                        }
                        Err(error) => _ = answer.send(Err(error)),
                    },
                    Some(
                        Question::Status(_)
                        | Question::Tally(_)
                        | Question::SendAway { .. }
                        | Question::ListenerOf { .. }
                        | Question::EndUplink { .. }
                        | Question::Verify { .. },
                    )
                    | None => {}
                }
                None
            }
            StoreEvent::Verified { question, damages } => {
                if let Some(Question::Verify { answer }) = self.asked.remove(&question) {
                    let _ = answer.send(damages);
                }
                None
            }
            StoreEvent::Committed(_)
            | StoreEvent::Fetched { .. }
            | StoreEvent::Trimmed(_)
            | StoreEvent::ReadFailed(_)
            | StoreEvent::TrimFailed(_)
            | StoreEvent::Damaged(_)
            | StoreEvent::Stuck(_)
            | StoreEvent::Unstuck { .. } => Some(event),
        }
    }

    /// Tells those whose batch is durable, and asks again what can be asked by now.
    pub(super) fn tell(&mut self, engine: &Engine, store: &Store) {
        if engine.can_purge() {
            std::mem::take(&mut self.postponed)
                .into_iter()
                .for_each(|asked| self.ask(asked, store));
        }
        for (_, done) in self.done.extract_if(.., |(batch, _)| engine.is_committed(*batch)) {
            done.tell();
        }
    }
}

fn purge_slice(
    purge: &Purge,
    after: Seq,
    slice: &Slice,
    dry_run: bool,
    engine: &mut Engine,
    now: Moment,
) -> Purged {
    match purge {
        Purge::Messages(selection) => engine.handle_purge(selection, after, slice, dry_run, now),
        Purge::Damaged => {
            if !dry_run {
                engine.handle_purge_damaged(slice);
            }
            Purged { damaged: slice.damaged.len() as u64, ..Purged::default() }
        }
    }
}

fn looked(slice: Slice, engine: &Engine) -> Looked {
    let Slice { messages, damaged, examined } = slice;
    let waited_for = |stored: StoredMessage| {
        let sessions = stored.targets.iter().map(|target| &target.session);
        let waiting = engine.waiting(stored.seq, sessions);
        (!waiting.is_empty()).then_some((stored, waiting))
    };
    Looked {
        messages: messages.into_iter().filter_map(waited_for).collect(),
        damaged,
        next: examined,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::hub::EngineOptions;
    use crate::model::{ClockState, Timestamp};

    #[test]
    fn a_purge_asks_the_store_again_only_once_it_may_go_on() {
        let now = Moment {
            mono: Instant::now(),
            wall: Timestamp::from_unix_ms(1_795_230_600_000),
            boot_ms: 60_000,
        };
        let dir = tempfile::tempdir().expect("a directory");
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
        let (store, snapshot) = Store::open(dir.path(), None, sender).expect("it opens");
        let clock = ClockState::default();
        let options = EngineOptions { clock, ..EngineOptions::default() };
        let mut engine = Engine::new(options, snapshot, now);
        let mut asides = Asides::default();
        let trim = engine.poll_store(now);
        assert!(matches!(trim, Some(StoreCommand::Trim { .. })), "{trim:?}");
        let (answer, mut answered) = oneshot::channel();
        let (purge, after) = (Purge::Messages(Selection::default()), Seq(0));
        let question = Question::Purge { purge, after, dry_run: false, answer };
        asides.handle_question(question, &mut engine, &store, now);
        let looked = events.blocking_recv().expect("an answer");
        assert!(asides.handle_event(looked, &mut engine, now).is_none());
        asides.tell(&engine, &store);
        // What is asked next is answered next: nothing was asked before it.
        store.send(trim.expect("just seen"));
        let trimmed = events.blocking_recv().expect("an answer");
        assert!(matches!(trimmed, StoreEvent::Trimmed(_)), "{trimmed:?}");
        engine.handle_store(trimmed, now);
        asides.tell(&engine, &store);
        let looked = events.blocking_recv().expect("an answer");
        assert!(asides.handle_event(looked, &mut engine, now).is_none());
        asides.tell(&engine, &store);
        assert!(answered.try_recv().is_ok());
    }
}
