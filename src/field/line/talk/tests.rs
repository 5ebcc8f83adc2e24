use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::field::{
    FrameEnd, FrameSettings, Pattern, Pick, PickFrom, Place, PointSettings, Table, TcpSettings,
    UnitId, ValueType,
};
use crate::model::Timestamp;

/// A line in virtual time and what it tells.
struct Told {
    talk: Talk,
    begun: Instant,
    ms: u64,
}

impl Told {
    fn new(devices: Vec<DeviceSettings>) -> Self {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        let begun = Instant::now();
        let settings = LineSettings {
            name: "line".into(),
            port: LinePort::Tcp(TcpSettings { host: "scale".into(), port: 1 }),
            frame: FrameSettings {
                starts_with: [].into(),
                end: FrameEnd::Mark { mark: b"\n"[..].into(), tail: 0 },
                bytes_max: 64,
            },
            checksum: None,
            timeout: Duration::from_millis(300),
            silent_after: Some(Duration::from_secs(5)),
        };
        let mut talk = Talk::new(settings, devices, begun);
        talk.handle_port_up(begun);
        // What comes after a silence begins with a frame.
        Self { talk, begun, ms: 1_000 }
    }

    fn now(&self) -> Moment {
        let mono = self.begun + Duration::from_millis(self.ms);
        Moment { mono, wall: Timestamp::from_unix_ms(self.ms), boot_ms: self.ms }
    }

    fn hear(&mut self, bytes: &[u8]) -> String {
        let now = self.now();
        self.talk.handle_bytes(bytes, now);
        self.told()
    }

    /// Waits and does what is to be done meanwhile.
    fn wait(&mut self, ms: u64) -> String {
        let until = self.ms + ms;
        let mut told = String::new();
        loop {
            while let Some(bytes) = self.talk.poll_send(self.now().mono) {
                _ = write!(told, "sent {}@{}; ", bytes.escape_ascii(), self.ms);
                self.talk.handle_sent(self.now().mono);
            }
            let next = self.talk.poll_timeout().map(|at| (at - self.begun).as_millis());
            let next = next.and_then(|ms| u64::try_from(ms).ok()).filter(|next| *next <= until);
            let Some(next) = next else { break };
            self.ms = self.ms.max(next);
            let now = self.now();
            self.talk.handle_timeout(now);
            told += &self.told();
        }
        self.ms = until;
        told
    }

    fn told(&mut self) -> String {
        let mut told = String::new();
        while let Some(event) = self.talk.poll_event() {
            _ = match event {
                FieldEvent::Readings(readings) => readings.iter().try_for_each(|reading| {
                    let value = reading.value.as_ref().map_or("-".to_owned(), Value::to_string);
                    let (point, quality) = (&reading.point.point, reading.quality.word());
                    write!(told, "{point}={value} {quality}; ")
                }),
                FieldEvent::Device { device, state, .. } => write!(told, "{device} {state:?}; "),
            };
        }
        told.replace("DeviceState::", "")
    }

    fn facts(&mut self) -> Vec<Fact> {
        std::iter::from_fn(|| self.talk.poll_fact()).collect()
    }
}

fn point(name: &str, pattern: &str, send: Option<&str>, every: u64) -> PointSettings {
    let place = Place { table: Table::Holding, address: 0, bit: None };
    let every = Duration::from_secs(every);
    let pattern = Pattern::new(pattern).expect("right");
    let pick = Pick {
        from: PickFrom::Match { pattern, group: 1 },
        when: None,
        send: send.map(|send| send.as_bytes().into()),
        invalid: Vec::new(),
    };
    PointSettings {
        pick: Some(pick),
        ..PointSettings::new(name.into(), place, ValueType::F64, every)
    }
}

fn device(name: &str, points: Vec<PointSettings>) -> DeviceSettings {
    DeviceSettings {
        name: name.into(),
        bus: "line".into(),
        unit: UnitId(0),
        points,
        computed: Vec::new(),
        allowed: crate::field::Allowed::default(),
    }
}

fn scale() -> Told {
    let points = vec![point("net", r"^N(\d+)", None, 1), point("gross", r"G(\d+)$", None, 1)];
    Told::new(vec![device("scale", points)])
}

#[test]
fn a_frame_gives_each_point_it_fits_its_value() {
    let mut line = scale();
    assert_eq!(line.hear(b"N12 "), "");
    assert_eq!(line.hear(b"G13\n"), "scale Online; net=12 good; gross=13 good; ");
    assert_eq!(line.hear(b"N14\r\n"), "net=14 good; ");
}

#[test]
fn silence_is_told_once_with_what_came_instead() {
    let mut line = scale();
    line.hear(b"N12\n");
    let stale = "net=12 stale; gross=- error; ";
    let told = line.wait(20_000);
    assert!(told.starts_with("scale Offline { reason: \"nothing came for 5s (is the"), "{told}");
    assert!(
        told.ends_with(&format!("; {stale}")) && told.matches("Offline").count() == 1,
        "{told}"
    );
    assert_eq!(line.hear(b"N13\n"), "scale Online; net=13 good; ");
    line.hear(b"what is this\n");
    let told = line.wait(5_000);
    assert!(told.contains("none fits a point; the last was `what is this`"), "{told}");
    line.hear(b"N1\n");
    line.hear(b"x");
    let told = line.wait(5_000);
    assert!(told.contains("1 bytes came, and no frame among them"), "{told}");
    let facts = line.facts();
    assert!(facts.contains(&Fact::Unfit { frame: "what is this".to_owned() }), "{facts:?}");
}

