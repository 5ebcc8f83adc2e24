//! Devices that speak no Modbus, over a real serial line: the files that are shipped, from the bytes to a far subscriber.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread::{self, JoinHandle};

use serde_json::Value;

use crate::support::{self, Fieldpost, Line, Mosquitto, Received, Site, Subscriber, wait_until};

/// A gateway with a shipped file on a line, and a subscriber to all it says.
struct Road {
    gateway: Fieldpost,
    subscriber: Subscriber,
    line: Line,
    _broker: Mosquitto,
    _site: Site,
}

/// The text of a shipped file on the near port of `line`, told to `broker`.
fn shipped(file: &str, port: &str, broker: &Mosquitto) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/lines").join(file);
    let text = fs::read_to_string(path).expect("the file is shipped");
    let ports = ["/dev/ttyUSB0", "/dev/ttyACM0", "/dev/ttyAMA0", "192.0.2.30:4001"];
    let used = ports.iter().find(|port| text.contains(**port)).expect("it names a port");
    let text = text.replace(used, port).replace("mqtts://broker.example.com", &broker.url());
    let gateway = text.lines().find(|line| line.starts_with("gateway:")).expect("a gateway");
    let state = gateway.replace(" }", ", state_dir: \"{state}\" }");
    text.replace(gateway, &state)
}

impl Road {
    fn new(file: &str) -> Self {
        Self::changed(file, |text| text)
    }

    /// The same with the text of the file changed.
    fn changed(file: &str, change: impl Fn(String) -> String) -> Self {
        let (broker, site, line) = (Mosquitto::start(), Site::new(), support::pty_pair());
        let subscriber = Subscriber::paho(broker.port(), "far", "#");
        let near = line.near();
        site.write_config(&change(shipped(file, near.to_str().expect("a plain path"), &broker)));
        let mut gateway = site.start();
        gateway.wait_for_log("line started");
        Self { gateway, subscriber, line, _broker: broker, _site: site }
    }

    /// Sends `frame` again and again until all of `expected`, each a topic and a JSON value, have arrived.
    fn say_until(&self, frame: &[u8], expected: &[(&str, &str)]) {
        let mut far = self.far();
        wait_until(&format!("{expected:?} arrive"), || {
            far.write_all(frame).expect("the line takes it");
            let received = self.subscriber.received();
            expected.iter().all(|(topic, value)| has(&received, topic, value))
        });
    }

    fn far(&self) -> fs::File {
        let options = OpenOptions::new().read(true).write(true).open(self.line.far());
        options.expect("the far end of the line")
    }

    /// How often a message with this topic and text has arrived.
    fn count(&self, topic: &str, text: &str) -> usize {
        let is_it = |it: &&Received| it.topic == topic && it.payload.contains(text);
        self.subscriber.received().iter().filter(is_it).count()
    }
}

fn has(received: &[Received], topic: &str, value: &str) -> bool {
    let value: Value = serde_json::from_str(value).expect("JSON");
    received.iter().filter(|it| it.topic == topic).any(|it| {
        let json: Value = serde_json::from_str(&it.payload).unwrap_or_default();
        json["value"] == value && json["quality"] == "good"
    })
}

#[test]
fn a_weighing_scale_speaks_by_itself() {
    let road = Road::new("weighing-scale.yaml");
    let weight = "warehouse/weigher/weight";
    road.say_until(b"ST,GS,+   12.50kg\r\n", &[(weight, "12.5")]);
    road.say_until(
        b"US,GS,+   13.10kg\r\nST,GS,-    0.20kg\r\n",
        &[(weight, "-0.2"), ("warehouse/weigher/overload", "false")],
    );
    road.say_until(b"OL,GS,+   99.99kg\r\n", &[("warehouse/weigher/overload", "true")]);
    assert!(!has(&road.subscriber.received(), weight, "13.1"), "what is not stable is left");
    assert!(!has(&road.subscriber.received(), weight, "99.99"));
    assert_eq!(road.count("warehouse/weigher/status", "online"), 1);
}

#[test]
fn a_line_that_falls_silent_or_is_pulled_out_is_told_once_and_comes_back() {
    let mut road = Road::changed("weighing-scale.yaml", |text| {
        text.replace("silent_after: 10s", "silent_after: 500ms")
    });
    let (weight, status) = ("warehouse/weigher/weight", "warehouse/weigher/status");
    road.say_until(b"ST,GS,+   12.50kg\r\n", &[(weight, "12.5")]);
    wait_until("it falls silent", || road.count(status, "offline") == 1);
    wait_until("its weight is stale", || road.count(weight, "nothing came for 500ms") == 1);
    road.say_until(b"ST,GS,+    7.00kg\r\n", &[(weight, "7")]);
    let offline = road.count(status, "offline");
    road.line.unplug();
    wait_until("it is offline", || road.count(status, "offline") > offline);
    road.gateway.wait_for_log("bus lost");
    road.line.plug_in();
    road.say_until(b"ST,GS,+    8.00kg\r\n", &[(weight, "8")]);
    road.gateway.wait_for_log("bus is back");
    let log = road.gateway.log();
    assert_eq!(log.matches("bus lost").count(), 1, "{log}");
}

