//! The framings beside RTU and Modbus TCP: against scripted devices that misbehave, and against pymodbus.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fieldpost::field::modbus::receiver::Wrap;
use fieldpost::field::{BusSettings, NamedTls, PortSettings, Table};
use fieldpost::tls::{ClientCertificate, TlsSettings};

use super::stage::{
    Act, Framing, Request, TIMEOUT, ascii_bus, bus, device, endpoint_of, line_of, local, register,
    run, script,
};
use super::support::{Authority, ModbusServer, pty_pair};

/// Two blocks of the same shape, too far apart to be read in one.
const POINTS: [&str; 4] = ["h10", "h11", "h300", "h301"];
const NAMES: [&str; 4] = ["1/h10", "1/h11", "1/h300", "1/h301"];

/// What goes wrong on some requests, each in turn: silence, late, twice, damaged, noise, another unit, broken off, refused.
fn faults(request: &Request) -> Vec<Act> {
    if !(4..40).contains(&request.number) || request.number.is_multiple_of(3) {
        return vec![Act::Send(request.right())];
    }
    let right = request.right();
    match request.number / 3 % 8 {
        0 => Vec::new(),
        1 => vec![Act::Pause(TIMEOUT.mul_f64(1.4)), Act::Send(right)],
        2 => vec![Act::Send([right.clone(), right].concat())],
        3 => {
            let mut damaged = right;
            let at = damaged.len() - 4;
            damaged[at] ^= 1;
            vec![Act::Send(damaged)]
        }
        4 => vec![Act::Send([b":0103noise".to_vec(), right].concat())],
        5 => vec![Act::Send(Request { unit: 9, ..request.clone() }.wrap(&request.right_pdu()))],
        6 => vec![Act::Send(right[..right.len() / 2].to_vec())],
        _ => vec![Act::Send(request.wrap(&[request.function | 0x80, 6]))],
    }
}

async fn survives(framing: Wrap, over: fn(u16) -> BusSettings) {
    let endpoint = endpoint_of(Framing::Wrapped(framing), script(faults)).await;
    let mut bus = run(over(endpoint.port), vec![device(1, 20, &POINTS)]);
    while endpoint.asked.load(Ordering::SeqCst) < 45 {
        bus.good(&NAMES, 1).await;
    }
    bus.good(&NAMES, 5).await;
    bus.stop().await;
}

#[tokio::test]
async fn rtu_over_tcp_takes_no_wrong_answer_and_recovers() {
    survives(Wrap::Rtu, |port| bus(PortSettings::RtuOverTcp(local(port)))).await;
}

#[tokio::test]
async fn ascii_over_tcp_takes_no_wrong_answer_and_recovers() {
    survives(Wrap::Ascii, |port| bus(PortSettings::AsciiOverTcp(local(port)))).await;
}

#[tokio::test]
async fn ascii_on_a_line_takes_no_wrong_answer_and_recovers() {
    let line = line_of(Wrap::Ascii, script(faults));
    let mut bus = run(ascii_bus(&line.path), vec![device(1, 20, &POINTS)]);
    while line.asked.load(Ordering::SeqCst) < 45 {
        bus.good(&NAMES, 1).await;
    }
    bus.good(&NAMES, 5).await;
    bus.stop().await;
}

#[tokio::test]
async fn the_echo_of_an_ascii_request_is_passed_over() {
    let line = line_of(
        Wrap::Ascii,
        script(|request| vec![Act::Send([request.frame.clone(), request.right()].concat())]),
    );
    let mut bus = run(ascii_bus(&line.path), vec![device(1, 20, &POINTS)]);
    bus.good(&NAMES, 5).await;
    bus.stop().await;
}

/// pymodbus with the registers of [`POINTS`] and its coils and inputs in between.
fn pymodbus(way: &[&str]) -> ModbusServer {
    let holding = [10, 11, 300, 301];
    let bank: Vec<_> =
        holding.iter().map(|at| ("holding", *at, register(1, Table::Holding, *at))).collect();
    let inputs = [("input", 7, register(1, Table::Input, 7)), ("coil", 3, 0), ("coil", 5, 1)];
    ModbusServer::pymodbus_by(way, &[bank, inputs.to_vec()].concat())
}

async fn agrees(settings: BusSettings) {
    // The time of day is a test machine's; what is late is asked again.
    let settings = BusSettings { timeout: TIMEOUT * 10, ..settings };
    let points = ["h10", "h11", "h300", "h301", "i7", "c5"];
    let names: Vec<String> = points.iter().map(|point| format!("1/{point}")).collect();
    let mut bus = run(settings, vec![device(1, 20, &points)]);
    bus.good(&names.iter().map(String::as_str).collect::<Vec<_>>(), 3).await;
    bus.stop().await;
}

