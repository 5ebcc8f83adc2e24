//! core: a request to write as it was published: which points of which device are to become what.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::field::modbus::encode::Wish;
use crate::model::{Timestamp, TopicError, TopicFilter};

/// The longest payload that is looked at, in bytes.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// The keys of a request that tells more than a value.
const KEYS: [&str; 4] = ["value", "values", "id", "valid_until"];

/// What the topics of one gateway's requests look like.
///
/// # Errors
/// [`TopicError`] if the gateway id is no topic level.
pub fn filters(gateway: &str) -> Result<Vec<TopicFilter>, TopicError> {
    ["+/+/set", "+/set"].iter().map(|rest| TopicFilter::new(&format!("{gateway}/{rest}"))).collect()
}

/// Where a request stands: its device, and its point if it is about one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'t> {
    /// A key under `devices`.
    pub device: &'t str,
    /// A key under its `points`.
    pub point: Option<&'t str>,
}

impl<'t> Place<'t> {
    /// Takes `{gateway}/{device}/{point}/set` or `{gateway}/{device}/set` apart.
    #[must_use]
    pub fn of(gateway: &str, topic: &'t str) -> Option<Self> {
        let rest = topic.strip_prefix(gateway)?.strip_prefix('/')?.strip_suffix("/set")?;
        let (device, point) = rest.split_once('/').map_or((rest, None), |(at, of)| (at, Some(of)));
        Some(Self { device, point })
    }
}

/// A request as it was published.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// What the sender knows it by: any JSON text or number.
    pub id: Option<Json>,
    /// From then on it is not to be written any more.
    pub valid_until: Option<Timestamp>,
    /// What is wanted of each point.
    pub wishes: Vec<Asked>,
}

/// What is wanted of one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The key under `points`.
    pub point: String,
    /// What it is to become.
    pub wish: Wish,
    /// The payload as it stands, where it is nothing but the value: what a text point becomes.
    pub bare: Option<String>,
}

/// What is wrong with a payload, in plain words; with the request's id as far as it could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Misread {
    /// What the sender knows it by.
    pub id: Option<Json>,
    /// What is wrong.
    pub reason: String,
}

/// Reads a payload: a value alone (`21.5`, `true`, `heating`), `{"value": 21.5, "id": …, "valid_until": …}`, or for a
/// device `{"setpoint": 55, "pump": true}` or the same under `values` beside `id` and `valid_until`.
///
/// # Errors
/// [`Misread`].
pub fn parse(payload: &[u8], point: Option<&str>) -> Result<Request, Misread> {
    let misread = |reason: &str| Misread { id: None, reason: reason.to_owned() };
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(misread("the payload is too long"));
    }
    let text = std::str::from_utf8(payload).map_err(|_| misread("the payload is not UTF-8"))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(misread("the payload is empty"));
    }
    let json: Option<Json> = serde_json::from_str(text).ok();
    match (json, point) {
        (Some(Json::Object(object)), _) => read_object(object, point),
        (Some(json), Some(point)) => {
            let bare = (!json.is_string()).then(|| text.to_owned());
            let wish = wish(&json).map_err(|reason| misread(&reason))?;
            Ok(one(Asked { point: point.to_owned(), wish, bare }))
        }
        (None, Some(point)) if !text.starts_with(['{', '[', '"']) => {
            let (wish, bare) = (Wish::Text(text.to_owned()), Some(text.to_owned()));
            Ok(one(Asked { point: point.to_owned(), wish, bare }))
        }
        (None, _) => Err(misread("the payload is not JSON")),
        (Some(_), None) => Err(misread("a request to a device is a JSON object of its points")),
    }
}

fn one(asked: Asked) -> Request {
    Request { wishes: vec![asked], ..Request::default() }
}

fn read_object(mut object: Map<String, Json>, point: Option<&str>) -> Result<Request, Misread> {
    let is_told = object.contains_key("values") || point.is_some();
    if !is_told {
        // Nothing but points and values.
        return Ok(Request { wishes: wishes(object, None)?, ..Request::default() });
    }
    let id = object.remove("id").filter(|id| id.is_string() || id.is_number());
    let misread = |reason: String| Misread { id: id.clone(), reason };
    let valid_until = match object.remove("valid_until") {
        None | Some(Json::Null) => None,
        Some(until) => Some(time(&until).ok_or_else(|| {
            misread("`valid_until` is not a time such as \"2026-11-21T03:10:00Z\"".to_owned())
        })?),
    };
    let wishes = match point {
        Some(point) => {
            let value = object.remove("value");
            let value = value.ok_or_else(|| misread("the request has no `value`".to_owned()))?;
            let wish = wish(&value).map_err(&misread)?;
            vec![Asked { point: point.to_owned(), wish, bare: None }]
        }
        None => match object.remove("values") {
            Some(Json::Object(values)) => wishes(values, id.as_ref())?,
            Some(_) | None => {
                return Err(misread("`values` is not a JSON object of points".to_owned()));
            }
        },
    };
    if let Some(stranger) = object.keys().next() {
        let known = KEYS.map(|key| format!("`{key}`")).join(", ");
        return Err(misread(format!("`{stranger}` is none of {known}")));
    }
    Ok(Request { id, valid_until, wishes })
}

fn wishes(values: Map<String, Json>, id: Option<&Json>) -> Result<Vec<Asked>, Misread> {
    if values.is_empty() {
        let reason = "the request names no point".to_owned();
        return Err(Misread { id: id.cloned(), reason });
    }
    let each = values.into_iter().map(|(point, value)| match wish(&value) {
        Ok(wish) => Ok(Asked { point, wish, bare: None }),
        Err(reason) => Err(Misread { id: id.cloned(), reason: format!("{point}: {reason}") }),
    });
    each.collect()
}

