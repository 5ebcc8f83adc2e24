//! core: the HTTP request a WebSocket begins with, and its answer. RFC 6455 section 4.2, MQTT 5.0 section 6.

use std::net::IpAddr;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::settings::Origins;

/// The longest head of a request that is read, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header lines a request may have.
const HEADERS_MAX: usize = 64;
/// The subprotocols that mean MQTT, the better first: that of 3.1.1 and 5.0, and what 3.1 used.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

const WHAT_THIS_IS: &str = "This port speaks MQTT over WebSocket, not to browsers and other HTTP clients. \
    Connect an MQTT client to it, with the WebSocket subprotocol `mqtt`.";

/// What the bytes so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// More must come.
    Incomplete,
    /// A WebSocket for MQTT: answer so. What follows the first `head_bytes` is its first frames.
    Accepted {
        /// The answer.
        answer: String,
        /// Bytes of the request.
        head_bytes: usize,
    },
    /// Anything else: answer so and close.
    Refused {
        /// The answer.
        answer: String,
        /// For the log.
        why: String,
    },
}

/// Judges the bytes a client has sent so far.
pub(super) fn judge(bytes: &[u8], origins: &Origins) -> Upgrade {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(head_bytes)) => {
            let head = Head { headers: request.headers };
            match answer(request.method.unwrap_or_default(), &head, origins) {
                Ok(answer) => Upgrade::Accepted { answer, head_bytes },
                Err(refusal) => refusal.into(),
            }
        }
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Upgrade::Incomplete,
        Ok(httparse::Status::Partial) => {
            refused("431 Request Header Fields Too Large", "its HTTP request is too long").into()
        }
        Err(cause) => Refusal {
            status: "400 Bad Request",
            extra: "",
            text: WHAT_THIS_IS.to_owned(),
            why: format!("it sent no HTTP request ({cause})"),
        }
        .into(),
    }
}

fn answer(method: &str, head: &Head<'_, '_>, origins: &Origins) -> Result<String, Refusal> {
    if method != "GET"
        || !head.has_word("upgrade", "websocket")
        || !head.has_word("connection", "upgrade")
    {
        return Err(Refusal {
            status: "426 Upgrade Required",
            extra: "Upgrade: websocket\r\n",
            text: WHAT_THIS_IS.to_owned(),
            why: "an HTTP client that asks for no WebSocket".to_owned(),
        });
    }
    if head.one("sec-websocket-version") != Some("13") {
        let mut refusal = refused("426 Upgrade Required", "its WebSocket version is not 13");
        refusal.extra = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        return Err(refusal);
    }
    let Some(key) = head.one("sec-websocket-key").filter(|key| is_key(key)) else {
        return Err(refused("400 Bad Request", "its Sec-WebSocket-Key is missing or wrong"));
    };
    check_origin(head, origins)?;
    // [MQTT-6.0.0-3]: the client must offer it.
    let offered = |name: &&&str| head.words("sec-websocket-protocol").any(|word| word == **name);
    let Some(subprotocol) = SUBPROTOCOLS.iter().find(offered) else {
        let why = "it offers neither of the WebSocket subprotocols `mqtt` and `mqttv3.1`";
        return Err(refused("400 Bad Request", why));
    };
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    ))
}

/// 16 bytes in base64.
fn is_key(key: &str) -> bool {
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    key.len() == 24 && key.strip_suffix("==").is_some_and(|digits| digits.chars().all(base64))
}

fn check_origin(head: &Head<'_, '_>, origins: &Origins) -> Result<(), Refusal> {
    if !head.has("origin") {
        return Ok(());
    }
    // Two of them, or one that is no text, are nobody's.
    let origin = head.one("origin").unwrap_or_default();
    let allowed = match origins {
        Origins::Any => true,
        Origins::These(these) => these.iter().any(|known| origin.eq_ignore_ascii_case(known)),
        Origins::SameHost => {
            let theirs = origin.split_once("://").map(|(_, rest)| host(rest));
            let dialled = head.one("host").map(host);
            match (theirs, dialled) {
                (Some(theirs), Some(dialled)) => {
                    // A name which somebody's DNS lets point here must not count as this machine.
                    theirs.eq_ignore_ascii_case(dialled)
                        && (is_address(dialled) || !dialled.contains('.'))
                        || is_this_machine(theirs) && is_this_machine(dialled)
                }
                _ => false,
            }
        }
    };
    if allowed {
        return Ok(());
    }
    // The origin is foreign text in a log: no more of it than can be read.
    let shown: String = origin.chars().filter(|c| c.is_ascii_graphic()).take(100).collect();
    let why = format!("pages of `{shown}` are not among the listener's `origins`");
    Err(Refusal { status: "403 Forbidden", extra: "", text: format!("Refused: {why}."), why })
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(text: &str) -> &str {
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => text.split(':').next().unwrap_or(text),
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The header lines of a request.
struct Head<'h, 'b> {
    headers: &'h [httparse::Header<'b>],
}

impl<'b> Head<'_, 'b> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'b str> {
        let lines =
            self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        lines.filter_map(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name))
    }

    /// The value of a header that may be there once.
    fn one(&self, name: &str) -> Option<&'b str> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// The words of a header that is a list, or several.
    fn words(&self, name: &str) -> impl Iterator<Item = &'b str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim)
    }

    fn has_word(&self, name: &str, word: &str) -> bool {
        self.words(name).any(|found| found.eq_ignore_ascii_case(word))
    }
}