#[tokio::test]
async fn rtu_over_tcp_agrees_with_pymodbus() {
    let server = pymodbus(&["--tcp", "--framer", "rtu"]);
    agrees(bus(PortSettings::RtuOverTcp(local(server.port())))).await;
}

#[tokio::test]
async fn ascii_over_tcp_agrees_with_pymodbus() {
    let server = pymodbus(&["--tcp", "--framer", "ascii"]);
    agrees(bus(PortSettings::AsciiOverTcp(local(server.port())))).await;
}

#[tokio::test]
async fn datagrams_agree_with_pymodbus() {
    let server = pymodbus(&["--udp"]);
    agrees(bus(PortSettings::Udp(local(server.port())))).await;
}

async fn agrees_in_flight(port: PortSettings) {
    // Points with periods of their own are questions of their own.
    let mut device = device(1, 20, &POINTS);
    for (point, more) in device.points.iter_mut().zip(1..) {
        point.every += Duration::from_millis(more);
    }
    let settings = BusSettings { in_flight: 8, timeout: TIMEOUT * 3, ..bus(port) };
    let mut running = run(settings, vec![device]);
    running.good(&NAMES, 20).await;
    running.stop().await;
}

/// pymodbus keeps the youngest question in mind alone, and the others are lost: what is asked at once becomes less.
#[tokio::test]
async fn several_questions_in_flight_agree_with_pymodbus() {
    let server = pymodbus(&["--tcp"]);
    agrees_in_flight(PortSettings::Tcp(local(server.port()))).await;
}

#[tokio::test]
async fn several_datagrams_in_flight_agree_with_pymodbus() {
    let server = pymodbus(&["--udp"]);
    agrees_in_flight(PortSettings::Udp(local(server.port()))).await;
}

#[tokio::test]
async fn several_questions_in_flight_agree_with_libmodbus() {
    let bank = [10, 11, 300, 301].map(|at| ("holding", at, register(1, Table::Holding, at)));
    let server = ModbusServer::libmodbus_tcp(&bank);
    agrees_in_flight(PortSettings::Tcp(local(server.port()))).await;
}

#[tokio::test]
async fn ascii_on_a_line_agrees_with_pymodbus() {
    let line = pty_pair();
    let _server = pymodbus(&["--ascii", line.far().to_str().expect("a plain path")]);
    agrees(ascii_bus(line.near().to_str().expect("a plain path"))).await;
}

#[tokio::test]
async fn tls_agrees_with_pymodbus_and_shows_our_certificate() {
    let (plant, strangers) = (Authority::new("plant"), Authority::new("strangers"));
    let (certificate, key) = plant.sign("plc-17");
    let (ours, our_key) = plant.sign("gateway");
    let paths = [&certificate, &key, &plant.ca()].map(|path| path.display().to_string());
    let server = pymodbus(&["--tls", &paths[0], &paths[1], &paths[2]]);
    let settings = |ca, client, name: Option<&str>| {
        let settings = TlsSettings { ca: Some(ca), client, any_name: false };
        let named = NamedTls { settings, name: name.map(Arc::from) };
        bus(PortSettings::Tls(local(server.port()), named))
    };
    let client = Some(ClientCertificate { certificate: ours, key: our_key });
    agrees(settings(plant.ca(), client.clone(), Some("plc-17"))).await;

    for (settings, words) in [
        (settings(strangers.ca(), client.clone(), Some("plc-17")), "no trusted authority"),
        (settings(plant.ca(), client, None), "write one that stands in it as `name`"),
    ] {
        let mut bus = run(settings, vec![device(1, 30, &["h10"])]);
        let reason = bus.until(super::life::offline).await.1;
        assert!(reason.contains(words), "{reason}");
        bus.stop().await;
    }
}

#[tokio::test]
async fn a_datagram_from_elsewhere_or_of_another_kind_is_no_answer() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let port = socket.local_addr().expect("it is bound").port();
    let device_task = tokio::spawn(async move {
        let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let mut bytes = [0; 300];
        for number in 0.. {
            let (len, from) = socket.recv_from(&mut bytes).await.expect("a datagram");
            let request = Request::of_datagram(number, &bytes[..len]);
            let wrong = Request { address: request.address + 1, ..request.clone() };
            let _ = stranger.send_to(&wrong.right(), from).await;
            let wrong = Request { transaction: request.transaction.wrapping_add(5), ..wrong };
            for datagram in [wrong.right(), b"noise".to_vec(), Vec::new()] {
                socket.send_to(&datagram, from).await.expect("it is sent");
            }
            // Every fourth is lost.
            if number % 4 != 3 {
                socket.send_to(&request.right(), from).await.expect("it is sent");
            }
        }
    });
    let mut bus = run(bus(PortSettings::Udp(local(port))), vec![device(1, 20, &POINTS)]);
    bus.good(&NAMES, 10).await;
    bus.stop().await;
    device_task.abort();
}
