//! shell: our broker in this process.

use std::path::Path;

use fieldpost::access::Gate;
use fieldpost::broker::{Listener, ListenerSettings};
use fieldpost::hub::{EngineOptions, Hub, HubHandle, HubStatus};
use fieldpost::store::Store;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A running broker on a free port with a state directory that outlives it.
pub struct Gateway {
    runtime: Runtime,
    dir: tempfile::TempDir,
    running: Option<Running>,
    options: EngineOptions,
    pub port: u16,
}

struct Running {
    hub: HubHandle,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

impl Gateway {
    pub fn start() -> Self {
        Self::with(EngineOptions::default())
    }

    pub fn with(options: EngineOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let dir = tempfile::tempdir().expect("a state directory");
        let (port, running) = runtime.block_on(run(dir.path(), options));
        Self { runtime, dir, running: Some(running), options, port }
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.status().sessions.len()
    }

    pub fn status(&self) -> HubStatus {
        let hub = &self.running.as_ref().expect("it runs").hub;
        self.runtime.block_on(hub.status()).expect("the hub answers")
    }

    /// Stops in good order and starts again on the same state directory.
    pub fn restart(&mut self) {
        self.stop();
        let (port, running) = self.runtime.block_on(run(self.dir.path(), self.options));
        (self.port, self.running) = (port, Some(running));
    }

    /// Starts again on what a kill at this instant would have left; the old one is stopped after that.
    pub fn kill(&mut self) {
        let copy = tempfile::tempdir().expect("a state directory");
        for entry in std::fs::read_dir(self.dir.path()).expect("the state directory") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
        }
        self.stop();
        self.dir = copy;
        let (port, running) = self.runtime.block_on(run(self.dir.path(), self.options));
        (self.port, self.running) = (port, Some(running));
    }

    fn stop(&mut self) {
        if let Some(Running { hub, stop, listener }) = self.running.take() {
            self.runtime.block_on(async {
                stop.send_replace(true);
                listener.await.expect("the listener ends");
                hub.stop().await.expect("the hub stops");
            });
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

async fn run(state_dir: &Path, options: EngineOptions) -> (u16, Running) {
    let (sender, events) = mpsc::unbounded_channel();
    let (store, snapshot) = Store::open(state_dir, None, sender).expect("the store opens");
    let (hub, _task) = Hub::start(options, Vec::new(), store, snapshot, events);
    let settings = ListenerSettings::plain(([127, 0, 0, 1], 0).into());
    let listener = Listener::bind(&settings, Gate::open()).await.expect("a free port");
    let port = listener.address().expect("an address").port();
    let (stop, stopped) = watch::channel(false);
    let listener = tokio::spawn(listener.run(hub.clone(), stopped));
    (port, Running { hub, stop, listener })
}
