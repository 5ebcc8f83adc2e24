//! core: one listener of a `mosquitto.conf` and what it is in our YAML.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::directive::{Directive, Place};
use super::yaml::{flow_map, quoted};

const PORT: u16 = 1883;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum At {
    /// Every address of the machine.
    #[default]
    Everywhere,
    /// This one.
    Address(IpAddr),
    /// A Unix socket.
    Path(PathBuf),
}

/// What a listener has beside its address.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// Whether clients without a name may enter; `None` if nothing says so.
    pub(super) anonymous: Option<bool>,
    is_websocket: bool,
    only_ipv4: bool,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    requires_certificate: bool,
    certificate_user: bool,
    connections: Option<u32>,
    origins: Vec<String>,
}

/// A listener.
#[derive(Debug, Clone, Default)]
pub(super) struct Listener {
    /// The line that began it; none for the one of the options before all of them.
    pub(super) place: Option<Place>,
    at: At,
    port: Option<u16>,
    pub(super) options: Options,
}

impl Listener {
    /// `listener PORT [ADDRESS | HOST | PATH]`; the error tells what was not taken as it stands.
    pub(super) fn set_address(&mut self, directive: &Directive) -> Result<(), String> {
        self.place = Some(directive.place.clone());
        let (port, rest) =
            directive.value.split_once([' ', '\t']).unwrap_or((&directive.value, ""));
        let host = rest.trim();
        if port == "0" && !host.is_empty() {
            self.at = At::Path(PathBuf::from(host));
            return Ok(());
        }
        self.port =
            Some(port.parse().map_err(|_| format!("`{port}` is no port; {PORT} was taken"))?);
        if host.is_empty() { Ok(()) } else { self.set_host_to(host) }
    }

    /// `port PORT`.
    pub(super) fn set_port(&mut self, directive: &Directive) -> Result<(), String> {
        self.place = Some(directive.place.clone());
        let port = directive.value.parse();
        self.port = Some(port.map_err(|_| format!("this is no port; {PORT} was taken"))?);
        Ok(())
    }

    /// `bind_address ADDRESS | HOST`.
    pub(super) fn set_host(&mut self, directive: &Directive) -> Result<(), String> {
        self.place.get_or_insert_with(|| directive.place.clone());
        self.set_host_to(&directive.value)
    }

    /// This machine alone.
    pub(super) fn set_local(&mut self) {
        self.at = At::Address(Ipv4Addr::LOCALHOST.into());
    }

    fn set_host_to(&mut self, host: &str) -> Result<(), String> {
        self.at = At::Address(if host == "localhost" {
            Ipv4Addr::LOCALHOST.into()
        } else if let Ok(address) = host.parse() {
            address
        } else {
            self.set_local();
            return Err(format!(
                "a listener needs an address, and `{host}` is a name: 127.0.0.1 was taken, write the address that is meant"
            ));
        });
        Ok(())
    }

    /// Sets an option of a listener; `None` if it is none of those that are carried over. `path` is the value as a path.
    pub(super) fn set(
        &mut self,
        directive: &Directive,
        path: PathBuf,
    ) -> Option<Result<(), String>> {
        let value = directive.value.as_str();
        let is_true = value == "true";
        let options = &mut self.options;
        match directive.name.as_str() {
            "protocol" => match value {
                "mqtt" => options.is_websocket = false,
                "websockets" => options.is_websocket = true,
                _ => return Some(Err("a listener speaks `mqtt` or `websockets`".to_owned())),
            },
            "socket_domain" => match value {
                "ipv4" => options.only_ipv4 = true,
                "ipv6" => {
                    return Some(Err(
                        "`[::]` takes IPv4 as well where the system lets it".to_owned()
                    ));
                }
                _ => return Some(Err("this is neither `ipv4` nor `ipv6`".to_owned())),
            },
            "cafile" => options.ca = Some(path),
            "certfile" => options.certificate = Some(path),
            "keyfile" => options.key = Some(path),
            "require_certificate" => options.requires_certificate = is_true,
            "use_identity_as_username" => options.certificate_user = is_true,
            "max_connections" => match value.parse::<i64>() {
                Ok(number) if number < 0 => options.connections = None,
                Ok(number) => {
                    options.connections =
                        Some(u32::try_from(number).unwrap_or(u32::MAX).clamp(1, 1_000_000));
                }
                Err(_) => return Some(Err("this is no number".to_owned())),
            },
            "websockets_origin" => options.origins.push(value.to_owned()),
            _ => return None,
        }
        Some(Ok(()))
    }

    fn is_tls(&self) -> bool {
        self.options.certificate.is_some() && !matches!(self.at, At::Path(_))
    }

    /// Whether clients are asked for a certificate.
    fn client_ca(&self) -> Option<&PathBuf> {
        self.options.ca.as_ref().filter(|_| self.is_tls() && self.options.requires_certificate)
    }

    /// Whether neither a name nor a certificate nor the lack of both opens this listener.
    pub(super) fn lets_nobody_in(&self, has_users: bool) -> bool {
        let by_certificate = self.options.certificate_user && self.client_ca().is_some();
        !has_users && !by_certificate && !self.options.anonymous.unwrap_or(false)
    }

    /// The item of `listeners` it becomes.
    pub(super) fn yaml(&self, client_id_prefix: Option<&str>) -> String {
        let options = &self.options;
        let port = self.port.unwrap_or(PORT);
        let text = |path: &Path| quoted(&path.to_string_lossy());
        let (key, place, is_local) = match &self.at {
            At::Path(path) => ("unix", text(path), true),
            At::Everywhere | At::Address(_) => {
                let address = if let At::Address(address) = self.at {
                    address
                } else if options.only_ipv4 {
                    Ipv4Addr::UNSPECIFIED.into()
                } else {
                    Ipv6Addr::UNSPECIFIED.into()
                };
                let key = match (options.is_websocket, self.is_tls()) {
                    (false, false) => "tcp",
                    (false, true) => "tls",
                    (true, false) => "ws",
                    (true, true) => "wss",
                };
                let place = format!("\"{}\"", SocketAddr::new(address, port));
                (key, place, address.is_loopback())
            }
        };
        let mut pairs = vec![(key, place)];
        if options.anonymous == Some(true) {
            pairs.push(("anonymous", "true".to_owned()));
            if !is_local && self.client_ca().is_none() {
                pairs.push(("anonymous_beyond_loopback", "true".to_owned()));
            }
        }
        if self.is_tls() {
            pairs.extend(options.certificate.as_deref().map(|path| ("certificate", text(path))));
            pairs.extend(options.key.as_deref().map(|path| ("key", text(path))));
            if let Some(ca) = self.client_ca() {
                pairs.push(("client_ca", text(ca)));
                if options.certificate_user {
                    pairs.push(("certificate_user", "true".to_owned()));
                }
            }
        }
        if options.is_websocket && !options.origins.is_empty() {
            let origins: Vec<_> = options.origins.iter().map(|origin| quoted(origin)).collect();
            pairs.push(("origins", format!("[ {} ]", origins.join(", "))));
        }
        pairs.extend(options.connections.map(|count| ("max_connections", count.to_string())));
        pairs.extend(client_id_prefix.map(|prefix| ("client_id_prefix", quoted(prefix))));
        flow_map(pairs)
    }
}
