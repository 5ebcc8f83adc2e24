//! The fuzzers' targets, played with the committed corpus: each input the laws were once tried on, at every run of the
//! tests. `fuzz/run` looks for others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unreachable_pub,
    reason = "tests touch the machine, and a failure here fails the test"
)]

#[path = "../fuzz/src/connection.rs"]
mod connection;
#[path = "../fuzz/src/decode.rs"]
mod decode;
#[path = "../fuzz/src/script.rs"]
mod script;

use std::fs;

fn play(target: &str, check: fn(&[u8])) {
    let mut count = 0;
    for entry in fs::read_dir(format!("fuzz/corpus/{target}")).expect("a corpus") {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        check(&fs::read(&path).expect("an input"));
        count += 1;
    }
    assert!(count > 20, "{count} inputs");
}

#[test]
fn the_laws_of_the_decoder_hold_for_its_corpus() {
    play("decode", decode::check);
}

#[test]
fn the_laws_of_a_connection_hold_for_its_corpus() {
    play("connection", connection::check);
}
