//! shell: what the hub has to say to one connection, and the connection's end of it. A batch is handed over at a time, and an
//! empty mailbox takes next to no memory.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::task::ConnectionEvent;

#[derive(Debug, Default)]
struct Shared {
    events: VecDeque<ConnectionEvent>,
    waker: Option<Waker>,
    /// One end is gone.
    closed: bool,
}

/// The hub's end.
#[derive(Debug)]
pub(super) struct Mailbox(Arc<Mutex<Shared>>);

/// The receiving end of a connection.
#[derive(Debug)]
pub struct Inbound(Arc<Mutex<Shared>>);

/// A mailbox and where it is emptied.
pub(super) fn mailbox() -> (Mailbox, Inbound) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    (Mailbox(shared.clone()), Inbound(shared))
}

impl Mailbox {
    /// Opens it to put events in; whoever waits is woken when it is shut.
    pub(super) fn open(&self) -> Opened<'_> {
        Opened(lock(&self.0))
    }
}

/// An open mailbox.
pub(super) struct Opened<'a>(MutexGuard<'a, Shared>);

impl Opened<'_> {
    /// Puts an event behind the others. One for a connection that is gone goes nowhere.
    pub(super) fn push(&mut self, event: ConnectionEvent) {
        if !self.0.closed {
            self.0.events.push_back(event);
        }
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        // The other end runs in another task, or waits for the lock.
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.closed = true;
        if let Some(waker) = shared.waker.take() {
            waker.wake();
        }
    }
}

impl Inbound {
    /// The next event; `None` once the hub has let the connection go. Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<ConnectionEvent> {
        poll_fn(|cx| self.poll(cx, VecDeque::pop_front)).await
    }

    /// The next event if one is there.
    pub fn try_recv(&mut self) -> Option<ConnectionEvent> {
        lock(&self.0).events.pop_front()
    }

    /// Puts all events that are there, at least one, behind those in `events`; `None` once the hub has let the connection
    /// go. A wait that is given up loses none.
    pub async fn recv_all(&mut self, events: &mut VecDeque<ConnectionEvent>) -> Option<()> {
        poll_fn(|cx| self.poll(cx, |all| (!all.is_empty()).then(|| events.append(all)))).await
    }

    /// All events that are there, at least one; `None` once the hub has let the connection go.
    pub fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Option<VecDeque<ConnectionEvent>>> {
        self.poll(cx, |events| (!events.is_empty()).then(|| std::mem::take(events)))
    }

    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut VecDeque<ConnectionEvent>) -> Option<T>,
    ) -> Poll<Option<T>> {
        let mut shared = lock(&self.0);
        if let Some(taken) = take(&mut shared.events) {
            return Poll::Ready(Some(taken));
        }
        if shared.closed {
            return Poll::Ready(None);
        }
        match &mut shared.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none @ None => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.closed = true;
        shared.events = VecDeque::new();
    }
}

/// Nothing can break while it is held, so what is in it is whole whoever held it.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{Packet, ReasonCode};

    #[tokio::test]
    async fn what_was_put_in_before_the_hub_let_go_is_still_taken_out() {
        let (mailbox, mut inbound) = mailbox();
        let mut opened = mailbox.open();
        opened.push(ConnectionEvent::Packet(Packet::PingResp));
        opened.push(ConnectionEvent::Close(ReasonCode::SessionTakenOver));
        drop(opened);
        drop(mailbox);
        assert_eq!(inbound.try_recv(), Some(ConnectionEvent::Packet(Packet::PingResp)));
        let all = poll_fn(|cx| inbound.poll_all(cx)).await.map(|all| all.len());
        assert_eq!(all, Some(1));
        assert_eq!(inbound.recv().await, None);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_an_event_and_by_the_end() {
        let (mailbox, mut inbound) = mailbox();
        let waits = tokio::spawn(async move { (inbound.recv().await, inbound.recv().await) });
        tokio::task::yield_now().await;
        mailbox.open().push(ConnectionEvent::Said);
        tokio::task::yield_now().await;
        drop(mailbox);
        assert_eq!(waits.await.expect("it ends"), (Some(ConnectionEvent::Said), None));
    }

    #[test]
    fn what_is_for_a_connection_that_is_gone_is_not_kept() {
        let (mailbox, inbound) = mailbox();
        drop(inbound);
        mailbox.open().push(ConnectionEvent::Said);
        assert!(lock(&mailbox.0).events.is_empty());
    }
}
