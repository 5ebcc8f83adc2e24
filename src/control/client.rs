//! shell: asks a gateway through its socket and reads the answer line by line.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this shell owns a socket")]

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::request::{Asked, Line, Request};

/// How long the gateway may leave a client without a line: longer than anything it waits for itself.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no gateway listens at {}", path.display())]
    NobodyListens {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is not for this user.
    #[error("{} is for the user of the gateway and root: use `sudo`, or run as that user", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// The gateway listens and does not answer.
    #[error("the gateway at {} does not answer: {source}; is it frozen, or stopping? its log may say", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The answer ended before its last line, or in something that is no answer.
    #[error("the gateway at {} broke off its answer: it was stopped in the middle, or is of another version", path.display())]
    BrokenOff {
        /// The socket.
        path: PathBuf,
    },
    /// The gateway says that it cannot do it.
    #[error("{why}")]
    Refused {
        /// Its words.
        why: String,
    },
}

/// The lines of an answer.
#[derive(Debug)]
pub struct Answers {
    path: PathBuf,
    from: BufReader<UnixStream>,
}

/// Asks the gateway that listens at `path` about the queue in `state_dir`.
///
/// # Errors
/// [`ClientError::NobodyListens`] also where a killed gateway left its socket behind, and without a state directory.
pub fn ask(path: &Path, state_dir: &Path, request: &Request) -> Result<Answers, ClientError> {
    let path = path.to_owned();
    let Ok(dir) = std::fs::metadata(state_dir) else {
        return Err(ClientError::NobodyListens { path });
    };
    let asked = Asked { state_dir: (dir.dev(), dir.ino()), request: request.clone() };
    let mut stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) => {
            use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound, PermissionDenied};
            let kind = error.kind();
            return Err(if [ConnectionRefused, NotFound, NotADirectory].contains(&kind) {
                ClientError::NobodyListens { path }
            } else if kind == PermissionDenied {
                ClientError::NotAllowed { path }
            } else {
                ClientError::Silent { path, source: error }
            });
        }
    };
    let send = |stream: &mut UnixStream| -> io::Result<()> {
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        let mut line = serde_json::to_string(&asked)?;
        line.push('\n');
        stream.write_all(line.as_bytes())
    };
    match send(&mut stream) {
        Ok(()) => Ok(Answers { path, from: BufReader::new(stream) }),
        Err(source) => Err(ClientError::Silent { path, source }),
    }
}

/// Whether anybody listens at `path`, be it not for this user.
#[must_use]
pub fn is_listening(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

impl Answers {
    /// Hands each item on as it comes; gives the sum of the last line, as JSON.
    ///
    /// # Errors
    /// The gateway's own words, or that there was no whole answer; what `item` says.
    pub fn each<E: From<ClientError>>(
        mut self,
        mut item: impl FnMut(String) -> Result<(), E>,
    ) -> Result<String, E> {
        let mut text = String::new();
        loop {
            text.clear();
            if let Err(source) = self.from.read_line(&mut text) {
                return Err(ClientError::Silent { path: self.path, source }.into());
            }
            match Line::decode(&text) {
                Some(Line::Item(json)) => item(json)?,
                Some(Line::Done(json)) => return Ok(json),
                Some(Line::Error(why)) => return Err(ClientError::Refused { why }.into()),
                None => return Err(ClientError::BrokenOff { path: self.path }.into()),
            }
        }
    }
}
