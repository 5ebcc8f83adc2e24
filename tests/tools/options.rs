//! Command lines that are wrong, and where a broker is to be found.

use std::process::Command;

use crate::client::{Sub, done, run, text};
use crate::support::{Mosquitto, free_port, wait_until};

#[test]
fn wrong_command_lines_end_with_status_2_and_say_what_to_write() {
    for (arguments, words) in [
        ("sub", "-t FILTER"),
        ("sub -t a/#/b", "-t a/#/b:"),
        ("sub -t a -F %z", "`%z` in the format"),
        ("sub -t a -c", "add -i ID"),
        ("sub -t a -V 4", "31, 311 or 5"),
        ("sub -t a -V 311 -x 60", "leave out -V"),
        ("sub -t a -V 311 -P x", "needs a user name"),
        ("sub -t a --cert x", "--key"),
        ("sub -t a --json -v", "cannot be used with"),
        ("pub -t a", "--message"),
        ("pub -t a -m x -n", "cannot be used with"),
        ("pub -m x", "-t TOPIC"),
        ("pub -t a/+ -m x", "must not contain `+`"),
        ("pub -t a -m x -D publish will-delay-interval 1", "no such property"),
        ("pub -t a -m x -q 3", "0..=2"),
        ("pub -t a -l --repeat 3", "cannot be used with"),
    ] {
        let output = run(1, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {output:?}");
        assert!(text(&output.stderr).contains(words), "{arguments}: {}", text(&output.stderr));
    }
}

#[test]
fn a_host_with_a_scheme_or_a_port_is_told_where_they_go() {
    for (host, words) in
        [("mqtt://broker", "`-L mqtt://broker`"), ("127.0.0.1:1884", "`-h 127.0.0.1 -p 1884`")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
        let output = command.args(["pub", "-t", "a", "-m", "x", "-h", host]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
}

#[test]
fn help_is_spelt_out_because_h_is_the_host() {
    let output = Command::new(env!("CARGO_BIN_EXE_fieldpost")).args(["sub", "--help"]).output();
    let help = text(&output.unwrap().stdout);
    for word in ["-h, --host <HOST>", "[default: localhost]", "TLS:", "Will:", "Output:"] {
        assert!(help.contains(word), "{word}:\n{help}");
    }
}

#[test]
fn nobody_listening_is_told_with_the_place() {
    let port = free_port();
    let output = run(port, "pub -t a -m x");
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains(&format!("127.0.0.1:{port} refuses")), "{told}");
    assert!(told.contains("is a broker listening there?"), "{told}");
}

#[test]
fn a_url_or_a_unix_socket_leads_to_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("mqtt.sock");
    let lines = format!("allow_anonymous true\nlistener 0 {}\n", socket.display());
    let broker = Mosquitto::start_with(&lines);
    let sub = Sub::start(broker.port(), "-t u/# -q 1 -C 2 -v");
    let fieldpost = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
        command.arg("pub").args(arguments).output().unwrap()
    };
    let url = format!("mqtt://127.0.0.1:{}/u/url", broker.port());
    let by_url = fieldpost(&["-L", &url, "-m", "x", "-q", "1"]);
    assert!(by_url.status.success(), "{by_url:?}");
    wait_until("the socket is there", || socket.exists());
    let path = socket.display().to_string();
    let by_socket = fieldpost(&["--unix", &path, "-t", "u/unix", "-m", "-5", "-q", "1"]);
    assert!(by_socket.status.success(), "{by_socket:?}");
    assert_eq!(sub.ended(), (Some(0), b"u/url x\nu/unix -5\n".to_vec()));
    done(broker.port(), "pub -t x -m y -I tool-");
}
