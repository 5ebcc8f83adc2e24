//! A bus over time: devices that fall silent and come back, adapters that vanish, other openers, the stop.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fieldpost::field::modbus::rtu;
use fieldpost::field::{DeviceState, FieldEvent, Level, PortSettings, Rs485Settings, UnitId};
use fieldpost::model::Quality;

use super::stage::{
    Act, TIMEOUT, device, endpoint, endpoint_on, line, run, run_with, script, serial_bus, tcp_bus,
};

pub(super) fn offline(event: &FieldEvent) -> Option<(String, String)> {
    match event {
        FieldEvent::Device { device, state: DeviceState::Offline { reason }, .. } => {
            Some((device.to_string(), reason.to_string()))
        }
        FieldEvent::Device { .. } | FieldEvent::Readings(_) => None,
    }
}

fn online(event: &FieldEvent) -> Option<String> {
    match event {
        FieldEvent::Device { device, state: DeviceState::Online, .. } => Some(device.to_string()),
        FieldEvent::Device { .. } | FieldEvent::Readings(_) => None,
    }
}

#[tokio::test]
async fn a_device_that_falls_silent_is_told_once_and_comes_back() {
    let silent = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&silent);
    let line = line(script(move |request| {
        let answers = request.unit != 2 || !switch.load(Ordering::SeqCst);
        answers.then(|| Act::Send(request.right())).into_iter().collect()
    }));
    let devices = vec![device(1, 30, &["h1"]), device(2, 30, &["h1", "h2"])];
    let mut bus = run(serial_bus(&line.path), devices);
    bus.good(&["1/h1", "2/h1", "2/h2"], 3).await;
    silent.store(true, Ordering::SeqCst);
    let (device, reason) = bus.until(offline).await;
    assert_eq!(device, "2");
    assert!(reason.starts_with("no answer (is the device on"), "{reason}");
    let stale = bus
        .until(|event| match event {
            FieldEvent::Readings(readings) if &*readings[0].point.device == "2" => {
                Some(readings.clone())
            }
            FieldEvent::Device { .. } | FieldEvent::Readings(_) => None,
        })
        .await;
    assert_eq!(stale.len(), 2);
    assert!(stale.iter().all(|it| it.value.is_some() && it.quality.word() == "stale"), "{stale:?}");
    let meanwhile = bus.good(&["1/h1"], 20).await;
    assert!(meanwhile.iter().all(|reading| &*reading.point.device == "1"), "said once");
    silent.store(false, Ordering::SeqCst);
    assert_eq!(bus.until(online).await, "2");
    bus.good(&["1/h1", "2/h1", "2/h2"], 3).await;
    bus.stop().await;
}

#[tokio::test]
async fn a_device_that_was_never_there_has_errors_and_no_values() {
    let line = line(script(|_| Vec::new()));
    let mut bus = run(serial_bus(&line.path), vec![device(7, 50, &["h1", "c3"])]);
    let (device, reason) = bus.until(offline).await;
    assert_eq!(device, "7");
    assert!(reason.starts_with("no answer (is the device on"), "{reason}");
    let FieldEvent::Readings(readings) = bus.next().await else { panic!("readings follow") };
    assert_eq!(readings.len(), 2);
    assert!(readings.iter().all(|it| it.value.is_none() && it.quality.word() == "error"));
    bus.stop().await;
}

#[tokio::test]
async fn a_silent_and_a_late_device_do_not_cost_the_others_their_periods() {
    let asked = Arc::new([const { AtomicUsize::new(0) }; 5]);
    let count = Arc::clone(&asked);
    let line = line(script(move |request| {
        count[usize::from(request.unit)].fetch_add(1, Ordering::SeqCst);
        match request.unit {
            3 => Vec::new(),
            4 => vec![Act::Pause(TIMEOUT.mul_f64(1.5)), Act::Send(request.right())],
            _ => vec![Act::Send(request.right())],
        }
    }));
    let devices = (1..=4).map(|unit| device(unit, 100, &["h10", "h11", "h300"])).collect();
    let mut bus = run(serial_bus(&line.path), devices);
    // Both are found out first.
    let mut gone = Vec::new();
    while gone.len() < 2 {
        gone.push(bus.until(offline).await.0);
    }
    let healthy = ["1/h10", "1/h300", "2/h10", "2/h300"];
    let readings = bus.good(&healthy, 50).await;
    let times = |point: &str| -> Vec<u64> {
        let of = readings.iter().filter(|it| it.point.to_string() == point);
        of.map(|reading| reading.taken.wall.unix_ms()).collect()
    };
    for point in healthy {
        let times = times(point);
        let mut gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_unstable();
        assert!(
            gaps[gaps.len() / 2] < 200,
            "{point}: half of all gaps below twice the period: {gaps:?}"
        );
    }
    for sick in [3, 4] {
        let asked = asked[sick].load(Ordering::SeqCst);
        assert!(asked < 25, "unit {sick} was asked {asked} times while others were 50 times");
    }
    bus.stop().await;
}