fn wish(json: &Json) -> Result<Wish, String> {
    Ok(match json {
        Json::Null => return Err("there is no value".to_owned()),
        Json::Object(_) => return Err("a value is no JSON object".to_owned()),
        Json::Bool(on) => Wish::Bool(*on),
        Json::String(text) => Wish::Text(text.clone()),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => Wish::Whole(whole.into()),
            (_, Some(whole), _) => Wish::Whole(whole.into()),
            (_, _, Some(float)) if float.is_finite() => Wish::Float(float),
            (_, _, _) => return Err(format!("{number} is too large")),
        },
        Json::Array(values) => Wish::List(values.iter().map(wish).collect::<Result<_, _>>()?),
    })
}

/// A time as RFC 3339 writes it in UTC.
fn time(json: &Json) -> Option<Timestamp> {
    humantime::parse_rfc3339(json.as_str()?).ok().map(Timestamp::from)
}

/// How long a request may wait: until its message expires, at most an hour; otherwise for `default`.
#[must_use]
pub fn patience(expires: Option<Timestamp>, accepted: Timestamp, default: Duration) -> Duration {
    const LONGEST: Duration = Duration::from_secs(3600);
    expires.map_or(default, |expires| expires.since(accepted).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn point(payload: &str) -> Result<Request, Misread> {
        parse(payload.as_bytes(), Some("p"))
    }

    fn value(payload: &str) -> Wish {
        point(payload).expect("it can be read").wishes[0].wish.clone()
    }

    #[test]
    fn topics_name_a_device_and_perhaps_a_point() {
        let place = |topic| Place::of("gw", topic).map(|place| (place.device, place.point));
        assert_eq!(place("gw/boiler/pump/set"), Some(("boiler", Some("pump"))));
        assert_eq!(place("gw/boiler/set"), Some(("boiler", None)));
        assert_eq!(place("other/boiler/set"), None);
        let filters = filters("gw").expect("a topic level");
        for topic in ["gw/boiler/pump/set", "gw/boiler/set"] {
            let topic = crate::model::TopicName::new(topic).expect("a topic");
            assert_eq!(filters.iter().filter(|filter| filter.matches(&topic)).count(), 1);
        }
        let result = crate::model::TopicName::new("gw/boiler/pump/set/result").expect("a topic");
        assert!(!filters.iter().any(|filter| filter.matches(&result)));
    }

    #[test]
    fn a_value_may_stand_alone_or_with_an_id_and_a_time() {
        assert_eq!(value("21.5"), Wish::Float(21.5));
        assert_eq!(value(" true\n"), Wish::Bool(true));
        assert_eq!(value("heating"), Wish::Text("heating".into()));
        assert_eq!(value("\"on\""), Wish::Text("on".into()));
        assert_eq!(value("18446744073709551615"), Wish::Whole(u64::MAX.into()));
        assert_eq!(value("[1, true]"), Wish::List(vec![Wish::Whole(1), Wish::Bool(true)]));
        let told = point(r#"{"value": 3, "id": "a-1", "valid_until": "1970-01-01T00:00:05Z"}"#);
        let told = told.expect("it can be read");
        assert_eq!(told.id, Some(json!("a-1")));
        assert_eq!(told.valid_until, Some(Timestamp::from_unix_ms(5_000)));
        assert_eq!(told.wishes, [Asked { point: "p".into(), wish: Wish::Whole(3), bare: None }]);
        let digits = point("0012").expect("it can be read");
        assert_eq!(digits.wishes[0].bare.as_deref(), Some("0012"));
    }

    #[test]
    fn several_points_of_a_device_stand_in_one_object() {
        let names = |payload: &str| -> Vec<String> {
            let request = parse(payload.as_bytes(), None).expect("it can be read");
            request.wishes.into_iter().map(|asked| asked.point).collect()
        };
        assert_eq!(names(r#"{"pump": true, "setpoint": 55}"#), ["pump", "setpoint"]);
        assert_eq!(names(r#"{"values": {"id": 4}, "id": 7}"#), ["id"]);
    }

    #[test]
    fn what_cannot_be_read_says_why_and_keeps_the_id() {
        let reason = |payload: &str| point(payload).expect_err("it is wrong").reason;
        assert_eq!(reason(""), "the payload is empty");
        assert_eq!(reason("{\"value\": 1"), "the payload is not JSON");
        assert_eq!(reason("null"), "there is no value");
        assert!(reason(r#"{"value": 1, "valeu": 2}"#).starts_with("`valeu` is none of"));
        let misread = point(r#"{"id": 5}"#).expect_err("it is wrong");
        assert_eq!((misread.id, &*misread.reason), (Some(json!(5)), "the request has no `value`"));
        assert!(parse(b"5", None).is_err());
        assert!(parse(b"{}", None).is_err());
        assert!(parse(&[0xff], Some("p")).is_err());
        assert!(parse(&vec![b'1'; 20_000], Some("p")).is_err());
    }

    #[test]
    fn a_message_that_expires_is_waited_for_until_then() {
        let (at, ten) = (Timestamp::from_unix_ms, Duration::from_secs(10));
        assert_eq!(patience(None, at(0), ten), ten);
        assert_eq!(patience(Some(at(3_000)), at(0), ten), Duration::from_secs(3));
        assert_eq!(patience(Some(at(0)), at(3_000), ten), Duration::ZERO);
        assert_eq!(patience(Some(at(u64::MAX)), at(0), ten), Duration::from_secs(3600));
    }
}
