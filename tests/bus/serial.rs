//! What goes wrong on a serial line, one fault at a time: never a wrong value, and good values again by themselves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fieldpost::field::UnitId;
use fieldpost::field::modbus::rtu;

use super::stage::{Act, Request, TIMEOUT, device, line, run, script, serial_bus};

/// Two blocks of the same shape, too far apart to be read in one.
const POINTS: [&str; 4] = ["h10", "h11", "h300", "h301"];
const NAMES: [&str; 4] = ["1/h10", "1/h11", "1/h300", "1/h301"];

/// Runs a device that does `fault` on some of its requests, then none, and wants good values all along.
async fn survives(fault: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static) {
    let line = line(script(move |request| {
        if (4..24).contains(&request.number) && request.number % 3 != 0 {
            fault(request)
        } else {
            vec![Act::Send(request.right())]
        }
    }));
    let mut bus = run(serial_bus(&line.path), vec![device(1, 20, &POINTS)]);
    while line.asked.load(Ordering::SeqCst) < 30 {
        bus.good(&NAMES, 1).await;
    }
    bus.good(&NAMES, 5).await;
    bus.stop().await;
}

#[tokio::test]
async fn an_answer_after_the_timeout_is_not_the_answer_to_the_next_question() {
    for factor in [1.1, 1.5, 2.0, 3.3] {
        survives(move |request| {
            vec![Act::Pause(TIMEOUT.mul_f64(factor)), Act::Send(request.right())]
        })
        .await;
    }
}

#[tokio::test]
async fn a_damaged_answer_is_asked_again() {
    survives(|request| {
        let mut frame = request.right();
        frame[4] ^= 0x20;
        vec![Act::Send(frame)]
    })
    .await;
}

#[tokio::test]
async fn noise_in_front_is_passed_over() {
    survives(|request| vec![Act::Send([vec![0xff, 0x01, 0x03], request.right()].concat())]).await;
    survives(|request| vec![Act::Send([vec![0x01; 30], request.right()].concat())]).await;
    survives(|_| vec![Act::Send(vec![0xa5; 30])]).await;
}

#[tokio::test]
async fn a_refusal_now_and_then_costs_no_point_for_ever() {
    survives(|request| vec![Act::Send(rtu::encode(UnitId(request.unit), &[0x84, 6]))]).await;
    survives(|request| {
        vec![Act::Send(rtu::encode(UnitId(request.unit), &[request.function | 0x80, 2]))]
    })
    .await;
    survives(|request| {
        vec![Act::Send(rtu::encode(UnitId(request.unit), &[request.function | 0x80, 6]))]
    })
    .await;
    survives(|request| {
        vec![Act::Send(rtu::encode(UnitId(request.unit), &[request.function | 0x80, 4]))]
    })
    .await;
}

#[tokio::test]
async fn an_answer_under_another_number_is_not_taken() {
    survives(|request| vec![Act::Send(rtu::encode(UnitId(9), &request.right_pdu()))]).await;
}

#[tokio::test]
async fn half_a_frame_and_a_frame_in_two_parts_are_told_apart() {
    survives(|request| vec![Act::Send(request.right()[..5].to_vec())]).await;
    survives(|request| {
        let frame = request.right();
        let gap = Act::Pause(Duration::from_millis(50));
        vec![Act::Send(frame[..5].to_vec()), gap, Act::Send(frame[5..].to_vec())]
    })
    .await;
    survives(|request| vec![Act::SendSlowly(request.right())]).await;
}

#[tokio::test]
async fn fewer_registers_than_asked_are_not_an_answer() {
    survives(|request| {
        let mut short = request.clone();
        short.count = (request.count - 1).max(1);
        if request.count == 1 {
            return Vec::new();
        }
        vec![Act::Send(short.right())]
    })
    .await;
}

#[tokio::test]
async fn what_follows_an_answer_does_not_spoil_the_next() {
    survives(|request| {
        let pause = Act::Pause(Duration::from_millis(5));
        vec![Act::Send(request.right()), pause, Act::Send(vec![0x55; 12])]
    })
    .await;
    survives(|request| vec![Act::Send([request.right(), request.right()].concat())]).await;
}

#[tokio::test]
async fn the_echo_of_the_request_is_passed_over() {
    survives(|request| vec![Act::Send([request.frame.clone(), request.right()].concat())]).await;
    survives(|request| vec![Act::Send(request.frame.clone())]).await;
}

#[tokio::test]
async fn no_answer_at_all_is_survived() {
    survives(|_| Vec::new()).await;
}

#[tokio::test]
async fn several_faults_at_once_are_survived() {
    survives(|request| match request.number % 4 {
        0 => Vec::new(),
        1 => vec![Act::Pause(TIMEOUT * 2), Act::Send(request.right())],
        2 => vec![Act::Send(rtu::encode(UnitId(request.unit), &[request.function | 0x80, 4]))],
        _ => {
            vec![Act::Send(request.frame.clone()), Act::Pause(TIMEOUT), Act::Send(request.right())]
        }
    })
    .await;
}
