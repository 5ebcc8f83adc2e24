//! shell: asks units for whoever asks the gateway.
#![allow(clippy::disallowed_methods, reason = "reads the clock to say until when a bus may ask")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::desk::DeskError;
use super::request::UnitRequest;
use crate::field::BusHandle;
use crate::field::modbus::transaction::{Outcome, Question};

/// How long a question may wait for its turn; shorter than a client waits for a line.
const TURN_MAX: Duration = Duration::from_secs(30);

/// Asks a unit of one of `buses`. A write goes into the log: nobody else hears of it.
pub(super) async fn ask(
    buses: &BTreeMap<Arc<str>, BusHandle>,
    UnitRequest { bus, unit, rank, query }: UnitRequest,
) -> Result<Outcome, DeskError> {
    let Some(handle) = buses.get(bus.as_str()) else {
        let known: Vec<String> = buses.keys().map(|name| format!("`{name}`")).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(DeskError::Said(format!(
            "the gateway that runs has no Modbus bus `{bus}`; it has {known}"
        )));
    };
    let question = Question::new(unit, query);
    let told = question.query.is_write().then(|| {
        let bytes = question.query.request();
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        (question.to_string(), bytes.join(" "))
    });
    let outcome = handle.ask_until(rank, question, Instant::now() + TURN_MAX).await;
    let outcome = outcome.map_err(|error| DeskError::Said(error.to_string()))?;
    if let Some((question, request)) = told {
        match &outcome.result {
            Ok(_) => info!(%bus, %question, request, "unit is written to by command"),
            Err(failure) => warn!(%bus, %question, request, %failure, "write by command failed"),
        }
    }
    Ok(outcome)
}
