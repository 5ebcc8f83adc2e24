//! shell: asks units, over a port of its own or through the gateway that has the port.

use std::path::PathBuf;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::control::{ClientError, Request, UnitRequest, ask};
use crate::field::modbus::transaction::{Outcome, Question};
use crate::field::{Bus, BusHandle, BusSettings, BusStopped, Rank};

/// Events of a bus without devices that may wait; there are none.
const EVENTS_MAX: usize = 1;

/// Why a question could not be put. What became of one that was put is in its [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens at any of the places where the gateway might.
    #[error(
        "no gateway runs with the queue in {}: start it, or name the port itself, like `--modbus-rtu /dev/ttyUSB0`",
        state_dir.display()
    )]
    NoGateway {
        /// Its state directory.
        state_dir: PathBuf,
    },
    /// The gateway does not answer, or says no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The gateway answers in words that are not known here.
    #[error("the gateway answers in words of another version: {0}")]
    OtherVersion(#[from] serde_json::Error),
    /// The bus is gone.
    #[error(transparent)]
    Stopped(#[from] BusStopped),
}

/// Asks the units of one bus.
#[derive(Debug)]
pub struct Asker {
    road: Road,
}

#[derive(Debug)]
enum Road {
    /// A bus of our own, without devices.
    Direct { handle: BusHandle, stop: watch::Sender<bool>, task: JoinHandle<()> },
    /// A bus of the gateway that keeps its queue in `state_dir` and listens at one of `sockets`.
    Gateway { sockets: Vec<PathBuf>, state_dir: PathBuf, bus: String },
}

impl Asker {
    /// Opens the port of `settings` for this program alone, now and again when it is lost; needs a runtime. That it cannot
    /// be opened is said by the outcome of a question
    /// ([`Failure::NotAsked`](crate::field::modbus::transaction::Failure::NotAsked)).
    #[must_use]
    pub fn direct(settings: BusSettings) -> Self {
        let bus = Bus::new(settings, Vec::new());
        let (handle, (stop, stopped)) = (bus.handle(), watch::channel(false));
        let (events, mut none) = mpsc::channel(EVENTS_MAX);
        let task = tokio::spawn(async move {
            tokio::join!(bus.run(events, stopped), async { while none.recv().await.is_some() {} });
        });
        Self { road: Road::Direct { handle, stop, task } }
    }

    /// Asks the gateway that keeps its queue in `state_dir` and listens at one of `sockets`, about its bus `bus`.
    #[must_use]
    pub fn through_gateway(sockets: Vec<PathBuf>, state_dir: PathBuf, bus: String) -> Self {
        Self { road: Road::Gateway { sockets, state_dir, bus } }
    }

    /// Whether it goes through a gateway.
    #[must_use]
    pub fn is_through_gateway(&self) -> bool {
        matches!(self.road, Road::Gateway { .. })
    }

    /// Asks `question` when its `rank` says, once; says how it ended.
    ///
    /// # Errors
    /// [`AskError`]; whether it was asked is known then only where no gateway was found.
    pub async fn ask(&self, rank: Rank, question: Question) -> Result<Outcome, AskError> {
        match &self.road {
            Road::Direct { handle, .. } => Ok(handle.ask(rank, question).await?),
            Road::Gateway { sockets, state_dir, bus } => {
                let Question { unit, query, .. } = question;
                let request = UnitRequest { bus: bus.clone(), unit, rank, query };
                let (sockets, state_dir) = (sockets.clone(), state_dir.clone());
                let asked = spawn_blocking(move || {
                    through(&sockets, state_dir, &Request::AskUnit(request))
                });
                asked.await.unwrap_or(Err(BusStopped.into()))
            }
        }
    }

    /// Frees the port.
    pub async fn close(self) {
        if let Road::Direct { stop, task, .. } = self.road {
            stop.send_replace(true);
            let _ = task.await;
        }
    }
}

/// Asks at the first socket where somebody listens.
fn through(
    sockets: &[PathBuf],
    state_dir: PathBuf,
    request: &Request,
) -> Result<Outcome, AskError> {
    for socket in sockets {
        match ask(socket, &state_dir, request) {
            Err(ClientError::NobodyListens { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(answers) => {
                let sum = answers.each(|_| Ok::<_, ClientError>(()))?;
                return Ok(serde_json::from_str(&sum)?);
            }
        }
    }
    Err(AskError::NoGateway { state_dir })
}
