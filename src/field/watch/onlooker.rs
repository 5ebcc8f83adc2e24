//! shell: how somebody else in the house sees what a bus does: asks its task, which answers between two transactions.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::view::BusView;
use crate::field::BusStopped;

/// Questions of onlookers that may wait for a bus.
const LOOKS_MAX: usize = 8;

/// What an onlooker wants, and who it is.
#[derive(Debug)]
pub(in crate::field) struct Look {
    /// Whether what passed lately is wanted: it is copied.
    pub(in crate::field) with_frames: bool,
    /// Whoever waits.
    pub(in crate::field) teller: oneshot::Sender<BusView>,
}

/// Sees what a running bus does.
#[derive(Debug, Clone)]
pub struct Onlooker {
    bus: Arc<str>,
    looks: mpsc::Sender<Look>,
}

impl Onlooker {
    /// An onlooker, and where the bus finds what it wants.
    pub(in crate::field) fn new(bus: &Arc<str>) -> (Self, mpsc::Receiver<Look>) {
        let (sender, looks) = mpsc::channel(LOOKS_MAX);
        (Self { bus: Arc::clone(bus), looks: sender }, looks)
    }

    /// The name of the bus.
    #[must_use]
    pub fn bus(&self) -> &Arc<str> {
        &self.bus
    }

    /// How the bus is doing; `with_frames` also what passed on it. It answers once the transaction under way has ended.
    ///
    /// # Errors
    /// [`BusStopped`].
    pub async fn look(&self, with_frames: bool) -> Result<BusView, BusStopped> {
        let (teller, view) = oneshot::channel();
        self.looks.send(Look { with_frames, teller }).await.map_err(|_| BusStopped)?;
        view.await.map_err(|_| BusStopped)
    }
}
