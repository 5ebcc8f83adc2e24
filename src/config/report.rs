//! core: `report` as written: which readings are news.

use std::time::Duration;

use super::fields::Field;
use super::notes::{At, Given, Notes, Spot};
use super::quantity;
use crate::field::{Change, ReportSettings};

const EXAMPLE: &str = "write `{ change: 0.2, at_least: 60s }`, `change` or `every`";
const CHANGE_EXAMPLE: &str =
    "write a distance such as `0.2`, a share such as `1%`, or `0` for any difference";

/// `report` as written.
#[derive(Debug, Clone)]
pub(super) struct Report {
    /// `None` when every reading is news.
    settings: Option<ReportSettings>,
    change: Given<Change>,
    at_least: Given<Duration>,
    at_most: Given<Duration>,
}

/// Reads `report` of a point or device.
pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Report>> {
    let on_change = ReportSettings {
        change: Change::Absolute(0.0),
        at_least: None,
        at_most: None,
        before_jump: false,
    };
    let spot = field.key_spot.clone();
    let (change, at_least, at_most) = (Given::Absent, Given::Absent, Given::Absent);
    if !field.is_group() {
        let words = [("change", Some(on_change)), ("every", None)];
        let word = word(field, &words, notes)?;
        return Some(At { value: Report { settings: word, change, at_least, at_most }, spot });
    }
    let mut fields = field.fields(EXAMPLE, notes)?;
    let longest = Duration::from_secs(7 * 86_400);
    let change = fields.given("change", notes, self::change);
    let at_least = fields.given("at_least", notes, |field, notes| {
        field.duration(Duration::from_millis(10)..=longest, notes)
    });
    let at_most = fields.given("at_most", notes, |field, notes| {
        field.duration(Duration::from_millis(10)..=longest, notes)
    });
    let before_jump = fields.given("before_jump", notes, |field, notes| {
        field.choice(&[("true", true), ("false", false)], &[], notes)
    });
    let is_unlimited = change.is_absent() && at_most.is_absent();
    if is_unlimited && !fields.has_unknown() {
        let message = "this `report` keeps nothing back: it has neither `change` nor `at_most`";
        notes.error(&spot, message, "add `change: 0` for what differs, or remove `report`");
    }
    let instead = [
        ("deadband", "change"),
        ("heartbeat", "at_least"),
        ("max_interval", "at_least"),
        ("min_interval", "at_most"),
        ("rate", "at_most"),
    ];
    fields.finish(&[], &instead, notes);
    if let (Some(least), Some(most)) = (at_least.written(), at_most.written())
        && least.value <= most.value
    {
        let shown = quantity::duration_text(most.value);
        let message = format!("`at_least` is no longer than `at_most`, {shown}: nothing is left");
        notes.error(&least.spot, message, "write a longer one, or remove one of the two");
    }
    let settings = ReportSettings {
        change: change.or(Change::None),
        at_least: at_least.written().map(|at| at.value),
        at_most: at_most.written().map(|at| at.value),
        before_jump: before_jump.or(false),
    };
    let report = Report { settings: Some(settings), change, at_least, at_most };
    Some(At { value: report, spot })
}

fn word(
    field: &Field<'_>,
    words: &[(&'static str, Option<ReportSettings>)],
    notes: &mut Notes<'_>,
) -> Option<Option<ReportSettings>> {
    if field.is_list() || field.is_broken() {
        field.fields(EXAMPLE, notes)?;
    }
    field.choice(words, &[], notes).map(|at| at.value)
}

fn change(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Change>> {
    let text = field.text(CHANGE_EXAMPLE, notes)?;
    let share = text.value.trim().strip_suffix('%');
    let shown = notes.shown(&text.spot);
    let number = match quantity::number(share.unwrap_or(&text.value).trim()) {
        Ok(number) => number,
        Err(misread) => {
            let message = format!("`change: {shown}` {}", misread.message);
            notes.error(&text.spot, message, CHANGE_EXAMPLE);
            return None;
        }
    };
    if number < 0.0 {
        let message = format!("`change` is {shown}, and no distance is below 0");
        notes.error(&text.spot, message, CHANGE_EXAMPLE);
        return None;
    }
    let value = if share.is_some() { Change::Percent(number) } else { Change::Absolute(number) };
    Some(At { value, spot: text.spot })
}

/// What holds for a point that is read every `every`: its own `report`, or that of its device. `no_number` says why it has no
/// distances, if it has none.
pub(super) fn settle(
    own: &Given<Report>,
    of_device: &Given<Report>,
    every: Duration,
    no_number: Option<&str>,
    notes: &mut Notes<'_>,
) -> Option<ReportSettings> {
    let Some(report) = own.written().map(|at| &at.value) else {
        return of_device.written()?.value.settings;
    };
    if let (Some(why), Some(change)) = (no_number, report.change.written())
        && !matches!(change.value, Change::Absolute(0.0))
    {
        let message = format!("{why}, so there is no distance between two values");
        notes.error(&change.spot, message, "write `change: 0`: whatever differs is published");
    }
    let warn = |given: &Given<Duration>, words: &str, notes: &mut Notes<'_>| {
        if let Some(at) = given.written().filter(|at| at.value <= every) {
            let message =
                format!("the point is read every {}, so {words}", quantity::duration_text(every));
            warn(&at.spot, &message, notes);
        }
    };
    warn(&report.at_least, "every reading is published", notes);
    warn(&report.at_most, "this keeps nothing back", notes);
    report.settings
}

fn warn(spot: &Spot, message: &str, notes: &mut Notes<'_>) {
    notes.warning(spot, message, "write a longer one, or remove it");
}
