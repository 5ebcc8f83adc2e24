//! shell: answers what is asked about buses, out of their tasks.
#![allow(clippy::disallowed_methods, reason = "dates what it is told")]

use std::time::{Duration, SystemTime};

use tokio::task::yield_now;
use tokio::time::timeout;

use super::bus_report::BusReport;
use super::desk::{DeskError, json};
use super::frames::{FrameReport, FramesReport};
use super::listener::Lines;
use crate::field::Onlooker;
use crate::field::watch::traffic::passed;
use crate::field::watch::view::BusView;

/// How long a bus needs at most to answer: the transaction under way comes first.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// What is taken apart before the gateway's own work goes on, in bytes and what an entry costs besides.
const AT_ONCE: usize = 4_096;
const ENTRY: usize = 64;

/// The buses of a gateway, each with the way to see what it does.
#[derive(Debug, Clone, Default)]
pub struct Buses(Vec<Onlooker>);

impl Buses {
    /// Of these, in the order of the configuration.
    #[must_use]
    pub fn new(buses: Vec<Onlooker>) -> Self {
        Self(buses)
    }

    /// What passed on a bus lately, item by item, from the entry after `after` on.
    pub(super) async fn frames(
        &self,
        bus: &str,
        after: Option<u64>,
        lines: &mut Lines,
    ) -> Result<FramesReport, DeskError> {
        let onlooker = self.find(bus)?;
        let BusView { frames, framing, .. } = look(onlooker, true).await?;
        let copy = frames.unwrap_or_default();
        let mut taken = 0;
        for passed in passed(&copy, framing) {
            taken += ENTRY + passed.bytes.len();
            if after.is_none_or(|after| passed.number > after) {
                lines.item(json(&FrameReport::from(passed))?).await?;
            }
            if taken >= AT_ONCE {
                taken = 0;
                yield_now().await;
            }
        }
        Ok(FramesReport::new(bus, framing, &copy))
    }

    /// How each of them is doing, in the order of the configuration.
    pub(super) async fn reports(&self) -> Result<Vec<BusReport>, DeskError> {
        // Each is asked at once: one that waits for a silent device holds up nobody else.
        let ask = |onlooker: &Onlooker| {
            let onlooker = onlooker.clone();
            tokio::spawn(async move { look(&onlooker, false).await })
        };
        let asked: Vec<_> = self.0.iter().map(ask).collect();
        let mut reports = Vec::with_capacity(asked.len());
        for (onlooker, view) in self.0.iter().zip(asked) {
            let view = view.await.map_err(|error| error.to_string())??;
            reports.push(BusReport::new(onlooker.bus(), &view, SystemTime::now().into()));
        }
        Ok(reports)
    }

    fn find(&self, bus: &str) -> Result<&Onlooker, DeskError> {
        self.0.iter().find(|onlooker| **onlooker.bus() == *bus).ok_or_else(|| {
            let names: Vec<&str> = self.0.iter().map(|onlooker| &**onlooker.bus()).collect();
            DeskError::Said(match names[..] {
                [] => format!("the gateway runs without a bus, so there is no `{bus}`"),
                _ => format!("the gateway has no bus `{bus}`; it has {}", names.join(", ")),
            })
        })
    }
}

async fn look(onlooker: &Onlooker, with_frames: bool) -> Result<BusView, DeskError> {
    let bus = onlooker.bus();
    match timeout(ANSWER_MAX, onlooker.look(with_frames)).await {
        Ok(Ok(view)) => Ok(view),
        Ok(Err(error)) => Err(DeskError::Said(format!("{bus}: {error}"))),
        Err(_) => Err(DeskError::Said(format!(
            "the bus {bus} did not answer within {} s; the gateway's log may say why",
            ANSWER_MAX.as_secs()
        ))),
    }
}
