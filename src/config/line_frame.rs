//! core: `frame` of a plain serial line as written: where a frame begins and ends.

use std::sync::Arc;
use std::time::Duration;

use super::bytes;
use super::fields::{Field, alternatives};
use super::notes::{At, Given, Notes, Spot};
use crate::field::{FrameEnd, FrameSettings, Order};

pub(super) const EXAMPLE: &str = r#"write `frame: { ends_with: "\r\n" }`"#;
const FIELD_EXAMPLE: &str = "write `length_field: { at: 1, adds: 3 }`: where the number stands, from 0, and what it does not count";
const ENDS: [&str; 4] = ["ends_with", "length", "length_field", "silence"];
const BYTES_MAX_DEFAULT: usize = 4_096;
const BYTES_MAX: i128 = 65_536;

/// `frame` as written.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    spot: Spot,
    starts_with: Given<Arc<[u8]>>,
    ends_with: Given<Arc<[u8]>>,
    tail: Given<usize>,
    length: Given<usize>,
    length_field: Given<LengthField>,
    silence: Given<Duration>,
    bytes_max: Given<usize>,
}

#[derive(Debug, Clone, Copy)]
struct LengthField {
    at: usize,
    size: usize,
    order: Order,
    adds: usize,
}

/// Reads `frame`.
pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Frame>> {
    let mut fields = field.fields(EXAMPLE, notes)?;
    let silences = Duration::from_millis(1)..=Duration::from_secs(60);
    let frame = Frame {
        spot: field.key_spot.clone(),
        starts_with: fields.given("starts_with", notes, |field, notes| {
            bytes::read(field, r#"write the bytes each frame begins with, such as `"\x02"`"#, notes)
        }),
        ends_with: fields.given("ends_with", notes, |field, notes| {
            bytes::read(field, r#"write the bytes each frame ends with, such as `"\r\n"`"#, notes)
        }),
        tail: fields.given("tail", notes, |field, notes| {
            field.integer(
                0..=64,
                "that many bytes follow `ends_with` and belong to the frame",
                notes,
            )
        }),
        length: fields.given("length", notes, |field, notes| {
            field.integer(1..=BYTES_MAX, "the bytes of a frame, all counted", notes)
        }),
        length_field: fields.given("length_field", notes, length_field),
        silence: fields.given("silence", notes, |field, notes| field.duration(silences, notes)),
        bytes_max: fields.given("max_length", notes, |field, notes| {
            field.integer(1..=BYTES_MAX, "a frame that is longer is given up", notes)
        }),
    };
    let instead = [
        ("delimiter", "ends_with"),
        ("terminator", "ends_with"),
        ("end", "ends_with"),
        ("start", "starts_with"),
        ("gap", "silence"),
        ("timeout", "silence"),
        ("size", "length"),
    ];
    fields.finish(&[], &instead, notes);
    Some(At { value: frame, spot: field.spot.clone() })
}

fn length_field(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<LengthField>> {
    let mut fields = field.fields(FIELD_EXAMPLE, notes)?;
    let at = fields.given("at", notes, |field, notes| {
        field.integer(0..=255, "bytes of a frame count from 0", notes)
    });
    let size = fields.given("size", notes, |field, notes| {
        field.integer(1..=2, "the number has one byte or two", notes)
    });
    let order = fields.given("order", notes, |field, notes| {
        field.choice(&[("big", Order::Big), ("little", Order::Little)], &[], notes)
    });
    let adds = fields.given("adds", notes, |field, notes| {
        field.integer(0..=255, "what the number does not count", notes)
    });
    if at.is_absent() {
        notes.error(&field.key_spot, "this does not say where the length stands", FIELD_EXAMPLE);
    }
    fields.finish(&[], &[("offset", "at"), ("position", "at")], notes);
    let value = LengthField {
        at: at.written()?.value,
        size: size.or(1),
        order: order.or(Order::Big),
        adds: adds.or(0),
    };
    Some(At { value, spot: field.key_spot.clone() })
}

impl Frame {
    /// How long each frame is, if that is written.
    pub(super) fn length(&self) -> Option<usize> {
        self.length.written().map(|at| at.value)
    }

    pub(super) fn settle(&self, notes: &mut Notes<'_>) -> Option<FrameSettings> {
        let spots = [
            self.ends_with.spot(),
            self.length.spot(),
            self.length_field.spot(),
            self.silence.spot(),
        ];
        let is_wrong = [
            !self.ends_with.is_absent(),
            !self.length.is_absent(),
            !self.length_field.is_absent(),
            !self.silence.is_absent(),
        ];
        let mut written = ENDS.iter().zip(spots).filter_map(|(key, spot)| Some((key, spot?)));
        if let (Some((first, _)), Some((second, spot))) = (written.next(), written.next()) {
            let message = format!("`{second}` is a second end of a frame that has `{first}`");
            notes.error(spot, message, "keep one of the two");
        }
        let bytes_max = self.bytes_max.or(BYTES_MAX_DEFAULT).max(self.length().unwrap_or(0));
        let starts_with = self.starts_with.or([].into());
        let end = if let Some(mark) = self.ends_with.written() {
            FrameEnd::Mark { mark: Arc::clone(&mark.value), tail: self.tail.or(0) }
        } else if let Some(length) = self.length.written() {
            if length.value <= starts_with.len() {
                let message = format!(
                    "a frame of {} bytes has nothing behind the {} that it begins with",
                    length.value,
                    starts_with.len()
                );
                notes.error(&length.spot, message, "write how many bytes it has, all counted");
            }
            FrameEnd::Length(length.value)
        } else if let Some(field) = self.length_field.written() {
            let LengthField { at, size, order, adds } = field.value;
            FrameEnd::Field { at, size, order, adds }
        } else if let Some(silence) = self.silence.written() {
            FrameEnd::Silence(silence.value)
        } else {
            if !is_wrong.contains(&true) {
                let remedy = format!("add one of {}", alternatives(&ENDS));
                notes.error(&self.spot, "this frame can never end", remedy);
            }
            return None;
        };
        if let Some(tail) = self.tail.written().filter(|_| self.ends_with.is_absent()) {
            let message = "`tail` is what follows `ends_with`, and this frame has none";
            notes.error(&tail.spot, message, "remove it");
        }
        if let (Some(max), FrameEnd::Mark { mark, tail }) = (self.bytes_max.written(), &end) {
            let least = starts_with.len() + mark.len() + tail;
            if max.value < least {
                let message = format!(
                    "this frame can never end: its marks take {least} bytes, and it has {} at most",
                    max.value
                );
                notes.error(&max.spot, message, "write more, or remove it");
            }
        }
        Some(FrameSettings { starts_with, end, bytes_max })
    }
}