struct Refusal {
    status: &'static str,
    /// Header lines.
    extra: &'static str,
    text: String,
    why: String,
}

fn refused(status: &'static str, why: &str) -> Refusal {
    Refusal {
        status,
        extra: "",
        text: format!("Refused: {why}.\n{WHAT_THIS_IS}"),
        why: why.to_owned(),
    }
}

impl From<Refusal> for Upgrade {
    fn from(Refusal { status, extra, text, why }: Refusal) -> Self {
        let length = text.len() + 1;
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
             {extra}Connection: close\r\n\r\n{text}\n"
        );
        Self::Refused { answer, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&str]) -> Vec<u8> {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        format!("GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n{lines}\r\n").into_bytes()
    }

    const USUAL: [&str; 4] = [
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];

    fn with(more: &[&str]) -> Vec<u8> {
        request(&[&USUAL[..], more].concat())
    }

    #[track_caller]
    fn status(bytes: &[u8], origins: &Origins) -> String {
        match judge(bytes, origins) {
            Upgrade::Accepted { answer, .. } | Upgrade::Refused { answer, .. } => {
                answer.lines().next().expect("a status").to_owned()
            }
            Upgrade::Incomplete => panic!("incomplete"),
        }
    }

    #[test]
    fn a_websocket_for_mqtt_is_accepted_as_the_rfc_shows_it() {
        let bytes = with(&["Sec-WebSocket-Protocol: mqttv3.1, mqtt"]);
        let Upgrade::Accepted { answer, head_bytes } =
            judge(&[&bytes[..], b"\x82\x80"].concat(), &Origins::Any)
        else {
            panic!("accepted")
        };
        assert_eq!(head_bytes, bytes.len());
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        // The example of RFC 6455 section 1.3.
        assert!(
            answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with("\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"), "{answer}");
        let old = with(&["Sec-WebSocket-Protocol: mqttv3.1"]);
        assert!(matches!(judge(&old, &Origins::Any), Upgrade::Accepted { answer, .. }
            if answer.contains("Protocol: mqttv3.1\r\n")));
    }

    #[test]
    fn half_a_request_waits_for_the_rest_and_no_longer_than_its_bound() {
        let bytes = with(&["Sec-WebSocket-Protocol: mqtt"]);
        for end in 0..bytes.len() {
            assert_eq!(judge(&bytes[..end], &Origins::Any), Upgrade::Incomplete, "{end}");
        }
        let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; HEAD_BYTES_MAX]].concat();
        assert!(status(&long, &Origins::Any).contains(" 431 "));
    }

    #[test]
    fn what_is_no_websocket_for_mqtt_is_told_what_this_port_is() {
        for (bytes, expected) in [
            (request(&[]), " 426 "),
            (with(&[]), " 400 "),
            (with(&["Sec-WebSocket-Protocol: chat, MQTT"]), " 400 "),
            (request(&[&USUAL[..2], &["Sec-WebSocket-Protocol: mqtt"]].concat()), " 426 "),
            (request(&[&USUAL[..3], &["Sec-WebSocket-Key: short"]].concat()), " 400 "),
            (
                with(&[
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                    "Sec-WebSocket-Protocol: mqtt",
                ]),
                " 400 ",
            ),
            (
                b"POST / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".to_vec(),
                " 426 ",
            ),
            (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a".to_vec(), " 400 "),
        ] {
            assert!(status(&bytes, &Origins::Any).contains(expected), "{bytes:?}");
            let Upgrade::Refused { answer, .. } = judge(&bytes, &Origins::Any) else {
                panic!("refused")
            };
            let (head, text) = answer.split_once("\r\n\r\n").expect("head and text");
            assert!(text.contains("MQTT over WebSocket"), "{text}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", text.len())), "{head}");
        }
    }

    #[test]
    fn a_browser_may_connect_from_the_pages_that_are_allowed() {
        let from = |host: &str, origin: &str, origins: &Origins| {
            let text = String::from_utf8(with(&[
                "Sec-WebSocket-Protocol: mqtt",
                &format!("Origin: {origin}"),
            ]));
            let text = text.expect("text").replace("127.0.0.1:9001", host);
            status(text.as_bytes(), origins).contains(" 101 ")
        };
        let same = Origins::SameHost;
        assert!(from("127.0.0.1:9001", "http://127.0.0.1:8080", &same));
        assert!(from("127.0.0.1:9001", "http://localhost:8080", &same));
        assert!(from("[::1]:9001", "http://[::1]", &same));
        assert!(from("192.0.2.7:9001", "https://192.0.2.7", &same));
        assert!(from("gateway:9001", "https://gateway", &same));
        assert!(!from("127.0.0.1:9001", "https://evil.example", &same));
        assert!(!from("127.0.0.1:9001", "null", &same));
        assert!(
            !from("evil.example:9001", "http://evil.example:9001", &same),
            "a name that was let point here"
        );
        let these = Origins::These(vec!["https://dashboard.example".into()]);
        assert!(from("gateway:9001", "https://dashboard.example", &these));
        assert!(!from("gateway:9001", "https://dashboard.example.evil", &these));
        assert!(from("gateway:9001", "https://evil.example", &Origins::Any));
        for twice in ["127.0.0.1\r\nOrigin: http://127.0.0.1", "evil.example\r\nOrigin: null"] {
            assert!(!from("127.0.0.1:9001", &format!("http://{twice}"), &same), "{twice}");
        }
        let no_browser = with(&["Sec-WebSocket-Protocol: mqtt"]);
        assert!(status(&no_browser, &same).contains(" 101 "));
    }
}
