//! shell: the socket: takes questions, one on each connection, and writes the answers. Bounds what a client may send and
//! how long it may stall.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this shell owns a socket and its file"
)]

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::desk::{Desk, DeskError};
use super::request::{Asked, Line};

/// The socket's name in the runtime directory, or else in the state directory.
pub const SOCKET_NAME: &str = "control.sock";
/// Clients served at once; more wait in the listener's queue.
const CLIENTS_MAX: usize = 8;
/// Bytes a question may have.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// How long a client has to ask.
const ASK_MAX: Duration = Duration::from_secs(5);
/// How long a client may take nothing of what is sent to it.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Bytes that are gathered before they are sent.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long the listener rests when the system gives no connection.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The listening socket. Dropping it ends everything; [`Self::stop`] removes the file as well.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Control {
    /// Listens at [`SOCKET_NAME`] in `dir`, for the user of this process and root. A file that is there already is of a
    /// process that was killed: whoever has the store open may listen here.
    ///
    /// # Errors
    /// The socket cannot be made: the directory cannot be written, or its path is longer than 100 bytes or so.
    pub fn start(dir: &Path, desk: Desk) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join(SOCKET_NAME);
        // It gets its mode before anybody can find it, and takes the place of an old one in one step.
        let beside = dir.join("control.new");
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside)?;
        fs::set_permissions(&beside, Permissions::from_mode(0o600))?;
        fs::rename(&beside, &path)?;
        Ok(Self { path, task: tokio::spawn(listen(listener, Arc::new(desk))) })
    }

    /// Ends all conversations and removes the socket.
    pub async fn stop(mut self) {
        let _ = fs::remove_file(&self.path);
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: UnixListener, desk: Arc<Desk>) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    let mut clients = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while clients.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = Arc::clone(&desk);
                clients.spawn(async move {
                    serve(stream, &desk).await;
                    drop(place);
                });
            }
            Err(cause) => {
                warn!(%cause, "control socket cannot take a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, desk: &Desk) {
    let (from, to) = stream.into_split();
    let mut lines = Lines { to, buffer: String::new() };
    let mut question = String::new();
    let mut from = BufReader::new(from.take(REQUEST_BYTES_MAX));
    let last = match timeout(ASK_MAX, from.read_line(&mut question)).await {
        Ok(Ok(_)) if question.ends_with('\n') => match serde_json::from_str::<Asked>(&question) {
            Ok(asked) if !is_in(desk.state_dir(), asked.state_dir) => Line::Error(format!(
                "the gateway that listens here keeps its queue in {}, not in your state_dir; give each a `runtime_dir` of \
                 its own",
                desk.state_dir().display()
            )),
            Ok(asked) => match desk.answer(asked.request, &mut lines).await {
                Ok(sum) => Line::Done(sum),
                Err(DeskError::Said(why)) => Line::Error(why),
                Err(DeskError::Gone(cause)) => {
                    return debug!(%cause, "control client left before its answer was whole");
                }
            },
            Err(error) => Line::Error(format!(
                "the gateway does not know this question ({error}); is it of another version?"
            )),
        },
        // Somebody only looked whether anybody listens.
        Ok(Ok(0)) => return,
        Ok(Ok(_)) => {
            Line::Error(format!("a question is one line of at most {REQUEST_BYTES_MAX} bytes"))
        }
        Ok(Err(cause)) => return debug!(%cause, "control client cannot be read"),
        Err(_) => Line::Error(format!("no question came within {} s", ASK_MAX.as_secs())),
    };
    if let Err(cause) = lines.finish(&last).await {
        debug!(%cause, "control client left before its answer was whole");
    }
}

/// Whether a directory has this device and inode.
fn is_in(dir: &Path, (device, inode): (u64, u64)) -> bool {
    fs::metadata(dir).is_ok_and(|dir| (dir.dev(), dir.ino()) == (device, inode))
}

/// The lines of an answer on their way.
#[derive(Debug)]
pub(super) struct Lines {
    to: OwnedWriteHalf,
    buffer: String,
}

impl Lines {
    /// Sends a thing asked for.
    pub(super) async fn item(&mut self, json: String) -> io::Result<()> {
        self.buffer.push_str(&Line::Item(json).encode());
        if self.buffer.len() >= BUFFER_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn finish(&mut self, last: &Line) -> io::Result<()> {
        self.buffer.push_str(&last.encode());
        self.flush().await?;
        self.to.shutdown().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        let mut rest = self.buffer.as_bytes();
        while !rest.is_empty() {
            let sent = timeout(STALL_MAX, self.to.write(rest)).await??;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = rest.get(sent..).unwrap_or_default();
        }
        self.buffer.clear();
        Ok(())
    }
}
