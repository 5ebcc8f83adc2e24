use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::field::{Sum, Written};

fn start() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    Instant::now()
}

fn frame(starts_with: &[u8], end: FrameEnd) -> FrameSettings {
    FrameSettings { starts_with: starts_with.into(), end, bytes_max: 64 }
}

fn mark(mark: &[u8], tail: usize) -> FrameEnd {
    FrameEnd::Mark { mark: mark.into(), tail }
}

const FIELD: FrameEnd = FrameEnd::Field { at: 1, size: 1, order: Order::Big, adds: 3 };

const BCC: ChecksumSettings = ChecksumSettings::Range {
    sum: Sum::Xor,
    from: 0,
    to: -1,
    at: -1,
    written: Written::Bytes(Order::Big),
};

/// What comes out when `bytes` come at once, after a silence.
fn heard(settings: FrameSettings, checksum: Option<ChecksumSettings>, bytes: &[u8]) -> Vec<String> {
    let begun = start();
    let mut framer = Framer::new(settings, checksum, begun);
    framer.handle_bytes(bytes, begun + Duration::from_secs(1));
    let mut all = told(&mut framer);
    framer.handle_timeout(begun + Duration::from_secs(2));
    all.extend(told(&mut framer));
    all
}

fn told(framer: &mut Framer) -> Vec<String> {
    let words = |framed: Result<Vec<u8>, Damage>| match framed {
        Ok(frame) => String::from_utf8_lossy(&frame).into_owned(),
        Err(damage) => format!("! {damage}"),
    };
    std::iter::from_fn(|| framer.poll_frame()).map(words).collect()
}

#[test]
fn frames_end_with_their_mark_and_what_belongs_behind_it() {
    let lines = frame(b"", mark(b"\r\n", 0));
    assert_eq!(heard(lines, None, b"one\r\n\r\ntwo\r\nthr"), ["one\r\n", "\r\n", "two\r\n"]);
    let telegrams = frame(b"/", mark(b"!", 4));
    assert_eq!(heard(telegrams, None, b"noise/a/b!1/34/c!"), ["/b!1/34"], "the first is cut off");
}

#[test]
fn a_frame_that_is_cut_off_does_not_spoil_the_one_behind_it() {
    let sentences = frame(b"$", mark(b"\r\n", 0));
    assert_eq!(heard(sentences.clone(), None, b"$GPG$GPA,1\r\n"), ["$GPA,1\r\n"]);
    let nmea = Some(ChecksumSettings::Nmea);
    assert_eq!(heard(sentences.clone(), nmea, b"$GPG$A*41\r\n"), ["$A*41\r\n"]);
    let told = heard(sentences, nmea, b"$A*42\r\n$A*41\r\n");
    assert_eq!(told, ["! the checksum is 0x42, computed 0x41", "$A*41\r\n"]);
}

#[test]
fn whoever_comes_in_the_middle_of_a_frame_takes_the_next_one() {
    let begun = start();
    let mut framer = Framer::new(frame(b"", mark(b"\n", 0)), None, begun);
    framer.handle_bytes(b"2.5 kg\n112.5 kg\n", begun + Duration::from_millis(20));
    assert_eq!(told(&mut framer), ["112.5 kg\n"]);

    let mut framer = Framer::new(frame(b"", FrameEnd::Length(4)), None, begun);
    framer.handle_bytes(b"cd", begun + Duration::from_millis(20));
    assert!(told(&mut framer).is_empty());
    framer.handle_bytes(b"abcd", begun + Duration::from_millis(200));
    assert_eq!(told(&mut framer), ["abcd"]);

    let mut framer = Framer::new(frame(b"", mark(b"\n", 0)), None, begun);
    framer.begin();
    framer.handle_bytes(b"asked for\n", begun + Duration::from_millis(20));
    assert_eq!(told(&mut framer), ["asked for\n"]);
}

#[test]
fn lengths_are_fixed_or_told_by_the_frame() {
    let fixed = frame(b"", FrameEnd::Length(3));
    assert_eq!(heard(fixed, None, b"abcdefgh"), ["abc", "def", "! a frame ended after 2 bytes"]);
    let begun = start();
    let mut framer = Framer::new(frame(b"", FrameEnd::Length(3)), None, begun);
    framer.begin();
    framer.handle_bytes(b"abcd", begun);
    assert_eq!(told(&mut framer), ["abc"]);
    assert_eq!(framer.poll_timeout(), Some(begun + GAP));
    framer.handle_timeout(begun + GAP);
    assert_eq!(told(&mut framer), ["! a frame ended after 1 bytes"]);
    assert_eq!(framer.poll_timeout(), None);

    let field = frame(b"\x02", FIELD);
    assert_eq!(heard(field.clone(), None, b"xx\x02\x01ab\x02\x00b"), ["\x02\x01ab", "\x02\x00b"]);
    let told = heard(field, None, b"\x02\xf0abc\x02\x00b");
    assert_eq!(told, ["! a frame says that it has 243 bytes", "\x02\x00b"]);
}

