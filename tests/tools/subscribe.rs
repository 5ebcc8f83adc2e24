//! `fieldpost sub`, with mosquitto_pub on the other side.

use std::io::Read as _;
use std::process::Stdio;

use crate::client::{Sub, VERSIONS, done, fieldpost, run, text};
use crate::support::{Mosquitto, mosquitto_pub, wait_until};

#[test]
fn what_mosquitto_pub_says_is_printed_in_each_version_at_each_qos() {
    let broker = Mosquitto::start();
    for version in VERSIONS {
        let sub =
            Sub::start(broker.port(), &format!("-t site/# -V {version} -q 2 -C 3 -F %t|%q|%p"));
        for qos in ["0", "1", "2"] {
            mosquitto_pub(
                broker.port(),
                "site/pump",
                version,
                &["-V", version_name(version), "-q", qos],
            );
        }
        let wanted: String = (0..3).map(|qos| format!("site/pump|{qos}|{version}\n")).collect();
        assert_eq!(sub.ended(), (Some(0), wanted.into_bytes()));
    }
}

fn version_name(version: &str) -> &'static str {
    match version {
        "31" => "mqttv31",
        "311" => "mqttv311",
        _ => "mqttv5",
    }
}

#[test]
fn several_filters_are_taken_and_some_topics_left_out() {
    let broker = Mosquitto::start();
    let sub = Sub::start(broker.port(), "-t a/# -t b/+ -T a/quiet/# -v -C 3 -q 1");
    for topic in ["a/1", "a/quiet/2", "b/3", "c/4", "a/5"] {
        mosquitto_pub(broker.port(), topic, "x", &["-q", "1"]);
    }
    assert_eq!(sub.ended(), (Some(0), b"a/1 x\nb/3 x\na/5 x\n".to_vec()));
}

#[test]
fn the_end_comes_with_the_count_or_with_the_time() {
    let broker = Mosquitto::start();
    let over = run(broker.port(), "sub -t nothing -W 0.2");
    assert_eq!(over.status.code(), Some(27), "{over:?}");
    mosquitto_pub(broker.port(), "kept", "x", &["-r"]);
    assert_eq!(done(broker.port(), "sub -t kept -C 1 -W 30").stdout, b"x\n");
    assert_eq!(done(broker.port(), "sub -t kept -E").stdout, b"");
}

#[test]
fn a_session_keeps_what_was_not_printed() {
    let broker = Mosquitto::start();
    for version in VERSIONS {
        let session = format!("sub -V {version} -c -i keeper{version} -q 2 -t t{version}");
        done(broker.port(), &format!("{session} -E"));
        for number in 0..6 {
            let qos = (1 + number % 2).to_string();
            mosquitto_pub(
                broker.port(),
                &format!("t{version}"),
                &number.to_string(),
                &["-q", &qos],
            );
        }
        let one = done(broker.port(), &format!("{session} -C 2"));
        assert_eq!(text(&one.stdout), "0\n1\n", "{version}");
        let rest = done(broker.port(), &format!("{session} -C 4"));
        assert_eq!(text(&rest.stdout), "2\n3\n4\n5\n", "{version}");
        let end = run(broker.port(), &format!("{session} -W 0.2"));
        assert_eq!(text(&end.stdout), "", "{version}");
    }
}

#[test]
fn retained_messages_can_be_left_out_be_the_only_ones_or_be_removed() {
    let broker = Mosquitto::start();
    for topic in ["r/1", "r/2", "r/3"] {
        mosquitto_pub(broker.port(), topic, topic, &["-r", "-q", "1"]);
    }
    let fresh = Sub::start(broker.port(), "-t r/# -R -C 1");
    let stale = Sub::start(broker.port(), "-t r/# --retained-only");
    stale.wait_for(b"r/1\nr/2\nr/3\n");
    mosquitto_pub(broker.port(), "r/9", "fresh", &["-q", "1"]);
    assert_eq!(fresh.ended(), (Some(0), b"fresh\n".to_vec()));
    assert_eq!(stale.ended(), (Some(0), b"r/1\nr/2\nr/3\n".to_vec()));
    let removing = done(broker.port(), "sub -t r/# -T r/2 --remove-retained -C 2 -v");
    assert_eq!(text(&removing.stdout), "r/1 r/1\nr/3 r/3\n");
    let left = run(broker.port(), "sub -t r/# -W 0.3 -v");
    assert_eq!(text(&left.stdout), "r/2 r/2\n");
}

#[test]
fn json_has_all_of_a_message_and_bytes_that_are_no_text() {
    let broker = Mosquitto::start();
    let sub = Sub::start(broker.port(), "-t j/# -q 1 --json -C 2");
    let properties = "-V 5 -q 1 -D publish user-property k v -D publish user-property k w \
                      -D publish content-type text/plain -D publish message-expiry-interval 60";
    mosquitto_pub(broker.port(), "j/1", "hä\"", &properties.split_whitespace().collect::<Vec<_>>());
    let mut command = crate::support::program("mosquitto_pub");
    let mut child = command
        .args(["-h", "127.0.0.1", "-p", &broker.port().to_string(), "-t", "j/2", "-s"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"\xff\x00").unwrap();
    assert!(child.wait().unwrap().success());
    let (status, printed) = sub.ended();
    assert_eq!(status, Some(0));
    let objects: Vec<serde_json::Value> =
        text(&printed).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, second] = objects.as_slice() else { panic!("not two lines: {objects:?}") };
    assert_eq!(first["topic"], "j/1");
    assert_eq!(first["payload"], "hä\"");
    assert_eq!((&first["qos"], &first["retain"]), (&1.into(), &false.into()));
    assert_eq!(first["properties"]["user_properties"], serde_json::json!([["k", "v"], ["k", "w"]]));
    assert_eq!(first["properties"]["content_type"], "text/plain");
    assert_eq!(second["payload_base64"], "/wA=");
    assert!(second.get("payload").is_none() && second.get("mid").is_none());
}

