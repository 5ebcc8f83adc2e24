//! core: when a reading of a point is news.

use std::time::Duration;

/// When a reading is news. Whatever is said here, one whose quality differs from that of the last one that was is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReportSettings {
    /// How far a value must be from the last one that was news.
    pub change: Change,
    /// After this long a reading is news, changed or not.
    pub at_least: Option<Duration>,
    /// For this long after one that was news, a changed value is not.
    pub at_most: Option<Duration>,
    /// Whether the last reading before one that is news goes with it, so that a curve has its corner.
    pub before_jump: bool,
}

/// How far a value must be from the last one that was news. Texts, bits and lists have no distance: they differ or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// However far.
    None,
    /// At least so far, in the unit of the point; 0 for any difference.
    Absolute(f64),
    /// At least this share of the last one, in per cent.
    Percent(f64),
}
