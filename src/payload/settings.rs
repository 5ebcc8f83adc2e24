//! core: how the readings of devices look on their way, checked and with every default applied.

mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use template::{Dress, FIELDS, Part, Template, TemplateError, TemplateField};

/// How the readings of one device look.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceFormat {
    /// Those of its points that have none of their own.
    pub format: Format,
    /// Those that have one, by the name of the point: each on a topic of its own.
    pub points: BTreeMap<Arc<str>, PointFormat>,
}

impl DeviceFormat {
    /// Whether the readings of a point go out in one message with those of others.
    #[must_use]
    pub fn is_together(&self, point: &str) -> bool {
        matches!(self.format, Format::Together { .. }) && !self.points.contains_key(point)
    }
}

/// How the points of a device look that say nothing else.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// Each on a topic of its own.
    Each(PointFormat),
    /// What was read in one poll in one message, on the topic of the device.
    Together {
        /// Whether each message repeats the units.
        units: bool,
    },
}

impl Default for Format {
    fn default() -> Self {
        Self::Each(PointFormat::default())
    }
}

/// How a reading on a topic of its own looks.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum PointFormat {
    /// JSON that says everything.
    #[default]
    Json,
    /// The bare value.
    Value,
    /// The operator's words.
    Template(Arc<Template>),
}
