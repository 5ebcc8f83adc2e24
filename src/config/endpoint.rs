//! core: a host and a port as people write them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use super::quantity::Misread;

/// Where to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host name, IPv4 address, or IPv6 address without its brackets.
    pub(crate) host: Rc<str>,
    /// Port, 1 to 65,535.
    pub(crate) port: u16,
}

impl Endpoint {
    /// Reads `HOST`, `HOST:PORT` or `[IPV6]:PORT`.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Self, Misread> {
        let misread =
            |message: &str, remedy: String| Err(Misread { message: message.to_owned(), remedy });
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let Some((host, port)) = rest.split_once(']') else {
                return misread(
                    "has no closing bracket",
                    format!("write `[2001:db8::1]:{default_port}`"),
                );
            };
            if host.parse::<Ipv6Addr>().is_err() {
                return misread(
                    "has no IPv6 address in its brackets",
                    format!("write `[2001:db8::1]:{default_port}`"),
                );
            }
            match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if port.is_empty() => (host, None),
                None => {
                    return misread(
                        "has something behind the bracket that is no port",
                        format!("write `[{host}]:{default_port}`"),
                    );
                }
            }
        } else if text.parse::<Ipv6Addr>().is_ok() {
            return misread(
                "is an IPv6 address without brackets",
                format!("write `[{text}]:{default_port}`"),
            );
        } else {
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let port = match port {
            None => default_port,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) => {
                match digits.parse() {
                    Ok(port) if port > 0 => port,
                    Ok(_) | Err(_) => {
                        return misread(
                            "has a port that is not 1 to 65535",
                            format!("write `{host}:{default_port}`, or the port of your device"),
                        );
                    }
                }
            }
            Some(_) => {
                return misread(
                    "has a port that is not a number",
                    format!("write `{host}:{default_port}`"),
                );
            }
        };
        if let Some(message) = wrong_host(host) {
            return misread(
                message,
                format!("write a host name or an address: `192.0.2.10:{default_port}`"),
            );
        }
        Ok(Self { host: Rc::from(host), port })
    }

    /// As [`Self::parse`], where there is no usual port and one must be written; `example` is shown.
    pub(crate) fn parse_with_port(text: &str, example: u16) -> Result<Self, Misread> {
        let endpoint = Self::parse(text, example)?;
        let behind_host = text.rsplit_once(']').map_or(text, |(_, rest)| rest);
        if !behind_host.contains(':') {
            return Err(Misread {
                message: "has no port".to_owned(),
                remedy: format!("write the one that is set at the converter: `{text}:{example}`"),
            });
        }
        Ok(endpoint)
    }

    /// Whether it can only be this very machine.
    pub(super) fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || self.host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
    }
}

fn wrong_host(host: &str) -> Option<&'static str> {
    if host.is_empty() {
        return Some("has no host");
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return None;
    }
    let labels: Vec<&str> = host.strip_suffix('.').unwrap_or(host).split('.').collect();
    let is_numeric = labels.iter().all(|label| label.bytes().all(|c| c.is_ascii_digit()));
    if is_numeric {
        return host.parse::<Ipv4Addr>().is_err().then_some("is not a complete IPv4 address");
    }
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    (host.len() > 253 || !labels.iter().all(is_label)).then_some("is not a host name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read_as_people_write_them() {
        for (text, host, port) in [
            ("192.0.2.10", "192.0.2.10", 502),
            ("plc.local:1502", "plc.local", 1502),
            ("[2001:db8::1]", "2001:db8::1", 502),
            ("[::1]:1502", "::1", 1502),
            ("my_plc", "my_plc", 502),
        ] {
            let endpoint = Endpoint::parse(text, 502).expect(text);
            assert_eq!((&*endpoint.host, endpoint.port), (host, port));
        }
        for (text, is_right) in [
            ("converter:23", true),
            ("[::1]:23", true),
            ("converter", false),
            ("[::1]", false),
            ("192.0.2.10", false),
        ] {
            assert_eq!(Endpoint::parse_with_port(text, 4001).is_ok(), is_right, "{text}");
        }
        for text in [
            "",
            ":502",
            "192.0.2.256",
            "192.0.2",
            "2001:db8::1",
            "[2001:db8::1",
            "[x]:1",
            "[::1]x",
            "plc:0",
            "plc:65536",
            "plc:http",
            "plc:",
            "a b",
            "-plc",
            "plc/1",
            "a..b",
        ] {
            assert!(Endpoint::parse(text, 502).is_err(), "{text}");
        }
    }
}
