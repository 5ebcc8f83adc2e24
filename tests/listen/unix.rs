//! Unix sockets and their files.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use crate::stage::{Broker, fails, text};
use crate::support::{mosquitto_pub, mosquitto_sub};

#[test]
fn the_file_has_its_mode_and_goes_with_the_broker() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("mqtt.sock");
    let broker = Broker::run(&format!(
        "  listeners: [ {{ unix: {}, mode: \"0600\", anonymous: true }} ]\n",
        socket.display()
    ));
    let found = fs::metadata(&socket).expect("the socket");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    broker.stop();
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 0);
}

#[test]
fn what_a_killed_broker_left_is_taken_over_and_what_another_holds_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("mqtt.sock");
    let arguments = ["--anonymous", "--unix", text(&socket)];
    let mut killed = Broker::start(&arguments);
    killed.process.kill();
    assert!(socket.exists());
    let broker = Broker::start(&arguments);
    let second = fails(&arguments);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("mqtt.sock: another program listens there"), "{said}");
    let subscriber = mosquitto_sub(1, "t", &["--unix", text(&socket)]);
    mosquitto_pub(1, "t", "x", &["--unix", text(&socket)]);
    assert_eq!(subscriber.wait_for(1)[0].payload, "x");
    broker.stop();
    fs::write(&socket, "somebody's notes").expect("a file");
    let third = fails(&arguments);
    let said = String::from_utf8_lossy(&third.stderr);
    assert!(said.contains("something else than a socket is there"), "{said}");
    assert_eq!(fs::read_to_string(&socket).expect("it is left alone"), "somebody's notes");
}
