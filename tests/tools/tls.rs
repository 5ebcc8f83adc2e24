//! TLS: certificates that fit and that do not.

use crate::client::{Sub, done, run, text};
use crate::support::{Authority, Mosquitto};

#[test]
fn a_broker_is_reached_over_tls_and_a_wrong_certificate_is_named() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("another"));
    let broker = authority.broker("127.0.0.1", "");
    let ca = format!("--cafile {}", authority.ca().display());
    let sub = Sub::start(broker.port(), &format!("-t t -q 1 -C 1 {ca}"));
    done(broker.port(), &format!("pub -t t -q 1 -m private -V 311 {ca}"));
    assert_eq!(sub.ended(), (Some(0), b"private\n".to_vec()));

    let of_a_stranger = format!("pub -t t -m x --cafile {}", stranger.ca().display());
    let directory = authority.ca();
    let directory = format!("pub -t t -m x --capath {}", directory.parent().unwrap().display());
    done(broker.port(), &directory);
    let misnamed = authority.broker("elsewhere.example", "");
    for (port, arguments, words) in [
        (broker.port(), of_a_stranger.as_str(), "no trusted authority has signed it"),
        (misnamed.port(), &format!("pub -t t -m x {ca}"), "it is for another host"),
        (Mosquitto::start().port(), &format!("pub -t t -m x {ca}"), "is this the port with TLS"),
        (broker.port(), "pub -t t -m x -W 5", "unexpected argument"),
        (broker.port(), "pub -t t -m x", "is this port an MQTT broker without TLS"),
    ] {
        let output = run(port, arguments);
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(words), "{words}: {output:?}");
    }
    done(misnamed.port(), &format!("pub -t t -m x --insecure {ca}"));
    let strange = run(misnamed.port(), &format!("{of_a_stranger} --insecure"));
    assert_eq!(strange.status.code(), Some(1), "the name alone is let through");
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let authority = Authority::new("ours");
    let broker = authority.broker("127.0.0.1", "require_certificate true\n");
    let ca = format!("--cafile {}", authority.ca().display());
    let without = run(broker.port(), &format!("pub -t t -m x -q 1 {ca}"));
    assert_eq!(without.status.code(), Some(1));
    assert!(text(&without.stderr).contains("--cert"), "{without:?}");
    let (certificate, key) = authority.sign("pump");
    let ours = format!("--cert {} --key {}", certificate.display(), key.display());
    done(broker.port(), &format!("pub -t t -m x -q 1 {ca} {ours}"));
}
