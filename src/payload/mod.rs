//! What a reading looks like on its way, and the short stretch of road that gives it that look.
//!
//! Knows topics, JSON, the operator's templates and the ids of readings. Does not know who wants them: that is the hub's.

mod device;
mod drops;
mod json;
mod number;
mod publisher;
mod retouch;
mod settings;
mod task;
mod topics;
mod words;

pub use drops::drops_payload;
pub use json::{payload, push_text, push_value};
pub use publisher::Publisher;
pub use retouch::retouch;
pub use settings::{
    DeviceFormat, Dress, FIELDS, Format, Part, PointFormat, Template, TemplateError, TemplateField,
};
pub use task::carry;
