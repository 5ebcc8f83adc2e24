//! How another process asks the gateway: a Unix socket beside the staged layer, for the user of the service and root.
//!
//! One JSON line asks ([`Asked`]); lines of JSON answer ([`Line`]), the last of which says done or what went wrong.
//! The listener bounds what a client may send and how long it may stall; clients are served beside one another and never
//! hold up the gateway. The same questions can be put to the store of a gateway that does not run
//! ([`StoppedQueue`]), with the same answers.
//!
//! Knows questions and what they are made of. Does not know the command line, what a terminal shows, or SQLite.

mod base64;
mod client;
mod clients;
mod desk;
mod export;
mod listener;
mod report;
mod request;
mod stopped;
mod units;

pub use base64::{decode_base64, encode_base64};
pub use client::{Answers, ClientError, ask, is_listening};
pub use clients::{ClientReport, ClientsReport};
pub use desk::Desk;
pub use export::ExportedMessage;
pub use listener::{Control, SOCKET_NAME};
pub use report::{
    DamageReport, ExportReport, PurgeReport, PurgedReport, QueueReport, SessionKind, SessionReport,
    StuckReport, TotalsReport, VerifyReport,
};
pub use request::{Asked, ExportRequest, Line, PurgeRequest, PurgeWhat, Request, UnitRequest};
pub use stopped::StoppedQueue;
