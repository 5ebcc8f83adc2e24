//! What a bus learns about its devices and keeps over restarts, and questions from outside beside its schedule.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fieldpost::field::modbus::pdu::{Data, ReadRange};
use fieldpost::field::modbus::rtu;
use fieldpost::field::modbus::transaction::Question;
use fieldpost::field::{Bus, Rank, Table, UnitId};

use super::stage::{Act, Request, device, line, register, script, serial_bus, start};

/// Ten registers, one of which the device does not have.
const POINTS: [&str; 10] = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9"];
const GOOD: [&str; 9] = ["1/h0", "1/h1", "1/h2", "1/h3", "1/h4", "1/h5", "1/h7", "1/h8", "1/h9"];

fn without_the_sixth(request: &Request) -> Vec<Act> {
    let has_it = request.address <= 6 && 6 < request.address + request.count;
    let refusal = || rtu::encode(UnitId(request.unit), &[request.function | 0x80, 2]);
    vec![Act::Send(if has_it { refusal() } else { request.right() })]
}

/// Polls until all healthy points have come twice; returns how many requests the device refused before.
async fn refusals_until_good(state_dir: &Path) -> usize {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let line = line(script(move |request| {
        let has_it = request.address <= 6 && 6 < request.address + request.count;
        count.fetch_add(usize::from(has_it), Ordering::SeqCst);
        without_the_sixth(request)
    }));
    let devices = vec![device(1, 50, &POINTS)];
    // The port has another name each time, and what is learnt belongs to a port.
    let path = state_dir.join("port");
    let _ = std::fs::remove_file(&path);
    std::os::unix::fs::symlink(&line.path, &path).expect("a link");
    let bus = Bus::new(serial_bus(path.to_str().expect("plain")), devices);
    let mut bus = start(bus.remembering(state_dir), 16);
    bus.good(&GOOD, 2).await;
    let refused = refused.load(Ordering::SeqCst);
    bus.stop().await;
    refused
}

#[tokio::test]
async fn a_hole_is_looked_for_once_and_remembered_over_restarts() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(refusals_until_good(dir.path()).await >= 4, "the block is halved down to the hole");
    let file = dir.path().join("devices/bus.json");
    let text = std::fs::read_to_string(&file).expect("it is kept at the stop");
    assert!(text.contains("\"holding\""), "{text}");
    assert_eq!(refusals_until_good(dir.path()).await, 0);
    std::fs::write(&file, &text[..text.len() / 2]).expect("it can be written");
    assert!(refusals_until_good(dir.path()).await >= 4, "what is damaged is begun again");
}

#[tokio::test]
async fn questions_from_outside_are_answered_beside_the_schedule() {
    let line = line(script(without_the_sixth));
    let bus = Bus::new(serial_bus(&line.path), vec![device(1, 50, &["h1"])]);
    let handle = bus.handle();
    let mut bus = start(bus, 1024);
    bus.good(&["1/h1"], 2).await;
    for rank in [Rank::First, Rank::Idle] {
        for unit in [1, 9] {
            let range = ReadRange::new(Table::Holding, 40, 2).expect("allowed");
            let outcome = handle.ask(rank, Question::new(UnitId(unit), range)).await;
            let both = [40, 41].map(|address| register(unit, Table::Holding, address));
            let data = outcome.expect("the bus runs").result;
            assert_eq!(data, Ok(Data::Registers(both.to_vec())));
        }
    }
    bus.good(&["1/h1"], 2).await;
    bus.stop().await;
    let range = ReadRange::new(Table::Holding, 40, 2).expect("allowed");
    assert!(handle.ask(Rank::First, Question::new(UnitId(1), range)).await.is_err());
}
