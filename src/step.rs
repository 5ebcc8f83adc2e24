//! shell: named steps on the road of a message at which the process can be made to abort, so that what a kill leaves
//! behind can be looked at for each of them, in the very program that is run.
//!
//! `FIELDPOST_ABORT_AT=commit.before:17` ends the process, as SIGKILL would, when it passes that step for the
//! seventeenth time. Unset, a step costs one relaxed load.

use std::process;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// The environment variable that arms a step: `NAME` or `NAME:COUNT`.
pub const VARIABLE: &str = "FIELDPOST_ABORT_AT";

/// The armed step's number, or [`NONE`].
static ARMED: AtomicU8 = AtomicU8::new(NONE);
/// How often the armed step is still passed unharmed, and once more.
static LEFT: AtomicU64 = AtomicU64::new(0);
const NONE: u8 = u8::MAX;

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal,)*) => {
        /// A place on the road of a message between two things of which a kill may separate the one from the other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Step {
            $($(#[$doc])* $step,)*
        }

        impl Step {
            /// Every step, in the order a message passes them.
            pub const ALL: &[Self] = &[$(Self::$step,)*];

            /// What it is called in [`VARIABLE`].
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)*
                }
            }
        }
    };
}

steps! {
    /// A start has found what an earlier process staged; the database does not have it yet.
    StartFound = "start.found",
    /// The database has it; the file it was found in still lies there.
    StartCommitted = "start.committed",
    /// A batch is about to be staged.
    StageBefore = "stage.before",
    /// Half of a batch's frame is in the staged file.
    StageTorn = "stage.torn",
    /// A batch is staged; nobody has been told.
    StageAfter = "stage.after",
    /// Staged changes are about to be committed.
    CommitBefore = "commit.before",
    /// They are written in a transaction that is not committed.
    CommitTorn = "commit.torn",
    /// They are committed; the staged file still has them.
    CommitAfter = "commit.after",
    /// An empty staged file lies beside the old one.
    RenewBefore = "renew.before",
    /// It has taken the old one's place; nobody has been told of the commit.
    FlushAfter = "flush.after",
    /// Old messages are deleted in a transaction that is not committed.
    TrimTorn = "trim.torn",
    /// The hub has packets that may leave and has handed out none.
    HandBefore = "hand.before",
    /// The hub has handed them out.
    HandAfter = "hand.after",
    /// Packets for the upstream are about to be written.
    WriteBefore = "write.before",
    /// Half of their bytes are on the wire.
    WriteTorn = "write.torn",
    /// Packets of the upstream have been read and nobody has looked at them.
    ReadAfter = "read.after",
    /// A LAN client is about to be told PUBACK, PUBREC or PUBCOMP.
    AckBefore = "ack.before",
    /// It has been told.
    AckAfter = "ack.after",
}

/// [`VARIABLE`] asks for what there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// No step has this name.
    #[error("{VARIABLE} names no step: `{name}`; write one of {}", names())]
    Unknown {
        /// What it names.
        name: String,
    },
    /// The count is none.
    #[error("{VARIABLE} has no count behind the colon: `{count}`; write 1 or more")]
    Count {
        /// What stands there.
        count: String,
    },
}

fn names() -> String {
    Step::ALL.iter().map(|step| step.name()).collect::<Vec<_>>().join(", ")
}

/// Reads [`VARIABLE`]; without it no step is armed. Called once, at the start, before any step is passed.
///
/// # Errors
/// [`StepError`] says what the variable may hold.
#[allow(clippy::disallowed_methods, reason = "this shell reads its environment variable")]
pub fn arm_from_environment() -> Result<(), StepError> {
    let Ok(wanted) = std::env::var(VARIABLE) else { return Ok(()) };
    let (step, count) = parse(&wanted)?;
    LEFT.store(count, Ordering::Relaxed);
    ARMED.store(step as u8, Ordering::Release);
    Ok(())
}

fn parse(wanted: &str) -> Result<(Step, u64), StepError> {
    let (name, count) = wanted.split_once(':').unwrap_or((wanted, "1"));
    let step = Step::ALL.iter().find(|step| step.name() == name);
    let step = *step.ok_or_else(|| StepError::Unknown { name: name.to_owned() })?;
    let count = count.parse().ok().filter(|count| *count > 0);
    let wrong = || StepError::Count { count: wanted[name.len() + 1..].to_owned() };
    Ok((step, count.ok_or_else(wrong)?))
}

/// Passes a step; does not return if this is where the process must end.
#[inline]
pub fn pass(step: Step) {
    if is_due(step) {
        abort();
    }
}

/// Passes a step whose end leaves something half done: `true` says to do that half and then [`abort`].
#[inline]
#[must_use = "a step that is due must end the process"]
pub fn is_due(step: Step) -> bool {
    ARMED.load(Ordering::Relaxed) == step as u8 && LEFT.fetch_sub(1, Ordering::Relaxed) == 1
}

/// Ends the process without another word: nothing is flushed, nothing is dropped.
#[cold]
pub fn abort() -> ! {
    process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_with_the_count_at_which_it_ends_the_process() {
        assert_eq!(parse("commit.before:17"), Ok((Step::CommitBefore, 17)));
        assert_eq!(parse("stage.torn"), Ok((Step::StageTorn, 1)));
    }

    #[test]
    fn what_is_no_step_is_answered_with_the_list_of_them() {
        let error = parse("commit.befor:17").expect_err("no such step").to_string();
        assert!(error.contains("`commit.befor`"), "{error}");
        for step in Step::ALL {
            assert!(error.contains(step.name()), "{error}");
        }
        for count in ["0", "", "-1", "x"] {
            let error = parse(&format!("ack.after:{count}")).expect_err(count);
            assert_eq!(error, StepError::Count { count: count.to_owned() });
        }
    }

    #[test]
    fn an_unarmed_step_is_passed() {
        for step in Step::ALL {
            pass(*step);
        }
    }
}