#[test]
fn frames_that_stay_damaged_make_a_device_sick() {
    let mut line = scale();
    line.hear(b"N12\n");
    let endless = [b'x'; 100];
    for _ in 0..3 {
        assert_eq!(line.hear(&endless), "");
        line.hear(b"\n");
    }
    let told = line.hear(&endless);
    assert!(told.contains("a frame has not ended after 64 bytes"), "{told}");
    assert!(told.contains("net=12 stale"), "{told}");
}

#[test]
fn points_that_are_in_no_frame_are_named_once() {
    let mut line = scale();
    for _ in 0..200 {
        line.hear(b"N12\n");
        line.wait(1_000);
    }
    let not_found =
        |fact: &Fact| matches!(fact, Fact::NotFound { points, .. } if points == "gross");
    assert_eq!(line.facts().iter().filter(|fact| not_found(fact)).count(), 1);
}

#[test]
fn a_device_is_asked_in_its_period_and_answers() {
    let points = vec![
        point("a", r"^A(\d+)", Some("A?\n"), 1),
        point("b", r"B(\d+)$", Some("A?\n"), 1),
        point("slow", r"S(\d+)", Some("S?\n"), 10),
    ];
    let mut line = Told::new(vec![device("meter", points)]);
    assert_eq!(line.wait(0), r"sent A?\n@1000; ");
    assert_eq!(line.hear(b"A1 B2\n"), "meter Online; a=1 good; b=2 good; ");
    assert_eq!(line.wait(0), r"sent S?\n@1000; ");
    assert_eq!(line.hear(b"A9 B9\n"), "", "that is no answer to it");
    assert_eq!(line.hear(b"S7\n"), "slow=7 good; ");
    assert_eq!(line.wait(999), "");
    assert_eq!(line.wait(1), r"sent A?\n@2000; ");
}

#[test]
fn a_device_that_does_not_answer_goes_stale_once_and_is_asked_less_often() {
    let points = vec![point("a", r"^A(\d+)", Some("?"), 1)];
    let mut line = Told::new(vec![device("meter", points)]);
    line.wait(0);
    line.hear(b"A1\n");
    let told = line.wait(60_000);
    assert_eq!(told.matches("Offline").count(), 1, "{told}");
    assert_eq!(told.matches("a=1 stale").count(), 1, "{told}");
    assert!(told.contains("no answer within 300ms"), "{told}");
    assert!((7..=12).contains(&told.matches("sent").count()), "{told}");
    let told = line.hear(b"A2\n");
    assert_eq!(told, "meter Online; a=2 good; ");
}

#[test]
fn devices_on_one_line_answer_for_themselves() {
    let points = |send| vec![point("w", r"^W(\d+)", Some(send), 1)];
    let devices = vec![device("one", points("1?")), device("two", points("2?"))];
    let mut line = Told::new(devices);
    assert_eq!(line.wait(0), "sent 1?@1000; ");
    assert_eq!(line.hear(b"W11\n"), "one Online; w=11 good; ");
    assert_eq!(line.wait(0), "sent 2?@1000; ");
    assert_eq!(line.hear(b"W22\n"), "two Online; w=22 good; ");
}

#[test]
fn a_port_that_is_lost_takes_its_devices_with_it_and_brings_them_back() {
    let mut line = scale();
    line.hear(b"N12\n");
    let now = line.now();
    line.talk.handle_port_down("the serial port is gone", now);
    let told = line.told();
    assert!(told.contains("Offline") && told.contains("net=12 stale"), "{told}");
    assert_eq!(line.wait(60_000), "", "nobody is asked and nothing is told");
    line.talk.handle_port_up(line.begun + Duration::from_millis(line.ms));
    line.ms += 1_000;
    assert_eq!(line.hear(b"N13\n"), "scale Online; net=13 good; ");
}

proptest! {
    #[test]
    fn any_bytes_at_any_time_are_survived_and_a_device_comes_back(
        pieces in prop::collection::vec(
            (prop::collection::vec(prop::sample::select(b"AN19 \n\r\xff".to_vec()), 0..80), 0..9_000u64),
            0..30,
        ),
    ) {
        let points = vec![point("n", r"^N(\d+)$", None, 1), point("a", r"^A(\d+)$", Some("?"), 2)];
        let mut line = Told::new(vec![device("it", points)]);
        for (bytes, pause) in pieces {
            line.hear(&bytes);
            line.wait(pause);
        }
        line.hear(b"\n");
        let told = line.hear(b"N77\n");
        prop_assert!(told.contains("n=77 good"), "{}", told);
    }
}
