//! What goes wrong on a Modbus TCP connection: never a wrong value, and good values again by themselves.

use std::sync::atomic::Ordering;

use fieldpost::field::UnitId;
use fieldpost::field::modbus::mbap;

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