#[tokio::test]
async fn one_refused_point_does_not_take_its_block_along() {
    let line = line(script(|request| {
        let holds = request.address <= 13 && 13 < request.address + request.count;
        let refusal = rtu::encode(UnitId(request.unit), &[request.function | 0x80, 2]);
        vec![Act::Send(if holds { refusal } else { request.right() })]
    }));
    let points = ["h10", "h11", "h12", "h13", "h14", "h15"];
    let mut bus = run(serial_bus(&line.path), vec![device(1, 30, &points)]);
    let healthy = ["1/h10", "1/h11", "1/h12", "1/h14", "1/h15"];
    let readings = bus.good(&healthy, 5).await;
    let bad: Vec<_> = readings.iter().filter(|it| it.quality != Quality::Good).collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert_eq!(bad[0].point.to_string(), "1/h13");
    let reason = bad[0].quality.reason().expect("words");
    let seen = "holding 13: the device has no such address (exception 2: ";
    assert!(reason.starts_with(seen), "{reason}");
    bus.stop().await;
}

#[tokio::test]
async fn an_adapter_that_comes_back_under_another_number_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("usb-adapter");
    let answers = || line(script(|request| vec![Act::Send(request.right())]));
    let first = answers();
    symlink(&first.path, &link).expect("a link");
    let path = link.to_str().expect("a plain path").to_owned();
    let mut bus = run(serial_bus(&path), vec![device(1, 30, &["h1"])]);
    bus.good(&["1/h1"], 3).await;

    std::fs::remove_file(&link).expect("unplugged");
    // Kept from being used again at once, so that the second one has another number.
    let second = answers();
    assert_ne!(first.path, second.path);
    drop(first);
    let (device, reason) = bus.until(offline).await;
    assert_eq!(device, "1");
    assert!(reason.contains("does not exist"), "{reason}");
    symlink(&second.path, &link).expect("a link");
    assert_eq!(bus.until(online).await, "1");
    bus.good(&["1/h1"], 3).await;
    bus.stop().await;
}

#[tokio::test]
async fn a_port_is_held_by_one_program_and_the_second_is_told() {
    let line = line(script(|request| vec![Act::Send(request.right())]));
    let mut bus = run(serial_bus(&line.path), vec![device(1, 30, &["h1"])]);
    bus.good(&["1/h1"], 1).await;
    let mut second = run(serial_bus(&line.path), vec![device(1, 30, &["h1"])]);
    let (_, reason) = second.until(offline).await;
    assert!(reason.contains("is held by this gateway itself, for another bus ("), "{reason}");
    bus.stop().await;
    second.good(&["1/h1"], 2).await;
    second.stop().await;
}

#[tokio::test]
async fn one_adapter_under_two_names_is_one_port() {
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("usb-adapter");
    let line = line(script(|request| vec![Act::Send(request.right())]));
    symlink(&line.path, &link).expect("a link");
    let mut bus = run(serial_bus(&line.path), vec![device(1, 30, &["h1"])]);
    bus.good(&["1/h1"], 1).await;
    let mut second =
        run(serial_bus(link.to_str().expect("a plain path")), vec![device(2, 30, &["h1"])]);
    let (_, reason) = second.until(offline).await;
    assert!(reason.contains("is held by this gateway itself, for another bus ("), "{reason}");
    second.stop().await;
    bus.good(&["1/h1"], 2).await;
    bus.stop().await;
}

