//! `fieldpost bench queue`, `bench broker` and `bench poll`, the binary itself: what it prints.
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests touch the machine")]

mod support;

use std::fs;
use std::process::Command;

use serde_json::Value;

/// What a short run prints. Nothing may be left behind.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    support::require_peers();
    let place = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    command.args(["bench", "queue", "--time", "80ms", "--rows", "2000", "--backlog", "5000"]);
    // The directory to be measured is the one it is run in, unless told otherwise.
    command.current_dir(place.path()).args(arguments).env_remove("RUST_LOG");
    let output = command.output().expect("the bench runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let left: Vec<_> = fs::read_dir(place.path()).expect("it is there").collect();
    assert!(left.is_empty(), "{left:?} is left behind");
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn positive(figures: &Value, key: &str) {
    let number = figures[key].as_f64();
    assert!(number.is_some_and(|number| number > 0.0), "{key} in {figures:#}");
}

mod heavy {
    use super::*;

    #[test]
    fn the_queue_is_measured_with_every_figure_in_json() {
        let figures: Value = serde_json::from_str(&printed(&["--json"])).expect("one JSON object");
        let append = figures["append"].as_array().expect("a list");
        let batches: Vec<_> = append.iter().filter_map(|row| row["batch"].as_u64()).collect();
        assert_eq!(batches, [1, 10, 100, 1000]);
        for row in append {
            for key in ["rows_per_s", "ratio_to_file", "bytes_per_reading"] {
                positive(row, key);
            }
        }
        assert!(figures["online_bytes_per_reading"].is_number(), "{figures:#}");
        assert_eq!((&figures["broker"], &figures["backlog"]), (&"mosquitto".into(), &5000.into()));
        for key in [
            "drain_per_s",
            "drain_cpu_s_per_million",
            "mosquitto_pub_per_s",
            "ratio_to_mosquitto_pub",
            "drain_qos2_per_s",
            "drain_qos2_cpu_s_per_million",
            "mosquitto_pub_qos2_per_s",
            "ratio_to_mosquitto_pub_qos2",
            "start_rows",
            "start_ms",
        ] {
            positive(&figures, key);
        }
        for memory in ["drain_rss_mb", "drain_qos2_rss_mb"] {
            positive(&figures[memory], "begin");
            positive(&figures[memory], "peak");
        }
        // It is the time of a start with ten million, and nothing else.
        assert!(figures.get("start_ms_at_10m_rows").is_none(), "{figures:#}");
    }

    #[test]
    fn the_broker_is_measured_beside_mosquitto_with_every_figure_in_json() {
        support::require_peers();
        let place = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
        command.args(["bench", "broker", "--json", "--time", "60ms"]);
        command.args(["--connections", "20,40", "--retained", "300"]);
        let output = command.env("TMPDIR", place.path()).output().expect("the bench runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let left: Vec<_> = fs::read_dir(place.path()).expect("it is there").collect();
        assert!(left.is_empty(), "{left:?} is left behind");
        let figures: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        let loads = figures["loads"].as_array().expect("a list");
        assert_eq!(loads.len(), 12);
        for load in loads {
            for key in ["messages_per_s", "cpu_s_per_100k"] {
                positive(load, key);
                positive(&load["mosquitto"], key);
                positive(&load["ratio_to_mosquitto"], key);
            }
        }
        for trickle in figures["latency"].as_array().expect("a list") {
            for key in ["p50_ms", "p99_ms"] {
                positive(trickle, key);
                positive(&trickle["mosquitto"], key);
            }
        }
        positive(&figures, "rss_idle_mb");
        assert!(figures["kb_per_connection"].is_number(), "{figures:#}");
        assert_eq!(figures["retained"]["received"], 300);
        positive(&figures["offline_session"], "acknowledged");
        assert_eq!(figures["offline_session"]["lost_after_kill"], 0);
    }

    #[test]
    fn polling_is_measured_beside_the_wire_with_every_figure_in_json() {
        let place = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
        command.args(["bench", "poll", "--json", "--baud", "115200"]);
        command.args(["--time", "2500ms", "--settle", "300ms"]);
        let output = command.env("TMPDIR", place.path()).output().expect("the bench runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let left: Vec<_> = fs::read_dir(place.path()).expect("it is there").collect();
        assert!(left.is_empty(), "{left:?} is left behind");
        let figures: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        let line = &figures["lines"][0];
        assert_eq!(line["baud"], 115_200);
        for key in ["cycle_ms", "minimum_ms", "ratio", "transactions", "optimum"] {
            positive(line, key);
        }
        // What is measured is a whole cycle: never shorter than the wire allows, never fewer reads than needed.
        assert!(line["ratio"].as_f64() >= Some(0.999), "{figures:#}");
        assert_eq!(line["silence_kept"], 1.0, "{figures:#}");
        for key in [
            "dead_unit_slowdown",
            "tcp_values_per_s",
            "cpu_s_per_million",
            "cpu_s_per_million_device",
        ] {
            positive(&figures, key);
        }
        assert!(figures["period_error_p99_ms"].is_number(), "{figures:#}");
        assert_eq!(figures["tcp"].as_array().map(Vec::len), Some(3));
        positive(&figures["in_flight"], "ratio");
    }

    #[test]
    fn a_load_nobody_knows_is_refused_with_those_that_are() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
        let output = command.args(["bench", "broker", "--patterns", "pears"]).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("no pattern `pears`: write some of pairs, 1-to-50"), "{said}");
    }

    #[test]
    fn the_queue_is_measured_with_a_table_to_read() {
        let text = printed(&[]);
        for words in [
            "of a plain file",
            "online, acknowledged in time: ",
            "a backlog of 5000 readings drains to mosquitto on loopback:",
            "mosquitto_pub   CPU s/million",
            "a start with 2000 readings in the queue: ",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
