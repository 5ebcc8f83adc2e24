//! `fieldpost queue` with the real binary: on a gateway that runs, that was killed, that was stopped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    reason = "tests touch the machine, and a failure here fails the test"
)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{
    Fieldpost, ModbusServer, Mosquitto, Site, Subscriber, free_port, require_peers, wait_until,
};

/// Values of a read; the device's state is one message more.
const POINTS: usize = 40;
const MESSAGES: usize = POINTS + 1;

/// A gateway that reads once, with these uplinks (name, port), and keeps everything staged.
fn config(device: u16, uplinks: &[(&str, u16)]) -> String {
    let points: String =
        (0..POINTS).map(|point| format!("      p{point}: {{ holding: 0, type: u32 }}\n")).collect();
    let uplinks: String = uplinks
        .iter()
        .map(|(name, port)| format!("  {name}: {{ url: \"mqtt://127.0.0.1:{port}\", qos: 2 }}\n"))
        .collect();
    format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\", clock: trusted }}
buses: {{ plant: {{ modbus-tcp: \"127.0.0.1:{device}\", timeout: 10s }} }}
devices:
  d:
    bus: plant
    unit: 1
    every: 1h
    points:
{points}
uplinks:
{uplinks}
queue: {{ commit_every: 1h }}
"
    )
}

struct Stage {
    site: Site,
    device: ModbusServer,
    gateway: Fieldpost,
}

impl Stage {
    /// A running gateway that has read its device once, its uplinks away.
    fn start(uplinks: &[(&str, u16)]) -> Self {
        require_peers();
        let device = ModbusServer::pymodbus_tcp(&[], Some(0));
        let site = Site::new();
        site.write_config(&config(device.port(), uplinks));
        let gateway = site.start();
        let stage = Self { site, device, gateway };
        stage.wait_for_waiting(uplinks[0].0, MESSAGES as u64);
        // What waits for its commit is counted, and stands in the store an instant later.
        wait_until("all of it is in the store", || stage.export(&[]).len() == MESSAGES);
        stage
    }

    fn queue(&self, arguments: &[&str]) -> Output {
        queue(&self.site, arguments)
    }

    /// What the command prints, which must succeed.
    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.queue(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}\n{}", self.gateway.log());
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn status(&self) -> Value {
        serde_json::from_str(&self.done(&["status", "--json"])).unwrap()
    }

    #[track_caller]
    fn session(&self, name: &str) -> Option<Value> {
        let status = self.status();
        let sessions = status["sessions"].as_array().unwrap();
        sessions.iter().find(|session| session["name"] == name).cloned()
    }

    #[track_caller]
    fn wait_for_waiting(&self, session: &str, count: u64) {
        wait_until(&format!("{count} messages wait for {session}"), || {
            let output = self.queue(&["status", "--json"]);
            let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let sessions = status["sessions"].as_array().cloned().unwrap_or_default();
            sessions.iter().any(|s| s["name"] == session && s["waiting"] == count)
        });
    }

    #[track_caller]
    fn export(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments = [&["export"], arguments].concat();
        let text = self.done(&arguments);
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

fn queue(site: &Site, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fieldpost"))
        .arg("queue")
        .args(arguments)
        .arg("-c")
        .arg(site.config())
        .env_remove("RUNTIME_DIRECTORY")
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

fn seqs(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect()
}

/// Every file of a directory with its content, but sockets and empty files.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect();
    files.sort();
    files
}

#[test]
fn a_queue_looks_the_same_on_a_running_a_killed_and_a_stopped_gateway() {
    let mut stage = Stage::start(&[("far", free_port())]);
    let running = stage.export(&[]);
    assert_eq!(running.len(), MESSAGES);
    assert!(seqs(&running).is_sorted());
    let first = running.iter().find(|line| line["topic"] == "gw/d/p0").unwrap();
    let payload: Value = serde_json::from_str(first["payload"].as_str().unwrap()).unwrap();
    assert_eq!((payload["quality"].as_str(), first["qos"].as_u64()), (Some("good"), Some(2)));
    assert_eq!(first["for"], serde_json::json!(["far"]));
    let status = stage.status();
    assert_eq!((&status["running"], &status["stuck"]), (&Value::Bool(true), &Value::Null));
    let oldest = stage.session("far").unwrap()["oldest"].clone();
    assert_eq!(oldest, running[0]["accepted"]);
    let verified = stage.done(&["verify"]);
    assert!(verified.contains("nothing is damaged") && verified.contains("stopped"), "{verified}");
    let text = stage.done(&["status"]);
    assert!(text.contains("far") && text.contains("offline"), "{text}");

    // Everything was staged only, and the socket lies there still.
    stage.gateway.sigkill();
    let (state, run) = (stage.site.state_dir(), stage.site.runtime_dir());
    assert!(run.join("control.sock").exists() && run.join("staged").exists());
    let before = (files(&state), files(&run));
    assert_eq!(stage.export(&[]), running);
    let verified = stage.done(&["verify"]);
    assert!(verified.contains("41 messages read, nothing is damaged"), "{verified}");
    assert!(!verified.contains("pages not checked"), "{verified}");
    let status = stage.status();
    assert_eq!(status["running"], false);
    assert_eq!(status["sessions"][0]["waiting"], MESSAGES as u64);
    assert_eq!(status["sessions"][0]["oldest"], oldest);
    assert!((files(&state), files(&run)) == before, "a look has changed something");

    stage.gateway.restart(&stage.site);
    stage.wait_for_waiting("far", 2 * MESSAGES as u64);
    assert!(stage.gateway.sigterm().success());
    assert!(stage.gateway.log().contains("start=2"), "{}", stage.gateway.log());
    assert!(!run.join("control.sock").exists());
    let stopped = stage.export(&[]);
    assert_eq!(stopped[..MESSAGES], running[..]);
    let verified = stage.done(&["verify", "--json"]);
    let verified: Value = serde_json::from_str(&verified).unwrap();
    assert_eq!((&verified["faults"], &verified["pages_checked"]), (&0.into(), &true.into()));

    // The parts of it.
    assert_eq!(stage.export(&["--topic", "gw/+/p0"]).len(), 2);
    assert_eq!(stage.export(&["--limit", "3"]), stopped[..3]);
    assert_eq!(stage.export(&["--since", "1h", "--session", "far"]), stopped);
    assert_eq!(stage.export(&["--until", "1h"]), [] as [Value; 0]);
}

#[test]
fn exported_payloads_are_what_mosquitto_pub_reads() {
    let stage = Stage::start(&[("far", free_port())]);
    let broker = Mosquitto::start();
    let near = Subscriber::paho(broker.port(), "near", "rescued");
    let payloads = stage.done(&["export", "--payload", "--topic", "gw/d/+", "--limit", "30"]);
    let mut publisher = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &broker.port().to_string()])
        .args(["-t", "rescued", "-q", "1", "-l"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("mosquitto_pub runs");
    publisher.stdin.take().unwrap().write_all(payloads.as_bytes()).unwrap();
    assert!(publisher.wait().unwrap().success());
    let got: Vec<String> = near.wait_for(30).into_iter().map(|got| got.payload).collect();
    assert_eq!(got, payloads.lines().collect::<Vec<_>>());
}

#[test]
fn a_purge_on_a_running_gateway_takes_one_sessions_messages_and_leaves_the_others() {
    let (mut broker, far_port) = (Mosquitto::start(), free_port());
    let near = Subscriber::paho(broker.port(), "near", "gw/d/#");
    broker.stop();
    let mut stage = Stage::start(&[("far", far_port), ("near", broker.port())]);
    let all = stage.export(&[]);

    let refused = stage.queue(&["purge", "--session", "far"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("would remove 41 messages") && words.contains("--yes"), "{words}");
    assert_eq!(stage.export(&[]), all);

    let purged = stage.done(&["purge", "--session", "far", "--yes"]);
    assert!(purged.contains("removed 41 messages") && purged.contains("far: 41"), "{purged}");
    let far = stage.session("far").unwrap();
    assert_eq!((&far["waiting"], &far["totals"]["purged"]), (&0.into(), &41.into()));
    let left = stage.export(&[]);
    assert_eq!(seqs(&left), seqs(&all));
    assert!(left.iter().all(|line| line["for"] == serde_json::json!(["near"])), "{left:?}");
    assert!(stage.gateway.log().contains("messages purged by command"), "{}", stage.gateway.log());

    let purged = stage.done(&["purge", "--topic", "gw/d/p7", "--yes", "--json"]);
    let purged: Value = serde_json::from_str(&purged).unwrap();
    assert_eq!(purged["messages"], 1);

    // It was durable when it was told.
    stage.gateway.sigkill();
    assert_eq!(stage.export(&[]).len(), MESSAGES - 1);
    broker.start_again();
    stage.gateway.restart(&stage.site);
    let mut got = near.wait_for(2 * MESSAGES - 2);
    got.truncate(MESSAGES - 1);
    let topics: Vec<&str> = all
        .iter()
        .map(|line| line["topic"].as_str().unwrap())
        .filter(|t| *t != "gw/d/p7")
        .collect();
    assert_eq!(got.iter().map(|got| got.topic.as_str()).collect::<Vec<_>>(), topics);
}

#[test]
fn a_purge_on_a_stopped_gateway_does_the_same() {
    let mut stage = Stage::start(&[("far", free_port()), ("near", free_port())]);
    stage.gateway.sigkill();
    let all = stage.export(&[]);
    stage.done(&["purge", "--session", "far", "--yes"]);
    let left = stage.export(&[]);
    assert_eq!(seqs(&left), seqs(&all));
    assert!(left.iter().all(|line| line["for"] == serde_json::json!(["near"])), "{left:?}");
    stage.done(&["purge", "--topic", "gw/d/p7", "--session", "near", "--yes"]);
    stage.done(&["purge", "--before", "1h", "--yes"]);
    assert_eq!(stage.export(&[]).len(), MESSAGES - 1);
    // The gateway finds it so, counts this as its second start, and has lost nothing of what was staged.
    stage.gateway.restart(&stage.site);
    stage.gateway.wait_for_log("gateway started");
    stage.wait_for_waiting("far", MESSAGES as u64);
    stage.wait_for_waiting("near", 2 * MESSAGES as u64 - 1);
    let log = stage.gateway.log();
    assert!(log.contains("start=2") && !log.contains("is gone"), "{log}");
    assert_eq!(stage.export(&["--session", "near", "--limit", "3"]), left[..3]);
    stage.done(&["purge", "--all", "--yes"]);
    assert_eq!(stage.export(&[]), [] as [Value; 0]);
}

#[test]
fn a_removed_uplinks_messages_go_with_its_session_and_the_other_keeps_its_own() {
    for running in [false, true] {
        let near = ("near", free_port());
        let mut stage = Stage::start(&[("far", free_port()), near]);
        assert!(stage.gateway.sigterm().success());
        stage.site.write_config(&config(stage.device.port(), &[near]));
        if running {
            stage.gateway.restart(&stage.site);
            stage.wait_for_waiting("near", 2 * MESSAGES as u64);
        }
        let far = stage.session("far").expect("it is there still");
        assert_eq!((&far["configured"], &far["waiting"]), (&false.into(), &41.into()));
        assert!(stage.done(&["status"]).contains("purge --uplink-gone far"));
        let all = stage.export(&["--session", "near"]);

        let refused = stage.queue(&["purge", "--uplink-gone", "near", "--yes"]);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{words}");
        assert!(words.contains("configuration"), "{words}");
        let purged = stage.done(&["purge", "--uplink-gone", "far", "--yes"]);
        assert!(
            purged.contains("removed 41 messages") && purged.contains("uplink far"),
            "{purged}"
        );
        assert_eq!(stage.session("far"), None);
        let left = stage.export(&[]);
        assert_eq!(seqs(&left), seqs(&all));
        assert!(left.iter().all(|line| line["for"] == serde_json::json!(["near"])));
        stage.done(&["purge", "--session", "near", "--yes"]);
        let kept = stage.session("near").expect("a configured uplink keeps its session");
        assert_eq!(kept["waiting"], 0);
        assert_eq!(stage.export(&[]), [] as [Value; 0]);
    }
}

#[test]
fn a_damaged_segment_is_named_passed_over_and_removed() {
    // A running gateway that comes upon one ends, and salvages the rest when it starts again.
    for is_cut in [false, true] {
        let mut stage = Stage::start(&[("far", free_port())]);
        assert!(stage.gateway.sigterm().success());
        let all = stage.export(&[]);
        let database =
            rusqlite::Connection::open(stage.site.state_dir().join("fieldpost.db")).unwrap();
        let (first, last, count): (u64, u64, usize) = database
            .query_row("SELECT first, last, count FROM segment LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert!(count > 1 && seqs(&all).contains(&first));
        // A cut, and a column that is no number: then nobody can tell how long it was.
        let (column, sql, named) = if is_cut {
            ("content", "UPDATE segment SET content = substr(content, 1, 50)", count)
        } else {
            ("last", "UPDATE segment SET last = 'x'", 1)
        };
        let changed = database.execute(&format!("{sql} WHERE first = ?1"), [first]).unwrap();
        assert_eq!(changed, 1);
        drop(database);
        let verified = stage.queue(&["verify"]);
        let words = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert_eq!(verified.status.code(), Some(1), "{words}");
        let plural = if named == 1 { "" } else { "s" };
        let named =
            format!("segment of {named} message{plural}, the first {first}: the column {column} ");
        assert!(words.contains(&named) && words.contains("--damaged"), "{words}");

        let exported = stage.queue(&["export"]);
        assert_eq!(exported.status.code(), Some(1), "{exported:?}");
        assert!(String::from_utf8_lossy(&exported.stderr).contains("1 damaged row"));
        let lines = String::from_utf8_lossy(&exported.stdout).lines().count();
        assert_eq!(lines, all.len() - count);

        let purged = stage.done(&["purge", "--damaged", "--yes"]);
        assert!(purged.contains("removed 1 damaged row"), "{purged}");
        assert!(stage.done(&["verify"]).contains("nothing is damaged"));
        let left = seqs(&stage.export(&[]));
        assert!(!left.iter().any(|seq| (first..=last).contains(seq)), "{left:?}");
    }
}

#[test]
fn clients_that_stall_or_talk_nonsense_hold_up_nobody() {
    let stage = Stage::start(&[("far", free_port())]);
    let socket = stage.site.runtime_dir().join("control.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let connect = || UnixStream::connect(&socket).unwrap();
    let silent: Vec<UnixStream> = (0..4).map(|_| connect()).collect();
    // It asks for all of it and reads nothing.
    let mut deaf = connect();
    let dir = fs::metadata(stage.site.state_dir()).unwrap();
    let asked = |request: &str, inode: u64| {
        format!("{{\"state_dir\":[{},{inode}],\"request\":{request}}}\n", dir.dev())
    };
    deaf.write_all(asked("{\"queue_export\":{}}", dir.ino()).as_bytes()).unwrap();
    assert_eq!(stage.export(&[]).len(), MESSAGES);

    let answer = |question: &[u8]| {
        let mut stream = connect();
        // The gateway may have heard enough before all is written.
        let _ = stream.write_all(question);
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap_or_default();
        line
    };
    assert!(answer(b"\"queue_status\"\n").starts_with("{\"error\":"));
    let refused = answer(asked("\"queue_burn\"", dir.ino()).as_bytes());
    assert!(refused.contains("does not know this question"), "{refused}");
    let refused = answer(asked("\"queue_status\"", dir.ino() + 1).as_bytes());
    assert!(refused.contains("keeps its queue in"), "{refused}");
    assert!(answer(&[b"\xff\xfe\n".as_slice()].concat()).is_empty());
    let long = [vec![b'x'; 70_000], vec![b'\n']].concat();
    let refused = answer(&long);
    assert!(refused.is_empty() || refused.contains("one line"), "{refused}");
    let answered = answer(asked("\"queue_status\"", dir.ino()).as_bytes());
    assert!(answered.starts_with("{\"done\":{\"running\":true"), "{answered}");
    let mut rest = String::new();
    deaf.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.lines().count(), MESSAGES + 1);
    drop(silent);
}

#[test]
fn what_cannot_be_done_is_said_with_a_remedy() {
    let site = Site::new();
    site.write_config(&config(1, &[("far", 1)]));
    let said = |arguments: &[&str], code: i32| {
        let output = queue(&site, arguments);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {words}");
        words
    };
    assert!(said(&["status"], 1).contains("there is no queue"));
    assert!(!site.state_dir().join("fieldpost.db").exists());
    said(&["purge"], 2);
    said(&["purge", "--all", "--session", "far"], 2);
    said(&["export", "--since", "yesterday"], 2);
    site.write_config("gateway: {}\n");
    assert!(said(&["status"], 2).contains("error"));

    // A queue of somebody else. Root may read everything, so it is another who looks.
    let mut stage = Stage::start(&[("far", free_port())]);
    assert!(stage.gateway.sigterm().success());
    if fs::metadata(stage.site.state_dir()).unwrap().uid() == 0 {
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(stage.site.path(), 0o755);
        let said = [(0o700, "for the user of the gateway"), (0o755, "may not read and write")];
        for (mode, what) in said {
            open(&stage.site.state_dir(), mode);
            let output = Command::new(env!("CARGO_BIN_EXE_fieldpost"))
                .args(["queue", "status", "-c"])
                .arg(stage.site.config())
                .uid(65_534)
                .gid(65_534)
                .output()
                .unwrap();
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{what}: {words}");
            assert!(words.contains(what) && words.contains("root"), "{what}: {words}");
        }
    }
    drop(stage);

    // Somebody has the store open who listens nowhere.
    let stage = Stage::start(&[("far", free_port())]);
    fs::remove_file(stage.site.runtime_dir().join("control.sock")).unwrap();
    let output = stage.queue(&["status"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("is in use, but nobody answers"), "{words}");
}
