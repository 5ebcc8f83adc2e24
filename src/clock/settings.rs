//! core: what the operator says of the clock.

/// Whose word counts on whether the wall clock is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClockTrust {
    /// The kernel's, or that of a hardware clock with a battery.
    #[default]
    Auto,
    /// The operator's: it is right whenever it is set at all.
    Trusted,
    /// The kernel's alone.
    Kernel,
}
