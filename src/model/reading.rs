//! What a device said: a value with its quality, its time and an id that is never used twice.

use std::fmt;
use std::sync::Arc;

use super::Moment;

/// A decoded value of a point.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A coil, a discrete input or one bit of a register.
    Bool(bool),
    /// A whole number without scale.
    Int(i64),
    /// A whole number above the signed range, from a `u64` point.
    UInt(u64),
    /// A scaled or floating-point number. Always finite: what is not becomes [`Quality::OutOfRange`].
    Float {
        /// The number.
        value: f64,
        /// Digits after the decimal point to write; `None` writes the shortest text that reads back the same.
        decimals: Option<u8>,
    },
    /// A string point, a date and time, or the name an enum gives to a number.
    Text(Arc<str>),
    /// Several values of one point, or the bits of one that are set; `None` where a value could not be had.
    List(Arc<[Option<Value>]>),
}

impl fmt::Display for Value {
    /// The value as JSON would write it, without the quotes of a text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::UInt(value) => write!(f, "{value}"),
            Self::Float { value, decimals: Some(digits) } => {
                write!(f, "{value:.*}", usize::from(*digits))
            }
            Self::Float { value, decimals: None } => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    f.write_str(if index > 0 { "," } else { "" })?;
                    match value {
                        Some(value) => write!(f, "{value}")?,
                        None => f.write_str("null")?,
                    }
                }
                f.write_str("]")
            }
        }
    }
}

/// How far a value may be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quality {
    /// The device answered and the value is what it said.
    Good,
    /// The device no longer answers; the value is the last one it gave.
    Stale {
        /// Why there is nothing fresher, in plain words.
        reason: Arc<str>,
    },
    /// The device refused or garbled the answer; there is no value.
    Error {
        /// What went wrong, in plain words.
        reason: Arc<str>,
    },
    /// The device says that it has no value, by what the configuration calls `invalid` or a mark of the type's own.
    Invalid {
        /// What was seen, in plain words.
        reason: Arc<str>,
    },
    /// The answer is well formed but not a number the point can have (NaN, an invalid BCD digit).
    OutOfRange {
        /// What was seen, in plain words.
        reason: Arc<str>,
    },
}

impl Quality {
    /// The word in the payload: `good`, `stale`, `error`, `invalid`, `out_of_range`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Stale { .. } => "stale",
            Self::Error { .. } => "error",
            Self::Invalid { .. } => "invalid",
            Self::OutOfRange { .. } => "out_of_range",
        }
    }

    /// The plain words behind a quality that is not good.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Good => None,
            Self::Stale { reason }
            | Self::Error { reason }
            | Self::Invalid { reason }
            | Self::OutOfRange { reason } => Some(reason),
        }
    }
}

/// A point by the names the operator gave: device and point. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointName {
    /// The device's key under `devices`.
    pub device: Arc<str>,
    /// The point's key under `points`.
    pub point: Arc<str>,
}

impl fmt::Display for PointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.device, self.point)
    }
}

/// The number of a reading within one gateway: which start of the program, and which reading since.
///
/// The start is counted in the store and made durable before the first reading, so a pair is never given twice, also
/// after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadingId {
    /// The how-manieth start of this gateway, from 1.
    pub start: u64,
    /// The reading since that start, from 1.
    pub number: u64,
}

/// One value of one point at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Whose value it is.
    pub point: PointName,
    /// The value; `None` when the quality is an error and there never was one.
    pub value: Option<Value>,
    /// The physical unit as configured, if any.
    pub unit: Option<Arc<str>>,
    /// How far the value may be trusted.
    pub quality: Quality,
    /// When the answer came (for `stale` and `error`: when that was found out).
    pub taken: Moment,
}
