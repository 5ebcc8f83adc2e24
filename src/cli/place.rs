//! shell: where a running gateway is to be found: the sockets it may listen on.

use std::path::PathBuf;

use crate::control::{Answers, ClientError, Request, SOCKET_NAME, ask};
use crate::service;
use crate::store::noted_runtime_dir;

/// Where a gateway keeps its queue, and so where it listens.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) state_dir: PathBuf,
    /// As its configuration has it.
    pub(super) runtime_dir: Option<PathBuf>,
}

impl Place {
    /// Where the gateway ran last goes before where it would run next; outside the service the environment has nothing to
    /// say. A gateway that is starting may just have noted it.
    pub(super) fn runtime_dirs(&self) -> Vec<PathBuf> {
        let noted = noted_runtime_dir(&self.state_dir);
        [noted, self.runtime_dir.clone(), service::runtime_dir()].into_iter().flatten().collect()
    }

    /// Its socket is one of these.
    pub(super) fn sockets(&self) -> Vec<PathBuf> {
        let mut sockets: Vec<PathBuf> = Vec::new();
        for dir in self.runtime_dirs().iter().chain([&self.state_dir]) {
            let socket = dir.join(SOCKET_NAME);
            if !sockets.contains(&socket) {
                sockets.push(socket);
            }
        }
        sockets
    }

    /// Asks the gateway; `None` if nobody listens.
    ///
    /// # Errors
    /// As [`ask`].
    pub(super) fn ask_gateway(&self, request: &Request) -> Result<Option<Answers>, ClientError> {
        for socket in &self.sockets() {
            match ask(socket, &self.state_dir, request) {
                Ok(answers) => return Ok(Some(answers)),
                Err(ClientError::NobodyListens { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Asks the gateway, which must run: each item goes to `item`, the sum comes back.
    ///
    /// # Errors
    /// As [`ask`]; what `item` says; no gateway runs.
    pub(super) fn ask_running(
        &self,
        request: &Request,
        item: impl FnMut(String) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        match self.ask_gateway(request)? {
            Some(answers) => answers.each(item),
            None => anyhow::bail!(
                "no gateway runs with the queue in {}: start it, or name another configuration with -c",
                self.state_dir.display()
            ),
        }
    }
}