#[test]
fn formats_print_what_mosquitto_sub_prints() {
    let broker = Mosquitto::start();
    for version in ["311", "5"] {
        let format = "%t|%q|%r|%l|%m|%p|%x|%X|%C|%E|%F|%P|%R|%-12t|%12t|%.3t|%%|%06l\\t@@";
        let mut theirs = crate::support::program("mosquitto_sub");
        theirs.args(["-h", "127.0.0.1", "-p", &broker.port().to_string()]);
        theirs.args(["-t", "f/#", "-q", "1", "-C", "2", "-V", version_name(version), "-F", format]);
        mosquitto_pub(broker.port(), "f/kept", "kept", &["-r", "-q", "1"]);
        let theirs = Sub::begin(&theirs);
        let ours = Sub::begin(&fieldpost(
            broker.port(),
            &format!("sub -t f/# -q 1 -C 2 -V {version} -F {format}"),
        ));
        wait_until("both have the retained message", || {
            !theirs.printed().is_empty() && !ours.printed().is_empty()
        });
        let properties = "-V 5 -q 1 -D publish user-property k v -D publish response-topic r/t \
                          -D publish content-type c -D publish payload-format-indicator 1";
        let properties: Vec<_> = properties.split_whitespace().collect();
        mosquitto_pub(broker.port(), "f/fresh", "on", &properties);
        let (theirs, ours) = (theirs.ended(), ours.ended());
        assert_eq!(text(&ours.1), text(&theirs.1), "MQTT {version}");
    }
}

#[test]
fn the_will_is_published_when_the_client_is_killed_and_not_when_it_leaves() {
    let broker = Mosquitto::start();
    let watch = Sub::start(broker.port(), "-t will/# -v -q 1");
    let will = |name: &str| {
        format!("-t x --will-topic will/{name} --will-payload gone --will-qos 1 --will-retain")
    };
    let mut killed = Sub::start(broker.port(), &will("killed"));
    let mut left = Sub::start(broker.port(), &will("left"));
    left.process().signal("TERM");
    assert_eq!(left.ended().0, Some(0));
    killed.process().kill();
    watch.wait_for(b"will/killed gone\n");
    assert_eq!(done(broker.port(), "sub -t will/# -C 1 -v").stdout, b"will/killed gone\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let broker = Mosquitto::start();
    let mut child = fieldpost(broker.port(), "sub -t pipe -q 1 -d")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("received SUBACK") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut stderr, &mut line).unwrap() > 0);
    }
    mosquitto_pub(broker.port(), "pipe", "x", &["-q", "1"]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("pipe (os error") && !rest.contains("panicked"), "{rest}");
}

#[test]
fn a_lost_connection_is_tried_again_and_the_session_goes_on() {
    let mut broker = Mosquitto::start();
    let mut sub = Sub::start(broker.port(), "-t back -q 2 -c -i back -C 2");
    mosquitto_pub(broker.port(), "back", "before", &["-q", "2"]);
    sub.wait_for(b"before\n");
    broker.stop();
    broker.start_again();
    sub.process().wait_for_log("connected again");
    mosquitto_pub(broker.port(), "back", "after", &["-q", "2"]);
    assert_eq!(sub.ended(), (Some(0), b"before\nafter\n".to_vec()));

    let mut once = Sub::start(broker.port(), "-t back --no-reconnect");
    broker.kill();
    assert_eq!(once.process().wait().code(), Some(1));
    assert!(once.log().contains("closed the connection"), "{}", once.log());
}

#[test]
fn who_may_not_enter_is_told_and_a_password_comes_from_where_nobody_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let lines = format!("allow_anonymous false\npassword_file {}\n", users(dir.path()).display());
    let broker = Mosquitto::start_with(&lines);
    for (arguments, words) in [
        ("", "not authorized"),
        ("-u pump -P wrong", "user name and password (-u, --password-file)"),
    ] {
        let refused = run(broker.port(), format!("sub -t x -W 5 {arguments}").trim());
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(text(&refused.stderr).contains(words), "{refused:?}");
    }
    let word = dir.path().join("word");
    std::fs::write(&word, "secret\n").unwrap();
    let from_file = format!("pub -t x -m y -u pump --password-file {}", word.display());
    done(broker.port(), &from_file);
    done(broker.port(), "pub -t x -m y -u pump -P secret -V 311");
    let mut command = fieldpost(broker.port(), "pub -t x -m y -u pump");
    assert!(command.env("FIELDPOST_PASSWORD", "secret").status().unwrap().success());
}

fn users(dir: &std::path::Path) -> std::path::PathBuf {
    let path = dir.join("passwd");
    let made = crate::support::program("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&path)
        .args(["pump", "secret"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    path
}
