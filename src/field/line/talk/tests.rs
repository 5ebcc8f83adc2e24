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
    /// How many readings each event had.
    batches: Vec<usize>,
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
        Self { talk, begun, ms: 1_000, batches: Vec::new() }
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
                FieldEvent::Readings(readings) => {
                    self.batches.push(readings.len());
                    readings.iter().try_for_each(|reading| {
                        let value = reading.value.as_ref().map_or("-".to_owned(), Value::to_string);
                        let (point, quality) = (&reading.point.point, reading.quality.word());
                        write!(told, "{point}={value} {quality}; ")
                    })
                }
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
        decimal_comma: false,
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
fn what_a_frame_gives_goes_out_together_and_so_does_silence() {
    let points = vec![point("net", r"^N(\d+)", None, 1), point("gross", r"G(\d+)$", None, 1)];
    let mut scale = device("scale", points);
    scale.set_together(|_| true);
    let mut line = Told::new(vec![scale]);
    line.hear(b"N12 G13\nN14\n");
    assert_eq!(line.batches, [2, 1]);
    line.wait(20_000);
    assert_eq!(line.batches, [2, 1, 2]);
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

/// Two devices on one line whose answers nobody can tell apart.
fn twins() -> Told {
    let points = |name, send| vec![point(name, r"^(\d+)$", Some(send), 1)];
    Told::new(vec![device("one", points("a", "1?")), device("two", points("b", "2?"))])
}

#[test]
fn a_late_answer_is_that_of_its_own_question_while_nobody_else_is_asked() {
    let mut line = twins();
    assert_eq!(line.wait(0), "sent 1?@1000; ");
    assert_eq!(line.hear(b"11\n"), "one Online; a=11 good; ");
    assert_eq!(line.wait(0), "sent 2?@1000; ");
    assert_eq!(line.hear(b"22\n"), "two Online; b=22 good; ");
    assert_eq!(line.wait(500), "sent 2?@1500; ");
    // Its time is over at 1800, and for as long again the line is left to it, although the other is due at 2000.
    assert_eq!(line.wait(590), "");
    assert_eq!(line.hear(b"23\n"), "b=23 good; ");
    assert_eq!(line.wait(0), "sent 1?@2090; ");
    assert_eq!(line.hear(b"12\n"), "a=12 good; ");
}

#[test]
fn an_answer_that_may_be_that_of_an_older_question_is_nobodys() {
    let mut line = twins();
    line.wait(0);
    line.hear(b"11\n");
    line.wait(0);
    line.hear(b"22\n");
    assert_eq!(line.wait(1_100), "sent 2?@1500; sent 1?@2100; ", "once the line was quiet");
    // What the second says so late would be a good value of the first.
    assert_eq!(line.hear(b"23\n"), "");
    assert_eq!(line.hear(b"12\n"), "", "nor is this believed");
    let is_it = |fact: &Fact| matches!(fact, Fact::MixedUp { device, older, .. } if &**device == "one" && &**older == "two");
    assert_eq!(line.facts().iter().filter(|it| is_it(it)).count(), 1);
    assert_eq!(line.wait(4_999), "", "the line rests");
    // From then on the slow one is waited for.
    let told = line.wait(1);
    assert_eq!(told, "sent 2?@7100; ");
    assert!(!line.wait(2_000).contains("sent"));
    assert_eq!(line.hear(b"24\n"), "two Online; b=24 good; ");
    assert_eq!(line.wait(0), "sent 1?@9100; ");
    assert_eq!(line.hear(b"13\n"), "a=13 good; ");
}

#[test]
fn a_device_that_is_gone_costs_its_twin_a_tenth() {
    let mut line = twins();
    line.wait(0);
    line.hear(b"11\n");
    line.wait(0);
    line.hear(b"22\n");
    let mut good = 0;
    for _ in 0..3_000 {
        let told = line.wait(100);
        assert!(!told.contains("two Offline"), "{told}");
        if told.contains("sent 2?") {
            good += line.hear(b"22\n").matches("b=22 good").count();
        }
    }
    let rests = line.facts().iter().filter(|it| matches!(it, Fact::MixedUp { .. })).count();
    assert_eq!(rests, 1);
    assert!(good >= 265, "{good} answers in 300 s, one every second at best");
}

#[test]
fn answers_that_can_be_told_apart_are_not_waited_for() {
    let one = device("one", vec![point("a", r"^A(\d+)$", Some("1?"), 1)]);
    let two = device("two", vec![point("b", r"^B(\d+)$", Some("2?"), 1)]);
    let mut line = Told::new(vec![one, two]);
    line.wait(0);
    line.hear(b"A1\n");
    line.wait(0);
    line.hear(b"B2\n");
    assert_eq!(line.wait(499), "");
    line.ms += 240;
    assert_eq!(line.wait(0), "sent 2?@1739; ");
    assert_eq!(line.wait(300), "sent 1?@2039; ");
    assert_eq!(line.hear(b"B9\n"), "", "it is late and fits nothing that is asked");
    assert_eq!(line.hear(b"A3\n"), "a=3 good; ");
}

#[test]
fn a_question_waits_for_the_end_of_a_frame_that_comes_by_itself() {
    let points = vec![point("n", r"^N(\d+)$", None, 1), point("bare", r"^(\d+)$", Some("?"), 1)];
    let mut line = Told::new(vec![device("it", points)]);
    line.hear(b"N1");
    assert_eq!(line.wait(50), "", "a frame is on its way");
    assert_eq!(line.hear(b"23\n"), "it Online; n=123 good; ");
    assert_eq!(line.wait(0), "sent ?@1050; ");
    assert_eq!(line.hear(b"N4\n7\n"), "n=4 good; bare=7 good; ");
    // One that stops in the middle is not waited for.
    line.wait(900);
    line.hear(b"N5");
    assert_eq!(line.wait(100), "sent ?@2050; ");
    assert_eq!(line.hear(b"8\n"), "bare=8 good; ");
}

/// What a device of these tests does with a question: answers this many milliseconds after it has done the one before.
fn delays() -> impl Strategy<Value = Vec<(u64, bool)>> {
    prop::collection::vec((0..1_500u64, prop::bool::weighted(0.1)), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 50, cases: 60, ..ProptestConfig::default() })]
    /// Each device answers in order; up to five times later than its time is, or never.
    #[test]
    fn however_late_devices_answer_no_value_is_anothers(delays in delays()) {
        let mut line = twins();
        let mut delays = delays.into_iter();
        let mut free = [0u64; 2];
        let mut coming: Vec<(u64, usize)> = Vec::new();
        let mut told = String::new();
        while line.ms < 300_000 {
            let next = coming.iter().map(|(at, _)| *at).min().unwrap_or(u64::MAX);
            let step = next.saturating_sub(line.ms).min(20);
            let now = line.wait(step);
            for (index, send) in ["sent 1?", "sent 2?"].iter().enumerate() {
                for _ in 0..now.matches(send).count() {
                    let (delay, is_lost) = delays.next().unwrap_or((20, false));
                    free[index] = free[index].max(line.ms) + delay;
                    if !is_lost {
                        coming.push((free[index], index));
                    }
                }
            }
            told += &now;
            coming.sort_unstable();
            while coming.first().is_some_and(|(at, _)| *at <= line.ms) {
                let (_, index) = coming.remove(0);
                told += &line.hear(if index == 0 { b"111\n" } else { b"222\n" });
            }
        }
        prop_assert!(!told.contains("a=222") && !told.contains("b=111"), "{}", told);
        let end = &told[told.len() - 400..];
        prop_assert!(end.contains("a=111 good") && end.contains("b=222 good"), "{}", told);
    }

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
