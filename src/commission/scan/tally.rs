//! core: what was asked and heard at one setting.

/// Counts of one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Unit ids that were asked.
    pub asked: u32,
    /// Questions that brought nothing, not even an echo.
    pub silent: u32,
    /// Questions that brought nothing but their own echo.
    pub echoed: u32,
    /// Questions that brought something spoilt.
    pub garbled: u32,
    /// Questions of which a Modbus gateway said that no unit is there (exceptions 10 and 11).
    pub denied: u32,
    /// Sound answers.
    pub sound: u32,
    /// Unit ids that brought noise and nothing else.
    pub noisy_ids: u32,
    /// Whether the setting was left for its noise.
    pub is_left: bool,
}

impl Tally {
    /// Adds the counts of another setting.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            asked: self.asked + other.asked,
            silent: self.silent + other.silent,
            echoed: self.echoed + other.echoed,
            garbled: self.garbled + other.garbled,
            denied: self.denied + other.denied,
            sound: self.sound + other.sound,
            noisy_ids: self.noisy_ids + other.noisy_ids,
            is_left: self.is_left || other.is_left,
        }
    }
}