#[test]
fn a_gps_receiver_gives_degrees_and_a_damaged_sentence_nothing() {
    let road =
        Road::changed("gps-nmea0183.yaml", |text| text.replace("at_most: 10s", "at_most: 1s"));
    let right = b"$GPGSV,1,1,00*79\r\n\
        $GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n\
        $GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n";
    road.say_until(
        right,
        &[
            ("truck-7/position/latitude", "48.1173"),
            ("truck-7/position/longitude", "11.516667"),
            ("truck-7/position/satellites", "8"),
            ("truck-7/position/altitude", "545.4"),
            ("truck-7/position/speed", "41.5"),
        ],
    );
    // The same with another height, and a sound one behind it.
    let behind = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,999.4,M,46.9,M,,*47\r\n\
        $GPGGA,123519,4807.038,N,01131.000,E,1,07,0.9,545.4,M,46.9,M,,*48\r\n";
    road.say_until(behind, &[("truck-7/position/satellites", "7")]);
    assert!(!has(&road.subscriber.received(), "truck-7/position/altitude", "999.4"));
}

#[test]
fn a_meter_sends_its_telegram_in_pieces() {
    let road = Road::new("dsmr-p1-meter.yaml");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lines/telegram.txt");
    let telegram = fs::read(path).expect("the telegram");
    // The end of one that began before anybody listened.
    let mut far = road.far();
    far.write_all(&telegram[100..]).expect("the line takes it");
    let mut damaged = telegram.clone();
    let at = damaged.windows(7).position(|it| it == b"01.193*").expect("the power");
    damaged[at] = b'9';
    for piece in damaged.chunks(7) {
        far.write_all(piece).expect("the line takes it");
    }
    road.say_until(
        &telegram,
        &[
            ("meter-cupboard/grid/consumed_1", "1234.567"),
            ("meter-cupboard/grid/consumed", "3580.245"),
            ("meter-cupboard/grid/tariff", "2"),
            ("meter-cupboard/grid/power", "1.193"),
            ("meter-cupboard/grid/voltage_l1", "229.4"),
            ("meter-cupboard/grid/gas", "981.443"),
        ],
    );
    assert!(!has(&road.subscriber.received(), "meter-cupboard/grid/power", "91.193"));
}

#[test]
fn a_sensor_sends_packed_frames() {
    let road = Road::new("air-quality-pms5003.yaml");
    let mut frame = vec![b'B', b'M', 0, 28];
    for number in [1u16, 2, 3, 11, 22, 33, 1000, 500, 100, 20, 3, 1] {
        frame.extend(number.to_be_bytes());
    }
    frame.extend([0x97, 0x00]);
    let sum: u16 = frame.iter().map(|byte| u16::from(*byte)).sum();
    frame.extend(sum.to_be_bytes());
    assert_eq!(frame.len(), 32);
    let mut noise = b"BM\xff\xffxxBM\x00\x01".to_vec();
    noise.extend(&frame);
    road.say_until(
        &noise,
        &[
            ("classroom-3/particles/pm1", "11"),
            ("classroom-3/particles/pm2_5", "22"),
            ("classroom-3/particles/pm10", "33"),
            ("classroom-3/particles/count_0_3", "1000"),
            ("classroom-3/particles/version", "151"),
            ("classroom-3/particles/fault", "0"),
        ],
    );
}

/// A balance: answers what it is asked until what it is asked over ends.
fn balance<S: Read + Write>(open: impl FnOnce() -> S + Send + 'static) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = open();
        let (mut asked, mut buffer) = (Vec::new(), [0; 64]);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            asked.extend_from_slice(&buffer[..count]);
            while let Some(end) = asked.windows(2).position(|it| it == b"\r\n") {
                let question: Vec<u8> = asked.drain(..end + 2).collect();
                let answer: &[u8] = match &question[..] {
                    b"SI\r\n" => b"S S     12.345 kg\r\n",
                    b"I4\r\n" => b"I4 A \"0123456789\"\r\n",
                    _ => b"ES\r\n",
                };
                // An answer comes in pieces.
                for piece in answer.chunks(5) {
                    if stream.write_all(piece).is_err() {
                        return;
                    }
                }
            }
        }
    })
}

#[test]
fn a_balance_behind_a_converter_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let balance = balance(move || listener.accept().expect("the gateway comes").0);
    let (broker, site) = (Mosquitto::start(), Site::new());
    let subscriber = Subscriber::paho(broker.port(), "far", "#");
    site.write_config(&shipped("scale-that-is-asked.yaml", &address, &broker));
    let mut gateway = site.start();
    let expected = [
        ("laboratory/balance/weight", "12.345"),
        ("laboratory/balance/stable", "true"),
        ("laboratory/balance/serial_number", "\"0123456789\""),
    ];
    wait_until("its answers arrive", || {
        let received = subscriber.received();
        expected.iter().all(|(topic, value)| has(&received, topic, value))
    });
    assert!(gateway.sigterm().success());
    balance.join().expect("it ends with the connection");
}

#[test]
fn a_balance_on_a_serial_line_is_asked() {
    let road = Road::changed("scale-that-is-asked.yaml", |text| {
        text.replace("line-over-tcp: \"", "line: \"").replace("every: 1s", "every: 100ms")
    });
    let far = road.far();
    let _balance = balance(move || far);
    let weight = "laboratory/balance/weight";
    wait_until("it is asked again and again", || road.count(weight, "12.345") >= 5);
    assert_eq!(road.count("laboratory/balance/status", "online"), 1);
}
