//! What goes wrong on a Modbus TCP connection: never a wrong value, and good values again by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fieldpost::field::modbus::mbap;
use fieldpost::field::{BusSettings, DeviceSettings, UnitId};

use super::stage::{Act, Request, TIMEOUT, device, endpoint, run, script, tcp_bus};

/// Blocks that are too far apart to be read in one.
const POINTS: [&str; 4] = ["h10", "h11", "h300", "h301"];
const NAMES: [&str; 4] = ["1/h10", "1/h11", "1/h300", "1/h301"];

/// Runs a device that does `fault` on some of its requests, then none; returns how many connections that took.
async fn survives(fault: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static) -> usize {
    let endpoint = endpoint(script(move |request| {
        if (4..24).contains(&request.number) && request.number % 3 != 0 {
            fault(request)
        } else {
            vec![Act::Send(request.right_tcp())]
        }
    }))
    .await;
    let mut bus = run(tcp_bus(endpoint.port), vec![device(1, 20, &POINTS)]);
    while endpoint.asked.load(Ordering::SeqCst) < 30 {
        bus.good(&NAMES, 1).await;
    }
    bus.good(&NAMES, 5).await;
    bus.stop().await;
    endpoint.connections.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_late_answer_is_dropped_and_the_connection_stays() {
    let late =
        |request: &Request| vec![Act::Pause(TIMEOUT.mul_f64(1.3)), Act::Send(request.right_tcp())];
    assert_eq!(survives(late).await, 1);
}

#[tokio::test]
async fn wrong_unit_function_and_length_are_not_taken_and_the_connection_stays() {
    let wrong_unit = |request: &Request| {
        vec![Act::Send(mbap::encode(request.transaction, UnitId(9), &request.right_pdu()))]
    };
    assert_eq!(survives(wrong_unit).await, 1);
    let wrong_function = |request: &Request| {
        let mut pdu = request.right_pdu();
        pdu[0] = 4;
        vec![Act::Send(mbap::encode(request.transaction, UnitId(1), &pdu))]
    };
    assert_eq!(survives(wrong_function).await, 1);
    let short = |request: &Request| {
        let mut short = request.clone();
        short.count -= 1;
        vec![Act::Send(short.right_tcp())]
    };
    assert_eq!(survives(short).await, 1);
}

#[tokio::test]
async fn a_wrong_transaction_id_is_no_answer() {
    survives(|request| {
        let id = request.transaction.wrapping_sub(1);
        vec![Act::Send(mbap::encode(id, UnitId(1), &request.right_pdu()))]
    })
    .await;
}

#[tokio::test]
async fn garbage_half_frames_silence_and_closing_lead_to_a_new_connection_or_a_retry() {
    assert!(survives(|_| vec![Act::Send(b"HTTP/1.1 400 Bad Request\r\n".to_vec())]).await > 1);
    assert!(survives(|_| vec![Act::Close]).await > 1);
    survives(|request| vec![Act::Send(request.right_tcp()[..9].to_vec()), Act::Close]).await;
    survives(|_| Vec::new()).await;
}

/// Runs a bus with a window against a device; returns the most questions that were open at once, by unit.
async fn in_flight(window: usize, devices: Vec<DeviceSettings>, names: &[&str]) -> usize {
    // Each unit does one thing after the other, units work beside one another, as behind a gateway with several lines.
    let open = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (opened, highest) = (Arc::clone(&open), Arc::clone(&most));
    let endpoint = endpoint(script(move |request| {
        highest.fetch_max(opened.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let opened = Arc::clone(&opened);
        let answer = request.right();
        vec![
            Act::Pause(TIMEOUT / 10),
            Act::Do(Arc::new(move || {
                opened.fetch_sub(1, Ordering::SeqCst);
            })),
            Act::Send(answer),
        ]
    }))
    .await;
    let mut bus = run(BusSettings { in_flight: window, ..tcp_bus(endpoint.port) }, devices);
    bus.good(names, 5).await;
    bus.stop().await;
    assert_eq!(endpoint.connections.load(Ordering::SeqCst), 1, "one connection for all");
    most.load(Ordering::SeqCst)
}

#[tokio::test]
async fn as_many_questions_are_under_way_as_are_allowed_and_each_answer_goes_to_its_own() {
    let devices = || (1..=6).map(|unit| device(unit, 10, &["h10", "h300", "i7"])).collect();
    let names: Vec<String> = (1..=6).map(|unit| format!("{unit}/h300")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(in_flight(1, devices(), &names).await, 1);
    assert_eq!(in_flight(4, devices(), &names).await, 4);
}

#[tokio::test]
async fn a_window_survives_what_goes_wrong_and_takes_no_wrong_value() {
    let endpoint = endpoint(script(|request| {
        if request.number < 6 || request.number > 80 {
            return vec![Act::Send(request.right())];
        }
        match request.number % 7 {
            0 => Vec::new(),
            1 => vec![Act::Pause(TIMEOUT.mul_f64(1.3)), Act::Send(request.right())],
            2 => vec![Act::Send([request.right(), request.right()].concat())],
            3 => vec![Act::Send(request.wrap(&[request.function | 0x80, 6]))],
            4 if request.number == 32 => vec![Act::Close],
            _ => vec![Act::Send(request.right())],
        }
    }))
    .await;
    let devices = (1..=4).map(|unit| device(unit, 20, &POINTS)).collect();
    let mut bus = run(BusSettings { in_flight: 8, ..tcp_bus(endpoint.port) }, devices);
    while endpoint.asked.load(Ordering::SeqCst) < 100 {
        bus.next().await;
    }
    bus.good(&["1/h10", "2/h11", "3/h300", "4/h301"], 5).await;
    bus.stop().await;
}
