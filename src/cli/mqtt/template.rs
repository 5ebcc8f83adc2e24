//! core: the format strings of `mosquitto_sub -F`: `%t %p`, widths, escapes.

use std::iter::Peekable;
use std::str::Chars;
use std::time::{SystemTime, UNIX_EPOCH};

use super::text::mosquitto_json;
use crate::model::TopicName;
use crate::mqtt::Publish;

/// What a format string may hold, for a complaint and for the help.
pub(super) const KNOWN: &str = "%% %A %C %D %E %F %I %J %j %l %m %P %p %q %R %r %S %t %U %x %X";

/// A format string that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

/// Why a format string is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("`%{letter}` in the format means nothing; known are {KNOWN}")]
    Unknown { letter: String },
    #[error(
        "`@{letter}` in the format is not in this version; write %I or %U for the time, @@ for an @"
    )]
    Time { letter: String },
    #[error("`\\{letter}` in the format means nothing; known are \\\\ \\0 \\a \\e \\n \\r \\t \\v")]
    Escape { letter: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Field(Field),
}

/// `%-010.20t`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    letter: char,
    left: bool,
    zeros: bool,
    width: usize,
    most: Option<usize>,
}

impl Template {
    /// Reads a format string.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '%' => match Field::parse(&mut chars)? {
                    Field { letter: '%', .. } => plain.push(b'%'),
                    field => {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                        parts.push(Part::Field(field));
                    }
                },
                '@' => match chars.next() {
                    Some('@') => plain.push(b'@'),
                    other => {
                        let letter = other.map(String::from).unwrap_or_default();
                        return Err(TemplateError::Time { letter });
                    }
                },
                '\\' => plain.push(escape(chars.next())?),
                other => plain.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    /// Appends a message that came at `now`; an error, with nothing appended, if `%J` meets a payload that is no JSON.
    pub(super) fn write(
        &self,
        publish: &Publish,
        now: SystemTime,
        out: &mut Vec<u8>,
    ) -> Result<(), ()> {
        let begin = out.len();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Field(field) => {
                    let Some(value) = value(field.letter, publish, now) else {
                        out.truncate(begin);
                        return Err(());
                    };
                    field.write(&value, out);
                }
            }
        }
        Ok(())
    }
}

fn escape(letter: Option<char>) -> Result<u8, TemplateError> {
    Ok(match letter {
        Some('\\') => b'\\',
        Some('0') => 0,
        Some('a') => 0x07,
        Some('e') => 0x1b,
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        Some('v') => 0x0b,
        other => {
            let letter = other.map(String::from).unwrap_or_default();
            return Err(TemplateError::Escape { letter });
        }
    })
}

impl Field {
    /// Reads what follows a `%`.
    fn parse(chars: &mut Peekable<Chars<'_>>) -> Result<Self, TemplateError> {
        let mut field = Self { letter: '%', left: false, zeros: false, width: 0, most: None };
        let mut seen = String::new();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0')) {
            seen.push(flag);
            field.left |= flag == '-';
            field.zeros |= flag == '0';
        }
        field.width = digits(chars, &mut seen).unwrap_or(0);
        if let Some(point) = chars.next_if_eq(&'.') {
            seen.push(point);
            field.most = Some(digits(chars, &mut seen).unwrap_or(0));
        }
        let is_bare = seen.is_empty();
        let letter = chars.next();
        seen.extend(letter);
        match letter {
            Some('%') if is_bare => Ok(field),
            Some(letter) if letter != '%' && is_known(letter) => Ok(Self { letter, ..field }),
            _ => Err(TemplateError::Unknown { letter: seen }),
        }
    }

    fn write(&self, value: &[u8], out: &mut Vec<u8>) {
        let value = self.most.and_then(|most| value.get(..most)).unwrap_or(value);
        let missing = self.width.saturating_sub(value.len());
        let is_number = matches!(self.letter, 'A' | 'E' | 'F' | 'l' | 'm' | 'S' | 'x' | 'X');
        let pad = if self.zeros && is_number && !self.left { b'0' } else { b' ' };
        if !self.left {
            out.extend(std::iter::repeat_n(pad, missing));
        }
        out.extend_from_slice(value);
        if self.left {
            out.extend(std::iter::repeat_n(b' ', missing));
        }
    }
}

fn is_known(letter: char) -> bool {
    KNOWN.split(' ').any(|known| known.chars().eq(['%', letter]))
}

/// At most four digits: more would be a slip.
fn digits(chars: &mut Peekable<Chars<'_>>, seen: &mut String) -> Option<usize> {
    let begin = seen.len();
    while seen.len() < begin + 4
        && let Some(digit) = chars.next_if(char::is_ascii_digit)
    {
        seen.push(digit);
    }
    seen.get(begin..)?.parse().ok()
}