#[tokio::test]
async fn who_holds_a_port_is_named() {
    let line = line(script(|request| vec![Act::Send(request.right())]));
    // `flock` on its standard input, as programs do that keep others out; `cat` waits with it open.
    let holder = format!("exec 0<>{}; flock -x 0; echo held; exec cat >/dev/null", line.path);
    let mut holder = std::process::Command::new("sh")
        .args(["-c", &holder])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut word = [0; 5];
    let mut stdout = holder.stdout.take().expect("it is piped");
    std::io::Read::read_exact(&mut stdout, &mut word).expect("it says that it holds the port");
    let mut bus = run(serial_bus(&line.path), vec![device(1, 30, &["h1"])]);
    let (_, reason) = bus.until(offline).await;
    let process = format!("(process {})", holder.id());
    assert!(reason.contains("is held by") && reason.contains(&process), "{reason}");
    holder.kill().expect("it runs");
    holder.wait().expect("it ends");
    bus.good(&["1/h1"], 2).await;
    bus.stop().await;
}

#[tokio::test]
async fn a_port_that_cannot_switch_direction_is_called_so() {
    let line = line(script(|request| vec![Act::Send(request.right())]));
    let mut settings = serial_bus(&line.path);
    let zero = std::time::Duration::ZERO;
    if let PortSettings::Rtu(serial) = &mut settings.port {
        serial.rs485 =
            Some(Rs485Settings { rts_on_send: Level::High, delay_before: zero, delay_after: zero });
    }
    let mut bus = run(settings, vec![device(1, 30, &["h1"])]);
    let (_, reason) = bus.until(offline).await;
    assert!(reason.contains("cannot switch the direction of RS-485"), "{reason}");
    bus.stop().await;
}

#[tokio::test]
async fn a_device_that_allows_one_connection_is_told_and_had_when_it_is_free() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let mut bus = run(tcp_bus(port), vec![device(1, 30, &["h1"])]);
    // The one connection is somebody else's: ours is closed as soon as it is there.
    let closing = tokio::spawn(async move {
        for _ in 0..2 {
            drop(listener.accept().await.expect("a connection"));
        }
        listener
    });
    let (_, reason) = bus.until(offline).await;
    assert!(reason.contains("does it allow one connection only"), "{reason}");
    let listener = closing.await.expect("it is done");
    let free = endpoint_on(listener, script(|request| vec![Act::Send(request.right())]));
    bus.good(&["1/h1"], 2).await;
    bus.stop().await;
    assert_eq!(free.connections.load(Ordering::SeqCst), 1, "one for all");
}

#[tokio::test]
async fn what_is_no_serial_port_is_called_so() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a plain path");
    let mut bus = run(serial_bus(path), vec![device(1, 30, &["h1"])]);
    let (_, reason) = bus.until(offline).await;
    assert!(reason.contains("as a serial port"), "{reason}");
    bus.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_tried_until_it_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let mut bus = run(tcp_bus(port), vec![device(1, 30, &["h1"])]);
    let (_, reason) = bus.until(offline).await;
    assert!(reason.contains("cannot connect to 127.0.0.1"), "{reason}");
    bus.stop().await;
}

#[tokio::test]
async fn the_stop_ends_a_bus_in_a_transaction_and_one_nobody_listens_to() {
    let silent = line(script(|_| Vec::new()));
    let bus = run(serial_bus(&silent.path), vec![device(1, 30, &["h1"])]);
    while silent.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    bus.stop().await;

    let endpoint = endpoint(script(|request| vec![Act::Send(request.right_tcp())])).await;
    let bus = run_with(tcp_bus(endpoint.port), vec![device(1, 1, &["h1"])], 1);
    while endpoint.asked.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    bus.stop_unheard().await;
}

#[tokio::test]
async fn a_full_channel_slows_the_bus() {
    let endpoint = endpoint(script(|request| vec![Act::Send(request.right_tcp())])).await;
    let answers = script(|request| vec![Act::Send(request.right_tcp())]);
    let endpoint_of_other = super::stage::endpoint(answers).await;
    let mut bus = run_with(tcp_bus(endpoint.port), vec![device(1, 1, &["h1"])], 1);
    bus.good(&["1/h1"], 1).await;
    // Another bus runs on meanwhile.
    let mut other = run(tcp_bus(endpoint_of_other.port), vec![device(2, 5, &["h1"])]);
    other.good(&["2/h1"], 30).await;
    other.stop().await;
    let asked = endpoint.asked.load(Ordering::SeqCst);
    assert!(asked < 10, "{asked} questions although nobody took the answers");
    bus.good(&["1/h1"], 20).await;
    bus.stop().await;
}
