//! core: what happens when: the upstream is cut, comes back, the run ends.

use std::time::Duration;

/// When the upstream is cut in a run without an end.
const CUT_AFTER: Duration = Duration::from_secs(5);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cue {
    /// Cut the upstream.
    Cut,
    /// Let it come back.
    Restore,
    /// End the run.
    End,
}

/// The outage does not fit into the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an outage of {} does not fit into a run of {}", humantime::Duration::from(*outage), humantime::Duration::from(*run))]
pub struct ScriptError {
    /// How long the outage would be.
    pub outage: Duration,
    /// How long the run would be.
    pub run: Duration,
}

/// The cues of a run, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    cues: Vec<(Duration, Cue)>,
}

impl Script {
    /// A run that ends after `run`, or never by itself, with an `outage` in its middle.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fieldpost::demo::script::{Cue, Script};
    /// let seconds = Duration::from_secs;
    /// let mut script = Script::new(Some(seconds(10)), Some(seconds(4)))?;
    /// assert_eq!(script.poll_cue(seconds(2)), None);
    /// assert_eq!(script.poll_cue(seconds(3)), Some(Cue::Cut));
    /// assert_eq!(script.poll_timeout(), Some(seconds(7)));
    /// # Ok::<(), fieldpost::demo::script::ScriptError>(())
    /// ```
    ///
    /// # Errors
    /// [`ScriptError`] if the outage is longer than the run.
    pub fn new(run: Option<Duration>, outage: Option<Duration>) -> Result<Self, ScriptError> {
        let mut cues = Vec::new();
        if let Some(outage) = outage {
            let cut = match run {
                None => CUT_AFTER,
                Some(run) => run.checked_sub(outage).ok_or(ScriptError { outage, run })? / 2,
            };
            cues.push((cut, Cue::Cut));
            cues.push((cut.saturating_add(outage), Cue::Restore));
        }
        cues.extend(run.map(|run| (run, Cue::End)));
        // Taken from the back.
        cues.reverse();
        Ok(Self { cues })
    }

    /// The next thing to do, `since` the start; each once.
    pub fn poll_cue(&mut self, since: Duration) -> Option<Cue> {
        self.cues.pop_if(|(at, _)| *at <= since).map(|(_, cue)| cue)
    }

    /// When the next cue comes, from the start.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.cues.last().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_outage_lies_in_the_middle_of_the_run() {
        let mut script = Script::new(Some(seconds(8)), Some(seconds(3))).expect("it fits");
        let mut seen = Vec::new();
        for tenth in 0..100 {
            let now = Duration::from_millis(tenth * 100);
            seen.extend(script.poll_cue(now).map(|cue| (tenth, cue)));
        }
        assert_eq!(seen, [(25, Cue::Cut), (55, Cue::Restore), (80, Cue::End)]);
        assert_eq!(script.poll_timeout(), None);
    }

    #[test]
    fn late_cues_come_one_after_the_other() {
        let mut script = Script::new(Some(seconds(3)), Some(seconds(3))).expect("it just fits");
        let late = seconds(60);
        let cues: Vec<_> = std::iter::from_fn(|| script.poll_cue(late)).collect();
        assert_eq!(cues, [Cue::Cut, Cue::Restore, Cue::End]);
    }

    #[test]
    fn a_run_without_an_end_is_cut_after_five_seconds() {
        let mut script = Script::new(None, Some(seconds(2))).expect("there is room");
        assert_eq!(script.poll_timeout(), Some(seconds(5)));
        assert_eq!(script.poll_cue(seconds(5)), Some(Cue::Cut));
        assert_eq!(script.poll_cue(seconds(7)), Some(Cue::Restore));
        assert_eq!(script.poll_timeout(), None);
    }

    #[test]
    fn an_outage_longer_than_the_run_is_refused() {
        let error = Script::new(Some(seconds(2)), Some(seconds(5))).expect_err("too long");
        assert_eq!(error.to_string(), "an outage of 5s does not fit into a run of 2s");
    }
}
