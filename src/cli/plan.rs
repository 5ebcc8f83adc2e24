//! core: how `fieldpost check --plan` says what polling a bus will cost.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::field::forecast::{Forecast, Milliseconds, PlannedRead};

/// The forecast of one bus as JSON.
pub(super) fn to_json(forecast: &Forecast) -> Value {
    let tightest = forecast.tightest().map(|tightest| {
        json!({
            "device": &*tightest.device,
            "point": &*tightest.point,
            "every_ms": ms(tightest.every),
            "needs_ms": ms(tightest.needs),
        })
    });
    json!({
        "name": &*forecast.bus,
        "transactions": forecast.reads.len(),
        "wire_bytes": forecast.wire_bytes(),
        "wire_ms": ms(forecast.wire()),
        "utilisation": rounded(forecast.utilisation(), 10_000.0),
        "fits": forecast.utilisation() <= 1.0,
        "tightest": tightest,
        "reads": forecast.reads.iter().map(read_to_json).collect::<Vec<_>>(),
    })
}

fn read_to_json(read: &PlannedRead) -> Value {
    json!({
        "device": &*read.device,
        "unit": read.unit.0,
        "function": read.range.function(),
        "table": read.range.table().key(),
        "start": read.range.address(),
        "count": read.range.count(),
        "every_ms": ms(read.every),
        "wire_bytes": read.wire_bytes,
        "wire_ms": ms(read.wire),
        "points": read.points.iter().map(|point| &**point).collect::<Vec<_>>(),
    })
}

/// The forecast of one bus for people: a line for the bus and one for each read.
pub(super) fn to_text(forecast: &Forecast) -> String {
    let Forecast { bus, reads, .. } = forecast;
    let plural = if reads.len() == 1 { "" } else { "s" };
    let mut text = format!(
        "\nbus `{bus}`: {} transaction{plural}, {} bytes, {} to read everything once; {:.1} % of its time",
        reads.len(),
        forecast.wire_bytes(),
        Milliseconds(forecast.wire()),
        forecast.utilisation() * 100.0,
    );
    if let Some(tightest) = forecast.tightest() {
        let _ = write!(text, "; {tightest}");
    }
    text.push('\n');
    for read in reads {
        let points: Vec<&str> = read.points.iter().map(|point| &**point).collect();
        let _ = writeln!(
            text,
            "  unit {:<3} function {}  {:<22} every {:<7} {:>8}  {}: {}",
            read.unit.0,
            read.range.function(),
            read.range.to_string(),
            humantime::format_duration(read.every).to_string(),
            Milliseconds(read.wire).to_string(),
            read.device,
            points.join(", "),
        );
    }
    text
}

/// What there is to say of a plain serial line, whose devices have no registers to plan for.
pub(super) fn of_line(name: &str) -> String {
    format!("\nline `{name}`: frames and no registers, so there is nothing to plan\n")
}

/// Adds to the report of `check` that a bus cannot keep its periods.
pub(super) fn add_overload(report: &mut Value, forecast: &Forecast, message: &str, remedy: &str) {
    let warnings = report["warnings"].as_u64().unwrap_or_default();
    report["warnings"] = json!(warnings + 1);
    let complaint = json!({
        "severity": "warning",
        "file": report["file"].clone(),
        "line": 0,
        "column": 0,
        "path": format!("buses.{}", forecast.bus),
        "text": "",
        "message": message,
        "remedy": remedy,
    });
    if let Some(complaints) = report["complaints"].as_array_mut() {
        complaints.push(complaint);
    }
}

fn ms(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1000.0, 1000.0)
}

fn rounded(number: f64, parts: f64) -> f64 {
    (number * parts).round() / parts
}
