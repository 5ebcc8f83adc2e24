//! core: the address of a broker and a topic in one: `mqtt://user:password@host:port/topic`.

use super::Usage;
use crate::config::Endpoint;
use crate::model::Secret;

/// What `-L` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    /// What stands behind the host; `None` if nothing does.
    pub(super) topic: Option<String>,
}

impl Url {
    /// Reads it. Characters that mean something here are written as `%40`. The password does not show in complaints.
    pub(super) fn parse(text: &str) -> Result<Self, Usage> {
        let wrong = |what: &str| {
            Usage(format!(
                "-L: {what}; write `mqtt://user:password@host:1883/topic`, or `mqtts://` for TLS"
            ))
        };
        let (is_tls, rest) = match text.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            Some(("ws" | "wss", _)) => {
                return Err(wrong("MQTT over WebSocket is not in this version"));
            }
            _ => {
                return Err(wrong("the address begins neither with `mqtt://` nor with `mqtts://`"));
            }
        };
        let (place, topic) =
            rest.split_once('/').map_or((rest, None), |(place, topic)| (place, Some(topic)));
        let (user, place) =
            place.rsplit_once('@').map_or((None, place), |(user, place)| (Some(user), place));
        let (username, password) = match user.map(|user| user.split_once(':').unwrap_or((user, "")))
        {
            Some((name, word)) => (Some(name), (!word.is_empty()).then_some(word)),
            None => (None, None),
        };
        let endpoint = Endpoint::parse(place, if is_tls { 8883 } else { 1883 })
            .map_err(|misread| wrong(&format!("`{place}` {}", misread.message)))?;
        let plain =
            |text: &str| percent_decoded(text).ok_or_else(|| wrong("a `%` begins no character"));
        Ok(Self {
            is_tls,
            host: endpoint.host.to_string(),
            port: endpoint.port,
            username: username.map(plain).transpose()?,
            password: password
                .map(|word| plain(word).map(|word| Secret::new(&word)))
                .transpose()?,
            topic: topic.filter(|topic| !topic.is_empty()).map(plain).transpose()?,
        })
    }
}

/// `%40` becomes `@`; `None` if a `%` is followed by something else, or what comes out is no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_an_address_is_read() {
        let url = Url::parse("mqtts://me:p%40ss:w@[::1]:9883/a/b%23").expect("an address");
        assert_eq!((url.is_tls, &*url.host, url.port), (true, "::1", 9883));
        assert_eq!(url.username.as_deref(), Some("me"));
        assert_eq!(url.password, Some(Secret::new("p@ss:w")));
        assert_eq!(url.topic.as_deref(), Some("a/b#"));
        let bare = Url::parse("mqtt://broker").expect("an address");
        assert_eq!((bare.port, bare.username, bare.topic), (1883, None, None));
    }

    #[test]
    fn a_complaint_about_an_address_keeps_the_password_to_itself() {
        for text in
            ["http://me:secret@x/t", "mqtt://me:secret@x:y/t", "mqtt://me:secret%zz@x/t", "mqtt://"]
        {
            let told = Url::parse(text).expect_err(text).to_string();
            assert!(!told.contains("secret") && told.contains("mqtt://user"), "{told}");
        }
    }
}