#[test]
fn a_checksum_finds_frames_without_any_mark() {
    let fixed = frame(b"", FrameEnd::Length(3));
    let told = heard(fixed.clone(), Some(BCC), &[7, 7, 1, 2, 3, 4, 5, 1]);
    let damaged = "! the checksum is 0x01, computed 0x00";
    assert_eq!(told, [damaged, "\x01\x02\x03", "\x04\x05\x01"]);
    let told = heard(fixed, Some(BCC), &[0, 0, 1].repeat(4));
    assert_eq!(told.iter().filter(|it| it.contains("checksum")).count(), 4, "{told:?}");
}

#[test]
fn silence_ends_frames() {
    let begun = start();
    let at = |ms| begun + Duration::from_millis(ms);
    let silence = FrameEnd::Silence(Duration::from_millis(20));
    let mut framer = Framer::new(frame(b"", silence), None, begun);
    framer.handle_bytes(b"rest", at(5));
    assert_eq!(framer.poll_timeout(), Some(at(25)));
    framer.handle_timeout(at(25));
    assert!(told(&mut framer).is_empty(), "nobody knows how it began");
    assert_eq!(framer.poll_timeout(), None);
    framer.handle_bytes(b"a", at(100));
    framer.handle_bytes(b"bc", at(110));
    assert!(told(&mut framer).is_empty());
    framer.handle_timeout(at(130));
    assert_eq!(told(&mut framer), ["abc"]);
}

#[test]
fn what_never_ends_is_told_once_and_left() {
    let endless = vec![b'x'; 1_000];
    let told = heard(frame(b"", mark(b"\n", 0)), None, &endless);
    assert_eq!(told, ["! a frame has not ended after 64 bytes"]);
    let begun = start();
    let mut framer = Framer::new(frame(b"", mark(b"\n", 0)), None, begun);
    framer.begin();
    let mut all = Vec::new();
    for _ in 0..100 {
        framer.handle_bytes(&endless[..50], begun);
        all.extend(super::tests::told(&mut framer));
        assert!(framer.waiting() <= 64);
    }
    framer.handle_bytes(b"\nsound\n", begun);
    all.extend(super::tests::told(&mut framer));
    assert_eq!(all, ["! a frame has not ended after 64 bytes", "sound\n"]);
}

fn settings() -> impl Strategy<Value = (FrameSettings, Option<ChecksumSettings>)> {
    let marks = prop::collection::vec(0..4u8, 1..3);
    let ends = prop_oneof![
        (marks, 0..3usize).prop_map(|(it, tail)| mark(&it, tail)),
        (1..9usize).prop_map(FrameEnd::Length),
        (0..3usize, 1..3usize, 0..4usize).prop_map(|(at, size, adds)| FrameEnd::Field {
            at,
            size,
            order: Order::Little,
            adds
        }),
        (1..50u64).prop_map(|ms| FrameEnd::Silence(Duration::from_millis(ms))),
    ];
    let starts = prop::collection::vec(0..4u8, 0..3);
    let checks = prop_oneof![Just(None), Just(Some(BCC)), Just(Some(ChecksumSettings::Nmea))];
    (starts, ends, checks).prop_map(|(start, end, checksum)| {
        (FrameSettings { starts_with: Arc::from(start), end, bytes_max: 16 }, checksum)
    })
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_end_and_are_bounded(
        (settings, checksum) in settings(),
        pieces in prop::collection::vec((prop::collection::vec(0..5u8, 0..40), 0..200u64), 1..20),
    ) {
        let mut now = start();
        let mut framer = Framer::new(settings, checksum, now);
        for (bytes, pause) in pieces {
            now += Duration::from_millis(pause);
            framer.handle_timeout(now);
            let before = framer.waiting();
            framer.handle_bytes(&bytes, now);
            // Each thing that is told takes a byte away, or is told once.
            let mut left = before + bytes.len() + 3;
            while let Some(framed) = framer.poll_frame() {
                prop_assert!(left > 0, "it does not end");
                left -= 1;
                if let Ok(frame) = framed {
                    prop_assert!(!frame.is_empty() && frame.len() <= 16 + bytes.len().max(before));
                }
            }
            prop_assert!(framer.waiting() <= 16);
        }
    }

    #[test]
    fn sound_frames_come_out_however_they_are_cut(
        texts in prop::collection::vec("[a-z]{0,12}", 1..8),
        cuts in prop::collection::vec(1..9usize, 1..80),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for text in texts {
            let sum = text.bytes().fold(0, |sum, byte| sum ^ byte);
            let sentence = format!("${text}*{sum:02X}\r\n");
            bytes.extend_from_slice(sentence.as_bytes());
            expected.push(sentence);
        }
        let now = start();
        let sentences = frame(b"$", mark(b"\r\n", 0));
        let mut framer = Framer::new(sentences, Some(ChecksumSettings::Nmea), now);
        let (mut rest, mut found) = (&bytes[..], Vec::new());
        for cut in cuts.into_iter().chain(std::iter::once(usize::MAX)) {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            framer.handle_bytes(piece, now);
            found.extend(told(&mut framer));
            rest = behind;
        }
        prop_assert_eq!(found, expected);
    }
}
