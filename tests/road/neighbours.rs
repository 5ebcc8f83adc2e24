//! A silent device and one that answers late share a line with others, whose values stay right.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::reading::{Reading, readings};
use crate::support::{self, Mosquitto, Site, Subscriber, wait_until};

/// How long after the gateway's patience the late unit answers.
const LATE: Duration = Duration::from_millis(180);
const TIMEOUT: Duration = Duration::from_millis(100);

/// CRC-16 of the Modbus serial line specification, section 6.2.2.
fn crc(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xffffu16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 };
        }
    }
    crc.to_le_bytes()
}

/// All units of a line by script: each register of unit `u` holds `u * 100`. Unit 2 is silent; unit 3 answers [`LATE`]
/// after its question, whatever the line is busy with by then.
fn serve(tty: &Path, stop: &Arc<AtomicBool>) {
    let mut port = OpenOptions::new().read(true).write(true).open(tty).expect("the port");
    let reader = port.try_clone().expect("the port again");
    let (questions, asked) = std::sync::mpsc::channel();
    thread::spawn(move || read_questions(reader, &questions));
    let stop = stop.clone();
    thread::spawn(move || {
        let mut late: Vec<(Instant, Vec<u8>)> = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            if let Ok(question) = asked.recv_timeout(Duration::from_millis(2)) {
                let [unit, function, .., words]: [u8; 6] = question;
                let mut answer = vec![unit, function, words * 2];
                for _ in 0..words {
                    answer.extend((u16::from(unit) * 100).to_be_bytes());
                }
                answer.extend(crc(&answer));
                match unit {
                    2 => {}
                    3 => late.push((Instant::now() + LATE, answer)),
                    _ => port.write_all(&answer).expect("the line takes it"),
                }
            }
            late.retain(|(at, answer)| {
                let due = *at <= Instant::now();
                if due {
                    port.write_all(answer).expect("the line takes it");
                }
                !due
            });
        }
    });
}

fn read_questions(mut port: File, questions: &std::sync::mpsc::Sender<[u8; 6]>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64];
    while let Ok(count @ 1..) = port.read(&mut buffer) {
        bytes.extend(&buffer[..count]);
        while bytes.len() >= 8 {
            assert_eq!(crc(&bytes[..6]), bytes[6..8], "a damaged question");
            let question = bytes[..6].try_into().expect("six bytes");
            bytes.drain(..8);
            if questions.send(question).is_err() {
                return;
            }
        }
    }
}

#[test]
fn a_silent_unit_and_a_late_one_leave_their_neighbours_values_right() {
    let line = support::pty_pair();
    let stop = Arc::new(AtomicBool::new(false));
    serve(&line.far(), &stop);
    let broker = Mosquitto::start();
    let far = Subscriber::paho(broker.port(), "far", "gw/#");
    let site = Site::new();
    let devices: String = (1..=4)
        .map(|unit| {
            format!(
                "  unit-{unit}: {{ bus: line, unit: {unit}, every: 200ms, points: {{ v: {{ holding: 7 }} }} }}\n"
            )
        })
        .collect();
    site.write_config(&format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}
buses:
  line: {{ modbus-rtu: \"{}\", baud: 115200, timeout: {}ms }}
devices:
{devices}
uplinks: {{ far: {{ url: \"{}\", qos: 1 }} }}
",
        line.near().display(),
        TIMEOUT.as_millis(),
        broker.url(),
    ));
    let mut gateway = site.start();
    let good = |unit: u64| -> Vec<Reading> {
        let topic = format!("gw/unit-{unit}/v");
        let all = readings(&far.received()).into_iter();
        all.filter(|got| got.topic == topic && got.quality == "good").collect()
    };
    wait_until("the neighbours are read", || good(1).len() >= 40 && good(4).len() >= 40);
    for unit in 1..=4 {
        let wrong: Vec<Reading> =
            good(unit).into_iter().filter(|got| got.value != unit * 100).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
    assert!(good(2).is_empty());
    let log = gateway.log();
    assert!(log.contains("device fell silent bus=line device=unit-2"), "{log}");
    let state = |device: &str| {
        let topic = format!("gw/{device}/status");
        far.received().into_iter().rfind(|got| got.topic == topic).map(|got| got.payload)
    };
    assert_eq!(state("unit-1").as_deref(), Some("online"));
    assert_eq!(state("unit-2").as_deref(), Some("offline"));
    assert!(gateway.sigterm().success(), "{}", gateway.log());
    stop.store(true, Ordering::SeqCst);
}
