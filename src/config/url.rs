//! core: the address of a broker as written: `mqtt://host:1883` or `mqtts://host:8883`.

use std::rc::Rc;

use super::endpoint::Endpoint;
use super::notes::{At, Notes};

pub(super) const EXAMPLE: &str =
    "write `mqtts://broker.example.com:8883`, or `mqtt://…:1883` without TLS";

/// Where a broker is and whether TLS leads there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) endpoint: Endpoint,
    pub(super) is_tls: bool,
}

/// Reads the address of a broker.
pub(super) fn read(text: &At<Rc<str>>, notes: &mut Notes<'_>) -> Option<At<Url>> {
    let spot = &text.spot;
    let shown = notes.shown(spot);
    let Some((scheme, rest)) = text.value.trim().split_once("://") else {
        let message = format!("`{shown}` does not begin with `mqtt://` or `mqtts://`");
        notes.error(spot, message, EXAMPLE);
        return None;
    };
    let (is_tls, port) = match scheme.to_lowercase().as_str() {
        "mqtt" => (false, 1_883),
        "mqtts" => (true, 8_883),
        "ws" | "wss" => {
            let message = format!("MQTT over WebSocket (`{scheme}://`) is not in this version");
            notes.error(spot, message, EXAMPLE);
            return None;
        }
        other => {
            let remedy = match other {
                "tcp" => "write `mqtt://`",
                "ssl" | "tls" => "write `mqtts://`",
                _ => EXAMPLE,
            };
            notes.error(spot, "a broker is reached by `mqtt://` or `mqtts://`", remedy);
            return None;
        }
    };
    if rest.contains('@') {
        let message = "the user and password do not belong into the address";
        let remedy = "write `username: NAME` and `password: { credential: NAME }` beside `url`";
        notes.error(spot, message, remedy);
        return None;
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?']) {
        let message = format!("`{shown}` has a path behind the host, and MQTT has none");
        notes.error(spot, message, EXAMPLE);
        return None;
    }
    match Endpoint::parse(rest, port) {
        Ok(endpoint) => Some(At { value: Url { endpoint, is_tls }, spot: spot.clone() }),
        Err(misread) => {
            notes.error(spot, format!("`{shown}` {}", misread.message), misread.remedy);
            None
        }
    }
}
