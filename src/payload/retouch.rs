//! core: a reading is set right between its taking and its sending: its time, and that it is late.

use bytes::Bytes;

use super::json::UNSYNCED_MARK;
use super::words::redated;
use crate::hub::Marks;
use crate::model::Body;

const LATE: &[u8] = b",\"late\":true}";

/// The payload of a reading, or of those of a device, with `marks`: a right time takes the place of the one it has and of the
/// mark `"clock":"unsynced"`; `"late":true` comes last, once. In the operator's words (`body`) the time alone is set right.
/// What is not as the gateway wrote it comes back as it is.
#[must_use]
pub fn retouch(payload: &Bytes, body: Body, marks: Marks) -> Bytes {
    let touched = match body {
        Body::Foreign => None,
        Body::Reading { .. } => reading(payload, marks),
        Body::Device { .. } => device(payload, marks),
        Body::Worded { unsynced } => {
            unsynced.zip(marks.time).map(|(unsynced, time)| redated(payload, unsynced, time))
        }
    };
    touched.map_or_else(|| payload.clone(), Bytes::from)
}

fn reading(payload: &[u8], marks: Marks) -> Option<Vec<u8>> {
    if !payload.starts_with(b"{\"value\":") {
        return None;
    }
    // Inside a text every quotation mark has a backslash before it, so this is the key.
    let key = b",\"time\":\"";
    let at = payload.windows(key.len()).position(|window| window == key)?;
    marked(payload, at + key.len(), marks)
}

fn device(payload: &[u8], marks: Marks) -> Option<Vec<u8>> {
    // It comes first: a point may be called like it.
    let key = b"{\"time\":\"";
    payload.starts_with(key).then(|| marked(payload, key.len(), marks))?
}

/// With `marks`, where the time stands at `at`.
fn marked(payload: &[u8], at: usize, marks: Marks) -> Option<Vec<u8>> {
    let is_late = marks.late || payload.ends_with(LATE);
    let body = payload.strip_suffix(LATE).or_else(|| payload.strip_suffix(b"}"))?;
    let (before, said) = body.split_at_checked(at)?;
    let mut out = Vec::with_capacity(payload.len() + LATE.len());
    out.extend_from_slice(before);
    match marks.time {
        None => out.extend_from_slice(said),
        Some(time) => {
            let end = said.iter().position(|byte| *byte == b'"')?;
            let after = said.get(end + 1..)?;
            out.extend_from_slice(time.to_string().as_bytes());
            out.push(b'"');
            out.extend_from_slice(after.strip_prefix(UNSYNCED_MARK.as_bytes()).unwrap_or(after));
        }
    }
    out.extend_from_slice(if is_late { LATE } else { b"}" });
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    const READING: Body = Body::Reading { unsynced_at: Some(60_000) };
    const TIME_MS: Timestamp = Timestamp::from_unix_ms(1_795_230_600_123);
    const UNSYNCED: &str = r#"{"value":21.4,"unit":"°C","quality":"good","time":"1970-01-01T00:01:00.000Z","clock":"unsynced","id":"g-7-1"}"#;

    fn touched(payload: &str, time: Option<Timestamp>, late: bool) -> String {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let marks = Marks { time, late };
        String::from_utf8(retouch(&payload, READING, marks).to_vec()).expect("text")
    }

    #[test]
    fn a_right_time_takes_the_place_of_the_wrong_one_and_its_mark() {
        assert_eq!(
            touched(UNSYNCED, Some(TIME_MS), false),
            r#"{"value":21.4,"unit":"°C","quality":"good","time":"2026-11-21T03:10:00.123Z","id":"g-7-1"}"#
        );
    }

    #[test]
    fn what_is_late_says_so_last_and_once() {
        let once = touched(UNSYNCED, None, true);
        assert!(once.ends_with(r#","clock":"unsynced","id":"g-7-1","late":true}"#), "{once}");
        assert_eq!(touched(&once, None, true), once);
        let both = touched(&once, Some(TIME_MS), false);
        assert!(both.ends_with(r#".123Z","id":"g-7-1","late":true}"#), "{both}");
        assert_eq!(touched(UNSYNCED, None, false), UNSYNCED);
    }

    #[test]
    fn a_value_that_looks_like_a_time_keeps_its_words() {
        let payload = r#"{"value":"\",\"time\":\"x\",\"clock\":\"unsynced\"}","quality":"stale","reason":"a,\"time\":\"b","time":"1970-01-01T00:01:00.000Z","clock":"unsynced","id":"g-7-1"}"#;
        let expected = payload.replace(
            r#""1970-01-01T00:01:00.000Z","clock":"unsynced""#,
            r#""2026-11-21T03:10:00.123Z""#,
        );
        assert_eq!(touched(payload, Some(TIME_MS), false), expected);
    }

    #[test]
    fn what_is_no_reading_is_not_damaged() {
        let all = Marks { time: Some(TIME_MS), late: true };
        for payload in [
            "",
            "}",
            "21.4",
            "online",
            r#"{"time":"x"}"#,
            r#"{"value":1}"#,
            r#"{"value":1,"time":"x"#,
        ] {
            let payload = Bytes::from_static(payload.as_bytes());
            assert_eq!(retouch(&payload, READING, all), payload);
        }
        // Cut off anywhere it is never a panic.
        for end in 0..UNSYNCED.len() {
            let cut = Bytes::copy_from_slice(&UNSYNCED.as_bytes()[..end]);
            assert_eq!(retouch(&cut, READING, all), cut);
        }
    }
}
