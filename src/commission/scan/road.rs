//! shell: puts the questions of a scan, over a port that it opens anew for each setting, or through the gateway that has it.

use crate::commission::{AskError, Asker};
use crate::field::modbus::transaction::{Failure, Outcome, Question};
use crate::field::{BusSettings, NotOpened, PortSettings, Rank, Session};

use super::machine::Ask;
use super::setting::Setting;

/// Where the questions go.
pub enum Road {
    /// A port that is ours alone.
    Direct {
        /// The bus; its port is set anew for each setting.
        bus: Box<BusSettings>,
        /// The opened port and what it is set to.
        open: Option<Box<(Option<Setting>, Session)>>,
    },
    /// The gateway, asked when nothing else is due.
    Gateway(Asker),
}

/// Why a question could not be put.
#[derive(Debug, thiserror::Error)]
pub enum RoadError {
    /// The port cannot be opened.
    #[error(transparent)]
    Port(#[from] NotOpened),
    /// The gateway cannot be asked.
    #[error(transparent)]
    Gateway(#[from] AskError),
}

impl Road {
    /// A port of our own; it is opened with the first question.
    #[must_use]
    pub fn direct(bus: BusSettings) -> Self {
        Self::Direct { bus: Box::new(bus), open: None }
    }

    /// Opens the port set to `setting`; there is none through a gateway. Says who else has it open, as far as that can be
    /// seen.
    ///
    /// # Errors
    /// [`RoadError::Port`].
    pub async fn open(&mut self, setting: Option<Setting>) -> Result<Vec<String>, RoadError> {
        let Self::Direct { bus, open } = self else { return Ok(Vec::new()) };
        // Closed before it is opened again: it is ours alone.
        drop(open.take());
        let session = Session::open(set(bus, setting)).await?;
        let others = session.others().await;
        *open = Some(Box::new((setting, session)));
        Ok(others)
    }

    /// Puts one question of a scan at `setting`; says how it ended and how many bytes came after its answer, if it was to
    /// listen on.
    ///
    /// # Errors
    /// [`RoadError`]. A port that cannot be opened again is an outcome ([`Failure::Port`]).
    pub async fn ask(
        &mut self,
        Ask { unit, query, timeout, linger, .. }: Ask,
        setting: Option<Setting>,
    ) -> Result<(Outcome, usize), RoadError> {
        let question = Question::new(unit, query);
        match self {
            Self::Gateway(asker) => Ok((asker.ask(Rank::Idle, question).await?, 0)),
            Self::Direct { bus, open } => {
                let is_right = open
                    .as_deref()
                    .is_some_and(|(its, session)| *its == setting && session.unusable().is_none());
                if !is_right {
                    drop(open.take());
                }
                if open.is_none() {
                    match Session::open(set(bus, setting)).await {
                        Ok(session) => *open = Some(Box::new((setting, session))),
                        Err(error) => return Ok(failed(error.to_string())),
                    }
                }
                match open {
                    Some(open) => {
                        let session = &mut open.1;
                        let outcome = session.ask(question, timeout).await;
                        let more = match linger.filter(|_| outcome.result.is_ok()) {
                            Some(linger) => session.listen(linger).await,
                            None => 0,
                        };
                        Ok((outcome, more))
                    }
                    None => Ok(failed("the port is not open".to_owned())),
                }
            }
        }
    }
}

fn failed(reason: String) -> (Outcome, usize) {
    (Outcome { result: Err(Failure::Port { reason }), dropped: Vec::new() }, 0)
}

/// The bus with its serial port set to `setting`.
fn set(bus: &BusSettings, setting: Option<Setting>) -> BusSettings {
    let mut bus = bus.clone();
    if let (PortSettings::Rtu(serial) | PortSettings::Ascii(serial), Some(setting)) =
        (&mut bus.port, setting)
    {
        let path = std::mem::replace(&mut serial.path, "".into());
        *serial = setting.on(&path);
    }
    bus
}
