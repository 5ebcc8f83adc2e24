//! The subcommands: one file each, and what they have in common.
//!
//! A subcommand takes its parsed arguments and writes to what it is handed; it may know every room.

mod bench;
mod bench_broker;
mod bench_poll;
mod broker;
mod check;
mod clients;
mod clients_text;
mod commission;
mod demo;
mod frames;
mod frames_pcapng;
mod frames_text;
mod import;
mod mqtt;
mod passwd;
mod place;
mod plan;
mod powercut;
mod queue;
mod queue_text;
mod reload;
mod run;
mod scan;
mod scan_json;
mod scan_screen;
mod status;
mod status_text;
mod templates;
mod templates_text;

pub use bench::{BenchArgs, BenchWhat, CrashArgs, CrashPeer, CrashUpstream, bench};
pub use bench_broker::BrokerBenchArgs;
pub use broker::{BrokerArgs, broker};
pub use check::{CheckArgs, check};
pub use clients::{ClientsArgs, ClientsWhat, clients};
pub use commission::{BusArgs, ReadArgs, Station, WriteArgs, read, write};
pub use demo::{DemoArgs, demo};
pub use frames::{FramesArgs, frames};
pub use import::{ImportArgs, import};
pub use mqtt::{MqttArgs, PubArgs, SubArgs, publish, subscribe};
pub use passwd::{PasswdArgs, passwd};
pub use powercut::PowercutArgs;
pub use queue::{ExportArgs, PurgeArgs, QueueArgs, QueueWhat, queue};
pub use run::{RunArgs, run};
pub use scan::{ScanArgs, ScanParity, ScanTable, Units, scan};
pub use status::{StatusArgs, status};
pub use templates::{TemplatesArgs, templates};

use std::process::ExitCode;

/// How a subcommand ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// The command line or the configuration is wrong.
    Wrong,
    /// The time it was given is over.
    TimedOut,
}

impl From<ExitStatus> for ExitCode {
    /// 0 done, 1 failed, 2 wrong usage or configuration, and 27 when the time of `sub -W` is over, as mosquitto_sub has it.
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Done => Self::from(0),
            ExitStatus::Failed => Self::from(1),
            ExitStatus::Wrong => Self::from(2),
            ExitStatus::TimedOut => Self::from(27),
        }
    }
}