/// What a letter stands for; `None` if it is `J` and the payload is no JSON.
fn value(letter: char, publish: &Publish, now: SystemTime) -> Option<Vec<u8>> {
    let properties = publish.properties.as_deref();
    let or_nothing = |text: Option<&str>| text.unwrap_or_default().as_bytes().to_vec();
    let number = |value: Option<u32>| value.map(|v| v.to_string()).unwrap_or_default().into_bytes();
    let now = now.max(UNIX_EPOCH);
    Some(match letter {
        'A' => number(publish.topic_alias.map(|alias| alias.get().into())),
        'C' => or_nothing(properties.and_then(|p| p.content_type.as_deref())),
        'D' => properties.and_then(|p| p.correlation_data.as_deref()).unwrap_or_default().to_vec(),
        'E' => number(publish.message_expiry),
        'F' => number(properties.and_then(|p| p.payload_is_utf8).map(u32::from)),
        'I' => {
            let time = humantime::format_rfc3339_seconds(now).to_string();
            time.replace('Z', "+0000").into_bytes()
        }
        'J' => {
            let text = std::str::from_utf8(&publish.payload).ok()?;
            serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
            mosquitto_json(publish, now, text).into_bytes()
        }
        'j' => {
            let text = String::from_utf8_lossy(&publish.payload);
            let payload = serde_json::to_string(&text).unwrap_or_default();
            mosquitto_json(publish, now, &payload).into_bytes()
        }
        'l' => publish.payload.len().to_string().into_bytes(),
        'm' => publish.packet_id.map_or(0, |id| id.get()).to_string().into_bytes(),
        'P' => {
            let pairs = properties.map(|p| p.user_properties.as_slice()).unwrap_or_default();
            let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}:{v}")).collect();
            pairs.join(" ").into_bytes()
        }
        'p' => publish.payload.to_vec(),
        'q' => publish.qos.to_string().into_bytes(),
        'R' => or_nothing(properties.and_then(|p| Some(p.response_topic.as_ref()?.as_str()))),
        'r' => u8::from(publish.retain).to_string().into_bytes(),
        'S' => {
            let ids: Vec<String> = publish.subscription_ids.iter().map(u32::to_string).collect();
            ids.join(" ").into_bytes()
        }
        't' => or_nothing(publish.topic.as_ref().map(TopicName::as_str)),
        'U' => {
            let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("{}.{:09}", since.as_secs(), since.subsec_nanos()).into_bytes()
        }
        'X' => hex(&publish.payload, b"0123456789ABCDEF"),
        // `parse` lets nothing else through but `x`.
        _ => hex(&publish.payload, b"0123456789abcdef"),
    })
}

fn hex(bytes: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let digit = |at: u8| digits.get(usize::from(at)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::model::QoS;

    fn publish(payload: &'static [u8]) -> Publish {
        Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: true,
            topic: TopicName::new("site/pump").ok(),
            packet_id: crate::mqtt::PacketId::new(7),
            payload: Bytes::from_static(payload),
            properties: None,
            message_expiry: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
        }
    }

    fn printed(format: &str, payload: &'static [u8]) -> String {
        let mut out = Vec::new();
        let now = UNIX_EPOCH + Duration::from_millis(1_795_230_600_123);
        let template = Template::parse(format).expect(format);
        template.write(&publish(payload), now, &mut out).expect("it can be printed");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn fields_are_padded_cut_and_escaped_as_mosquitto_sub_does() {
        assert_eq!(printed("%t %p %q %r %l %m%%", b"on"), "site/pump on 1 1 2 7%");
        assert_eq!(printed("[%12t|%-12t|%.4t]", b""), "[   site/pump|site/pump   |site]");
        assert_eq!(printed("%04l\\t%X\\n@@", b"\xab\x01"), "0002\tAB01\n@");
        assert_eq!(printed("%I %U", b""), "2026-11-21T03:10:00+0000 1795230600.123000000");
        assert_eq!(
            printed("%j", b"a\"b"),
            "{\"tst\":\"2026-11-21T03:10:00.123000Z\",\"topic\":\"site/pump\",\"qos\":1,\"retain\":1,\
             \"payloadlen\":3,\"mid\":7,\"payload\":\"a\\\"b\"}"
        );
        assert!(printed("%J", b"{\"a\": 1}").ends_with("\"payload\":{\"a\": 1}}"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for format in ["%z", "%", "%5", "%-%", "@Y", "\\q", "\\", "%99999t", "% t"] {
            assert!(Template::parse(format).is_err(), "{format}");
        }
        let template = Template::parse("x%J").expect("known");
        let mut out = b"kept".to_vec();
        assert!(template.write(&publish(b"no json"), UNIX_EPOCH, &mut out).is_err());
        assert_eq!(out, b"kept");
    }
}
