//! Certificates of clients, and those of the broker that change while it runs.

use std::fs;
use std::path::Path;

use crate::pki::Authority;
use crate::stage::{Broker, text};
use crate::support::{mosquitto_sub, program, wait_until};

/// Whether a message can be published over TLS.
fn publishes(port: u16, payload: &str, ca: &Path, arguments: &[&str]) -> bool {
    let done = program("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "t", "-m", payload, "-q", "1"])
        .arg("--cafile")
        .arg(ca)
        .args(arguments)
        .output()
        .expect("mosquitto_pub runs");
    done.status.success()
}

#[test]
fn a_client_is_who_its_certificate_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let ca = authority.write(dir.path(), "ca.pem");
    let (cert, key) = authority.server().write(dir.path(), "broker");
    let (own, own_key) = authority.client("meter-1").write(dir.path(), "own");
    let (foreign, foreign_key) = Authority::new().client("meter-1").write(dir.path(), "foreign");
    let mut broker = Broker::start(&[
        "--tls",
        "0",
        "--cert",
        text(&cert),
        "--key",
        text(&key),
        "--client-ca",
        text(&ca),
    ]);
    let port = broker.port(0);
    assert!(publishes(
        port,
        "x",
        &ca,
        &["--cert", text(&own), "--key", text(&own_key), "-i", "own"]
    ));
    broker.wait_for_log("client connected client_id=own user=\"meter-1\"");
    assert!(!publishes(port, "x", &ca, &["-i", "none"]));
    broker.wait_for_log("client showed no certificate, and this listener asks for one");
    assert!(!publishes(port, "x", &ca, &["--cert", text(&foreign), "--key", text(&foreign_key)]));
    let stranger = Authority::new().write(dir.path(), "stranger.pem");
    let own = ["--cert", text(&own), "--key", text(&own_key)];
    assert!(!publishes(port, "x", &stranger, &own), "a client that does not trust us stays away");
    let log = broker.stop();
    assert_eq!(log.matches("client connected").count(), 1, "{log}");
}

#[test]
fn a_client_without_a_certificate_comes_in_only_where_it_is_optional_and_something_else_lets_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let ca = authority.write(dir.path(), "ca.pem");
    let (cert, key) = authority.server().write(dir.path(), "broker");
    let tls = format!(
        "certificate: {}, key: {}, client_ca: {}",
        cert.display(),
        key.display(),
        ca.display()
    );
    let mut broker = Broker::run(&format!(
        "  listeners:\n    \
         - {{ tls: 127.0.0.1:0, {tls}, client_certificate: optional, anonymous: true }}\n    \
         - {{ tls: 127.0.0.1:0, {tls}, client_certificate: optional, certificate_user: true }}\n"
    ));
    assert!(publishes(broker.port(0), "x", &ca, &[]));
    assert!(!publishes(broker.port(1), "x", &ca, &[]));
    broker.wait_for_log("it showed no certificate with a common name");
    broker.stop();
}

#[test]
fn a_certificate_that_changes_is_taken_and_a_bad_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, new) = (Authority::new(), Authority::new());
    let (old_ca, new_ca) = (old.write(dir.path(), "old.pem"), new.write(dir.path(), "new.pem"));
    let (cert, key) = old.server().write(dir.path(), "broker");
    let mut broker =
        Broker::start(&["--anonymous", "--tls", "0", "--cert", text(&cert), "--key", text(&key)]);
    let port = broker.port(0);
    let subscriber = mosquitto_sub(port, "t", &["--cafile", text(&old_ca), "-q", "1"]);
    assert!(publishes(port, "before", &old_ca, &[]) && !publishes(port, "x", &new_ca, &[]));

    new.server().write(dir.path(), "broker");
    wait_until("the certificate is taken", || publishes(port, "after", &new_ca, &[]));
    assert!(!publishes(port, "x", &old_ca, &[]));
    broker.wait_for_log("certificate read again; connections that are open stay");

    fs::write(&key, "no key at all").expect("a file");
    broker.wait_for_log(
        "changed certificate cannot be used; the one before stays until the file is right",
    );
    broker.wait_for_log("broker.key: there is no private key in this file");
    assert!(publishes(port, "with the one before", &new_ca, &[]));

    old.server().write(dir.path(), "other");
    fs::rename(dir.path().join("other.key"), &key).expect("a file");
    broker.wait_for_log("this key does not belong to the certificate in");
    assert!(publishes(port, "and still", &new_ca, &[]));

    let got: Vec<String> = subscriber.wait_for(4).into_iter().map(|m| m.payload).collect();
    assert_eq!(
        got,
        ["before", "after", "with the one before", "and still"],
        "all on one connection"
    );
    broker.stop();
}

#[test]
fn sighup_reads_certificates_again_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = Authority::new().server().write(dir.path(), "broker");
    let mut broker =
        Broker::start(&["--anonymous", "--tls", "0", "--cert", text(&cert), "--key", text(&key)]);
    broker.process.signal("HUP");
    broker.wait_for_log("certificate read again");
    broker.stop();
}

#[test]
fn a_broker_whose_certificate_is_of_no_use_does_not_start_and_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = Authority::new().server().write(dir.path(), "broker");
    let (_, other) = Authority::new().server().write(dir.path(), "other");
    let nowhere = dir.path().join("nowhere.pem");
    for (cert, key, words) in [
        (&nowhere, &key, "nowhere.pem: this file cannot be read"),
        (&key, &key, "broker.key: there is no certificate in this file"),
        (&cert, &cert, "broker.pem: there is no private key in this file"),
        (&cert, &other, "other.key: this key does not belong to the certificate in"),
    ] {
        let output = crate::stage::fails(&[
            "--anonymous",
            "--tls",
            "0",
            "--cert",
            text(cert),
            "--key",
            text(key),
        ]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(words), "{words}: {said}");
    }
}
