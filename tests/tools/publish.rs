//! `fieldpost pub`, with mosquitto_sub on the other side.

use std::fs;

use crate::client::{Sub, VERSIONS, done, fieldpost, run, run_with, text};
use crate::support::{Mosquitto, mosquitto_sub, wait_until};

#[test]
fn mosquitto_sub_gets_what_is_published_in_each_version_at_each_qos() {
    let broker = Mosquitto::start();
    for version in VERSIONS {
        let far = mosquitto_sub(broker.port(), "site/#", &["-q", "2", "-V", "5"]);
        for qos in ["0", "1", "2"] {
            done(broker.port(), &format!("pub -V {version} -q {qos} -t site/pump -m {qos}"));
        }
        let got: Vec<_> =
            far.wait_for(3).into_iter().map(|message| (message.payload, message.qos)).collect();
        let pump = |qos: u64| (qos.to_string(), qos);
        assert_eq!(got, [pump(0), pump(1), pump(2)], "{version}");
    }
}

#[test]
fn every_line_is_published_once_and_in_order_also_beyond_65535() {
    let broker = Mosquitto::start();
    let lines: String = (0..70_000).map(|number| format!("{number}\n")).collect();
    for (qos, count) in [(1, 70_000), (2, 70_000)] {
        let far = Sub::start(broker.port(), &format!("-t lines -q {qos} -C {count}"));
        let output =
            run_with(broker.port(), &format!("pub -t lines -q {qos} -l"), lines.as_bytes());
        assert!(output.status.success(), "{output:?}");
        let (status, printed) = far.ended();
        assert_eq!(status, Some(0));
        assert!(printed == lines.as_bytes(), "QoS {qos}: the lines differ");
    }
}

#[test]
fn mosquitto_sub_counts_the_lines_of_a_3_1_1_publisher() {
    let broker = Mosquitto::start();
    let far = mosquitto_sub(broker.port(), "lines", &["-q", "2"]);
    let lines: String = (0..500).map(|number| format!("{number}\n")).collect();
    // Mosquitto takes 20 at a time and says so to nobody before MQTT 5.
    let output = run_with(broker.port(), "pub -V 311 -t lines -q 2 -l", lines.as_bytes());
    assert!(output.status.success(), "{output:?}");
    let got: String = far.wait_for(500).into_iter().map(|m| m.payload + "\n").collect();
    assert_eq!(got, lines);
}

#[test]
fn empty_lines_and_a_last_line_without_its_end_are_messages() {
    let broker = Mosquitto::start();
    let far = Sub::start(broker.port(), "-t lines -q 1 -F [%p] -C 4");
    let output = run_with(broker.port(), "pub -t lines -q 1 -l", b"a\n\n\xff\x00\r\nend");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(far.ended(), (Some(0), b"[a]\n[]\n[\xff\x00\r]\n[end]\n".to_vec()));
}

#[test]
fn any_bytes_of_a_file_or_of_standard_input_arrive_unaltered() {
    let broker = Mosquitto::start();
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("payload");
    fs::write(&path, &all).unwrap();
    let far = Sub::start(broker.port(), "-t blob -q 1 -N -C 2");
    done(broker.port(), &format!("pub -t blob -q 1 -f {}", path.display()));
    let output = run_with(broker.port(), "pub -t blob -q 1 -s", &all);
    assert!(output.status.success(), "{output:?}");
    let (status, printed) = far.ended();
    assert_eq!(status, Some(0));
    assert!(printed == [all.clone(), all].concat(), "{} bytes", printed.len());
}

#[test]
fn a_retained_message_is_kept_and_an_empty_one_removes_it() {
    let broker = Mosquitto::start();
    done(broker.port(), "pub -t state -m on -r -q 1");
    assert_eq!(done(broker.port(), "sub -t state -C 1 -v").stdout, b"state on\n");
    done(broker.port(), "pub -t state -n -r -q 1");
    let nothing = run(broker.port(), "sub -t state -W 0.3");
    assert_eq!((nothing.status.code(), nothing.stdout), (Some(27), Vec::new()));
}

#[test]
fn a_message_is_repeated_as_often_as_wanted() {
    let broker = Mosquitto::start();
    let far = Sub::start(broker.port(), "-t r -q 2 -C 6");
    done(broker.port(), "pub -t r -m x -q 2 --repeat 3");
    done(broker.port(), "pub -t r -m y -q 0 --repeat 3 --repeat-delay 0.01");
    assert_eq!(far.ended(), (Some(0), b"x\nx\nx\ny\ny\ny\n".to_vec()));
}

#[test]
fn properties_reach_mosquitto_sub_and_an_alias_stands_for_its_topic() {
    let broker = Mosquitto::start();
    let far = mosquitto_sub(broker.port(), "p", &["-V", "5", "-F", "%C|%R|%D|%F|%P|%p"]);
    let output = run_with(
        broker.port(),
        "pub -t p -q 1 -l -D publish content-type text/plain -D publish response-topic answer \
         -D publish correlation-data abc -D publish payload-format-indicator 1 \
         -D publish user-property k v -D publish topic-alias 4",
        b"one\ntwo\n",
    );
    assert!(output.status.success(), "{output:?}");
    for payload in ["one", "two"] {
        let wanted = format!("text/plain|answer|abc|1|k:v|{payload}");
        wait_until(&wanted, || far.log().lines().any(|line| line == wanted));
    }
    let beyond = run(broker.port(), "pub -t p -m x -D publish topic-alias 60000");
    assert_eq!(beyond.status.code(), Some(1));
    assert!(text(&beyond.stderr).contains("topic aliases up to"), "{beyond:?}");
}

#[test]
fn what_the_broker_refuses_is_told_and_makes_the_status_1() {
    let dir = tempfile::tempdir().unwrap();
    let acl = dir.path().join("acl");
    fs::write(&acl, "topic write open/#\n").unwrap();
    let lines = format!("allow_anonymous true\nacl_file {}\n", acl.display());
    let broker = Mosquitto::start_with(&lines);
    let refused = run_with(broker.port(), "pub -t closed/x -q 1 -l", b"a\nb\n");
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(told.contains("`closed/x`: not authorized"), "{told}");
    assert!(told.contains("refused 2 of 2"), "{told}");
    done(broker.port(), "pub -t open/x -q 1 -m a");
}

#[test]
fn a_lost_broker_is_told_with_what_was_acknowledged() {
    let mut broker = Mosquitto::start();
    let mut command = fieldpost(broker.port(), "pub -t t -q 1 -l -d");
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"a\nb\n").unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let mut acknowledged = 0;
    while acknowledged < 2 {
        line.clear();
        std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
        acknowledged += usize::from(line.contains("received PUBACK"));
    }
    broker.kill();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    assert!(rest.contains("of 2 messages 2 are acknowledged, 0 are not"), "{rest}");
    drop(stdin);
}
