//! `fieldpost import`: a mosquitto.conf becomes our YAML.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::client::text;
use crate::support::{Authority, Process, free_port, program, wait_until};

fn fieldpost(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fieldpost")).args(arguments).output().unwrap()
}

/// The files of `tests/data/import` in a directory of the test's own, and that directory.
fn copied() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&data(), dir.path());
    dir
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import")
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn each_file_becomes_what_lies_beside_it_and_check_takes_that() {
    let dir = copied();
    let mut wrong = Vec::new();
    for name in ["nothing", "open", "per-listener", "site", "bridges", "no-bridge"] {
        let conf = dir.path().join(format!("{name}.conf"));
        let yaml = dir.path().join(format!("{name}.yaml.made"));
        let path = |path: &Path| path.display().to_string();
        let imported =
            fieldpost(&["import", &path(&conf), "--id", "site", "--output", &path(&yaml)]);
        assert!(imported.status.success(), "{imported:?}");
        let made = fs::read_to_string(&yaml).unwrap();
        let told = text(&imported.stderr).replace(&path(&yaml), "FILE");
        for (end, text) in [("yaml", made), ("notes", told)] {
            let text = text.replace(&path(dir.path()), "{dir}");
            let expected = data().join(format!("{name}.{end}"));
            if std::env::var_os("UPDATE_EXPECTED").is_some() {
                fs::write(&expected, &text).unwrap();
            } else if fs::read_to_string(&expected).unwrap_or_default() != text {
                wrong.push(format!("{name}.{end}:\n{text}"));
            }
        }
        let checked = fieldpost(&["check", &path(&yaml)]);
        assert!(checked.status.success(), "{name}: {}", text(&checked.stdout));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_of_which_mosquitto_would_know_no_line_is_the_wrong_one() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("fieldpost.yaml");
    fs::write(&conf, "gateway:\n  id: site\n").unwrap();
    let refused = fieldpost(&["import", &conf.display().to_string()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty(), "{refused:?}");
    assert!(text(&refused.stderr).contains("is it the right file?"), "{refused:?}");
}

#[test]
fn a_password_is_not_shown_and_a_file_that_is_there_not_overwritten() {
    let dir = copied();
    let conf = dir.path().join("site.conf").display().to_string();
    let imported = fieldpost(&["import", &conf]);
    assert!(imported.status.success());
    for output in [&imported.stdout, &imported.stderr] {
        assert!(!text(output).contains("do not show"), "{}", text(output));
    }
    let there = fieldpost(&["import", &conf, "--output", &conf]);
    assert_eq!(there.status.code(), Some(1));
    assert!(text(&there.stderr).contains("is there already"), "{there:?}");
}

#[test]
fn a_directory_that_cannot_be_read_is_named_with_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("mosquitto.conf");
    fs::write(&conf, "port 1883\ninclude_dir conf.d\n").unwrap();
    let failed = fieldpost(&["import", &conf.display().to_string()]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("mosquitto.conf:2"), "{failed:?}");
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("conf.d/a.conf"), "include_dir ../conf.d\n").unwrap();
    let round = fieldpost(&["import", &conf.display().to_string()]);
    assert!(text(&round.stderr).contains("does one include itself?"), "{round:?}");
}

#[test]
fn the_listeners_serve_the_same_commands_as_those_of_the_mosquitto_they_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("site");
    let (certificate, key) = authority.sign("127.0.0.1");
    let (pump, pump_key) = authority.sign("pump");
    let (plain, tls) = (free_port(), free_port());
    let socket = dir.path().join("mqtt.sock");
    let conf = dir.path().join("mosquitto.conf");
    let lines = format!(
        "user root\nlistener {plain} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 10\n\
         listener {tls} 127.0.0.1\ncafile {ca}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
         use_identity_as_username true\nlistener 0 {}\n",
        certificate.display(),
        key.display(),
        socket.display(),
        ca = authority.ca().display(),
    );
    fs::write(&conf, lines).unwrap();

    let (plain, tls) = (plain.to_string(), tls.to_string());
    let (ca, socket) = (authority.ca().display().to_string(), socket.display().to_string());
    let (pump, pump_key) = (pump.display().to_string(), pump_key.display().to_string());
    let by_tcp = ["-h", "127.0.0.1", "-p", &plain];
    let by_tls = ["-h", "127.0.0.1", "-p", &tls, "--cafile", &ca];
    let by_certificate = [&by_tls[..], &["--cert", &pump, "--key", &pump_key]].concat();
    let by_socket = ["--unix", &socket];
    let serve = || -> Vec<(bool, String)> {
        let mut answers = Vec::new();
        for (at, way) in [&by_tcp[..], &by_certificate, &by_socket, &by_tls].iter().enumerate() {
            let topic = format!("kept/{at}");
            let publish = ["-t", &topic, "-m", &topic, "-q", "2", "-r"];
            answers.push(output(program("mosquitto_pub").args(*way).args(publish)));
            let subscribe = ["-t", "kept/#", "-v", "-q", "1", "-W", "5", "-C", "1"];
            answers.push(output(program("mosquitto_sub").args(*way).args(subscribe)));
        }
        answers
    };

    let mut mosquitto = program("mosquitto");
    mosquitto.arg("-c").arg(&conf);
    let theirs = {
        let mut process = Process::spawn(mosquitto, &dir.path().join("mosquitto.log"));
        process.wait_for_log(" running");
        let theirs = serve();
        process.terminate();
        theirs
    };
    assert_eq!(theirs[0], (true, String::new()), "mosquitto itself takes the first");
    assert!(!theirs[6].0, "mosquitto itself wants a certificate");

    let imported = fieldpost(&["import", &conf.display().to_string(), "--id", "site"]);
    assert!(imported.status.success(), "{imported:?}");
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let placed = format!("  id: site\n  state_dir: {}\n", state.display());
    let yaml = text(&imported.stdout).replace("  id: site\n", &placed);
    let config = dir.path().join("fieldpost.yaml");
    fs::write(&config, yaml).unwrap();
    let mut ours = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    ours.args(["run", "-c"]).arg(&config);
    let mut process = Process::spawn(ours, &dir.path().join("fieldpost.log"));
    wait_until("all listen", || {
        let ended = process.has_ended();
        let log = process.own_log();
        assert!(!ended, "{log}");
        Path::new(&socket).exists() && log.contains(&plain) && log.contains(&tls)
    });
    assert_eq!(serve(), theirs, "{}", process.own_log());
}

/// Whether a command did it, and what it printed.
fn output(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    (output.status.success(), text(&output.stdout))
}
