//! core: what a run has found, as a table for people and as JSON for machines.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::QoS;

/// What became of the messages of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Books {
    /// Messages that were acknowledged to their publisher.
    pub accepted: u64,
    /// Those of them that did not arrive.
    pub lost: u64,
    /// The first of those.
    pub lost_first: Option<u64>,
    /// Arrivals after the first of a message.
    pub doubled: u64,
    /// Such arrivals that the upstream made: it published again what it knew to have arrived.
    pub excused: u64,
    /// Messages that first arrived after a later one.
    pub out_of_order: u64,
    /// How often one of the two clients found its session forgotten.
    pub sessions_lost: u64,
}

/// What a run has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Who was killed.
    pub name: &'static str,
    /// What one should know of how it was set up.
    pub note: String,
    /// How often it ended.
    pub kills: u64,
    /// How many of these ends were SIGKILL from outside.
    pub outside: u64,
    /// How many of those because it had not come to its step in time.
    pub unreached: u64,
    /// How often it aborted at each step.
    pub steps: BTreeMap<&'static str, u64>,
    /// From the LAN to the upstream.
    pub up: Books,
    /// From the upstream to the LAN.
    pub down: Books,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u128,
}

impl Row {
    /// Whether nothing was lost or out of order, and at QoS 2 nothing doubled.
    #[must_use]
    pub fn is_right(&self, qos: QoS) -> bool {
        [&self.up, &self.down].iter().all(|books| {
            let once = qos != QoS::ExactlyOnce || books.doubled == 0;
            books.lost == 0 && books.out_of_order == 0 && once
        })
    }

    /// The row for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "note": self.note,
            "kills": self.kills,
            "outside": self.outside,
            "unreached": self.unreached,
            "steps": self.steps,
            "accepted": self.up.accepted,
            "lost": self.up.lost,
            "lost_first": self.up.lost_first,
            "doubled": self.up.doubled,
            "out_of_order": self.up.out_of_order,
            "sessions_lost": self.up.sessions_lost,
            "down_accepted": self.down.accepted,
            "down_lost": self.down.lost,
            "down_lost_first": self.down.lost_first,
            "down_doubled": self.down.doubled,
            "down_doubled_by_upstream": self.down.excused,
            "down_out_of_order": self.down.out_of_order,
            "down_sessions_lost": self.down.sessions_lost,
            "elapsed_ms": u64::try_from(self.elapsed_ms).unwrap_or(u64::MAX),
        })
    }
}

/// The rows for people, one below the other.
#[must_use]
pub fn table(rows: &[Row], seed: u64) -> String {
    let mut text = format!(
        "{:<18} {:<5} {:>6} {:>9} {:>7} {:>8} {:>13} {:>14}\n",
        "killed", "lane", "kills", "accepted", "lost", "doubled", "out of order", "sessions lost"
    );
    for row in rows {
        for (lane, books) in [("up", &row.up), ("down", &row.down)] {
            text += &format!(
                "{:<18} {lane:<5} {:>6} {:>9} {:>7} {:>8} {:>13} {:>14}\n",
                row.name,
                row.kills,
                books.accepted,
                books.lost,
                books.doubled,
                books.out_of_order,
                books.sessions_lost,
            );
        }
    }
    for row in rows {
        text += &format!("{}: {}; {} killed from outside", row.name, row.note, row.outside);
        if row.unreached > 0 {
            text += &format!(" ({} before they came to their step)", row.unreached);
        }
        let steps = row.steps.iter().map(|(step, count)| format!(", {step} {count}"));
        text += &steps.collect::<String>();
        if row.down.excused > 0 {
            let count = row.down.excused;
            text += &format!("; {count} doubled by the upstream itself, after it had their PUBREC");
        }
        text += "\n";
    }
    text + &format!("seed {seed}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_is_wrong_at_qos_2_only_and_a_loss_always() {
        let mut row = Row::default();
        assert!(row.is_right(QoS::ExactlyOnce));
        row.down.doubled = 1;
        assert!(row.is_right(QoS::AtLeastOnce) && !row.is_right(QoS::ExactlyOnce));
        row.up.lost = 1;
        assert!(!row.is_right(QoS::AtLeastOnce));
    }
}
