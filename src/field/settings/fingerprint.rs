//! core: how a kind of device is told from others by what it answers.

use std::sync::Arc;

use super::PointSettings;
use crate::model::Value;

/// What a kind of device answers and others do not.
#[derive(Debug, Clone, PartialEq)]
pub struct Fingerprint {
    /// The name of its template.
    pub template: Arc<str>,
    /// Maker and family, for people.
    pub title: Arc<str>,
    /// Each of them must hold, or not be answered; those that hold speak for it.
    pub signs: Vec<Sign>,
}

/// One thing to look at.
#[derive(Debug, Clone, PartialEq)]
pub enum Sign {
    /// A value as it is published.
    Value(Box<PointSettings>, Expected),
    /// A text of its identification (functions 43/14 and 17).
    Text(Identity, Arc<str>),
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// One of these numbers.
    Number(Vec<f64>),
    /// One of these texts.
    Text(Vec<Arc<str>>),
    /// Not below the first and not above the second: plausible, and a weak sign alone.
    Between(f64, f64),
}

/// Which text of an identification (Modbus application protocol 1.1b3, sections 6.13 and 6.21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Function 43/14, object 0: VendorName.
    Vendor,
    /// Function 43/14, objects 1, 4 and 5: ProductCode, ProductName, ModelName; any of them.
    Product,
    /// Function 17: the server id, as text.
    ServerId,
}

impl Sign {
    /// Whether a value that was read is what it must be; `None` if this is no sign of a value.
    #[must_use]
    pub fn holds_for(&self, value: &Value) -> Option<bool> {
        let Self::Value(_, expected) = self else { return None };
        Some(expected.is(value))
    }

    /// Whether a text of an identification holds what it must, in upper or lower case; `None` if this is a sign of
    /// something else.
    #[must_use]
    pub fn holds_for_text(&self, which: Identity, text: &str) -> Option<bool> {
        let Self::Text(_, wanted) = self else { return None };
        let is_meant = matches!(self, Self::Text(meant, _) if *meant == which);
        is_meant.then(|| text.to_lowercase().contains(&wanted.to_lowercase()))
    }

    /// How much it says when it holds: 1 for what is merely plausible, else 10.
    #[must_use]
    pub fn weight(&self) -> u32 {
        match self {
            Self::Value(_, Expected::Between(..)) => 1,
            Self::Value(..) | Self::Text(..) => 10,
        }
    }
}

impl Expected {
    /// Whether `value` is so.
    fn is(&self, value: &Value) -> bool {
        match (self, number(value), value) {
            (Self::Number(all), Some(number), _) => {
                all.iter().any(|it| (it - number).abs() < f64::EPSILON * number.abs().max(1.0))
            }
            (Self::Between(least, most), Some(number), _) => (*least..=*most).contains(&number),
            (Self::Text(all), _, Value::Text(text)) => all.iter().any(|it| it == text),
            _ => false,
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(bit) => Some(f64::from(u8::from(*bit))),
        #[expect(clippy::cast_precision_loss, reason = "a sign is a number that people write")]
        Value::Int(int) => Some(*int as f64),
        #[expect(clippy::cast_precision_loss, reason = "a sign is a number that people write")]
        Value::UInt(int) => Some(*int as f64),
        Value::Float { value, .. } => Some(*value),
        Value::Text(_) | Value::List(_) => None,
    }
}
