//! core: one listener of the broker as written, and what it is run with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::fields::{Field, Fields, alternatives};
use super::notes::{At, Given, Notes, Spot};
use super::uplink::{absolute_path, mqtt_string};
use crate::broker::{
    ClientCa, Limits, ListenAt, ListenerRules, ListenerSettings, ListenerTls, Origins,
    WebSocketSettings,
};

pub(super) const EXAMPLE: &str = "write `{ tcp: 127.0.0.1:1883, anonymous: true }`";
const ADDRESS_EXAMPLE: &str = "write an address of this machine and a port: `127.0.0.1:1883`";
const PEM_EXAMPLE: &str = "write the whole path of a PEM file: `/etc/fieldpost/broker.pem`";
const SOCKET_EXAMPLE: &str = "write a path such as `/run/fieldpost/mqtt.sock`";
const MODE_EXAMPLE: &str = "write who may connect as `chmod` does: `0660`";
const MODE_DEFAULT: u32 = 0o660;
const ORIGINS_EXAMPLE: &str =
    "write `any`, `same-host`, or a list such as `[ \"https://dashboard.example.com\" ]`";

/// The kinds of listener, each with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Tls,
    Ws,
    Wss,
    Unix,
}

const KINDS: [(&str, Kind); 5] = [
    ("tcp", Kind::Tcp),
    ("tls", Kind::Tls),
    ("ws", Kind::Ws),
    ("wss", Kind::Wss),
    ("unix", Kind::Unix),
];

impl Kind {
    fn key(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(key, _)| key)
    }
}

/// Where it listens, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Address(SocketAddr),
    Path(Rc<str>),
}

/// A listener as written.
#[derive(Debug)]
pub(super) struct Listener {
    head: Spot,
    /// Every kind whose key is there, with its place.
    places: Vec<(Kind, Spot, Given<Place>)>,
    anonymous: Given<bool>,
    anonymous_beyond_loopback: Given<bool>,
    certificate: Given<Rc<str>>,
    key: Given<Rc<str>>,
    client_ca: Given<Rc<str>>,
    certificate_required: Given<bool>,
    certificate_user: Given<bool>,
    origins: Given<Origins>,
    mode: Given<u32>,
    max_connections: Given<u32>,
    client_id_prefix: Given<Rc<str>>,
}

impl Listener {
    pub(super) fn read(mut fields: Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let head = fields.head();
        let mut places = Vec::new();
        for (key, kind) in KINDS {
            let Some(field) = fields.take(key) else { continue };
            let place =
                if kind == Kind::Unix { path(&field, notes) } else { address(&field, notes) };
            places.push((kind, field.key_spot, place.map_or(Given::Wrong, Given::Value)));
        }
        let pem =
            |field: &Field<'_>, notes: &mut Notes<'_>| absolute_path(field, PEM_EXAMPLE, notes);
        let listener = Self {
            head,
            places,
            anonymous: fields.given("anonymous", notes, yes_or_no),
            anonymous_beyond_loopback: fields.given("anonymous_beyond_loopback", notes, yes_or_no),
            certificate: fields.given("certificate", notes, pem),
            key: fields.given("key", notes, pem),
            client_ca: fields.given("client_ca", notes, pem),
            certificate_required: fields.given("client_certificate", notes, |field, notes| {
                field.choice(&[("required", true), ("optional", false)], &[], notes)
            }),
            certificate_user: fields.given("certificate_user", notes, yes_or_no),
            origins: fields.given("origins", notes, origins),
            mode: fields.given("mode", notes, mode),
            max_connections: fields.given("max_connections", notes, |field, notes| {
                field.integer(1..=1_000_000, "100 is a good deal for one site", notes)
            }),
            client_id_prefix: fields.given("client_id_prefix", notes, mqtt_string),
        };
        let instead = [
            ("address", "tcp"),
            ("port", "tcp"),
            ("socket", "unix"),
            ("path", "unix"),
            ("websocket", "ws"),
            ("cert", "certificate"),
            ("certfile", "certificate"),
            ("keyfile", "key"),
            ("ca", "client_ca"),
            ("cafile", "client_ca"),
            ("require_certificate", "client_certificate"),
            ("use_identity_as_username", "certificate_user"),
            ("allow_anonymous", "anonymous"),
            ("clientid_prefix", "client_id_prefix"),
        ];
        fields.finish(&[], &instead, notes);
        listener
    }

    /// What it is run with, and the spot of its place; `None` only together with an error in `notes`. `has_users` if there
    /// are users who could log in.
    pub(super) fn settle(
        &self,
        limits: Limits,
        has_users: bool,
        notes: &mut Notes<'_>,
    ) -> Option<At<ListenerSettings>> {
        let (kind, key_spot, place) = match &self.places[..] {
            [] => {
                let kinds = alternatives(&KINDS.map(|(key, _)| key));
                notes.error(&self.head, format!("this listener has no {kinds}"), EXAMPLE);
                return None;
            }
            [one] => one,
            [_, (_, spot, _), ..] => {
                let message = "a listener is of one kind, and here are several";
                notes.error(spot, message, "write each as a listener of its own");
                return None;
            }
        };
        let tls = self.settle_tls(*kind, key_spot, notes);
        self.check_strays(*kind, notes);
        let place = place.written()?;
        let settings = ListenerSettings {
            at: match &place.value {
                Place::Address(address) => ListenAt::Address(*address),
                Place::Path(path) => ListenAt::Path {
                    path: PathBuf::from(&**path),
                    mode: self.mode.or(MODE_DEFAULT),
                },
            },
            tls,
            websocket: matches!(kind, Kind::Ws | Kind::Wss).then(|| WebSocketSettings {
                // A password is what keeps foreign pages out; where none is asked for, the origin must.
                origins: self.origins.or(if self.anonymous.or(false) {
                    Origins::SameHost
                } else {
                    Origins::Any
                }),
            }),
            rules: ListenerRules {
                anonymous: self.anonymous.or(false),
                certificate_user: self.certificate_user.or(false),
                client_id_prefix: self.client_id_prefix.written().map(|at| Arc::from(&*at.value)),
                connections_max: self.max_connections.written().map(|at| at.value),
                limits,
            },
        };
        let settings = At { value: settings, spot: place.spot.clone() };
        self.check_who_may(&settings, has_users, notes);
        Some(settings)
    }

    fn settle_tls(&self, kind: Kind, spot: &Spot, notes: &mut Notes<'_>) -> Option<ListenerTls> {
        if !matches!(kind, Kind::Tls | Kind::Wss) {
            return None;
        }
        for (key, given) in [("certificate", &self.certificate), ("key", &self.key)] {
            if given.is_absent() {
                let message = format!("`{}` needs a `{key}`", kind.key());
                let remedy = format!("add `{key}: /PATH/TO/{}.pem`", key.to_uppercase());
                notes.error(spot, message, remedy);
            }
        }
        if self.client_ca.is_absent() {
            let written = [
                ("client_certificate", self.certificate_required.written().map(|at| &at.spot)),
                ("certificate_user", self.certificate_user.written().map(|at| &at.spot)),
            ];
            for (key, spot) in written {
                if let Some(spot) = spot {
                    let message =
                        format!("`{key}` needs a `client_ca`: nobody is asked for a certificate");
                    notes.error(spot, message, "add `client_ca: /PATH/TO/CA.pem`, or remove it");
                }
            }
        }
        let path = |at: &At<Rc<str>>| PathBuf::from(&*at.value);
        let required = self.certificate_required.or(true);
        let client_ca = self.client_ca.written().map(|at| ClientCa { path: path(at), required });
        Some(ListenerTls {
            certificate: self.certificate.written().map(path)?,
            key: self.key.written().map(path)?,
            client_ca,
        })
    }

    /// Keys of another kind of listener.
    fn check_strays(&self, kind: Kind, notes: &mut Notes<'_>) {
        let is_tls = matches!(kind, Kind::Tls | Kind::Wss);
        let is_web = matches!(kind, Kind::Ws | Kind::Wss);
        let spot = |given: &Given<Rc<str>>| given.written().map(|at| at.spot.clone());
        let flag = |given: &Given<bool>| given.written().map(|at| at.spot.clone());
        let tls = "`tls` and `wss`";
        let strays = [
            ("certificate", spot(&self.certificate), is_tls, tls),
            ("key", spot(&self.key), is_tls, tls),
            ("client_ca", spot(&self.client_ca), is_tls, tls),
            ("client_certificate", flag(&self.certificate_required), is_tls, tls),
            ("certificate_user", flag(&self.certificate_user), is_tls, tls),
            ("origins", self.origins.written().map(|at| at.spot.clone()), is_web, "`ws` and `wss`"),
            ("mode", self.mode.written().map(|at| at.spot.clone()), kind == Kind::Unix, "`unix`"),
        ];
        for (key, spot, belongs, to) in strays {
            if let Some(spot) = spot.filter(|_| !belongs) {
                let message =
                    format!("`{key}` belongs to {to}, and this listener is `{}`", kind.key());
                notes.error(&spot, message, "remove it, or change the kind of the listener");
            }
        }
    }

    fn check_who_may(&self, at: &At<ListenerSettings>, has_users: bool, notes: &mut Notes<'_>) {
        let settings = &at.value;
        let place = match &settings.at {
            ListenAt::Address(address) => address.to_string(),
            ListenAt::Path { path, .. } => path.display().to_string(),
        };
        let anonymous = self.anonymous.or(false);
        let by_certificate = settings.rules.certificate_user && settings.tls.is_some();
        let is_known = !matches!(self.anonymous, Given::Wrong);
        let beyond = settings.is_beyond_loopback();
        if is_known && !anonymous && !has_users && !by_certificate {
            let message = "this listener lets nobody in: the broker has no `users`, and it is not `anonymous`";
            let remedy = if beyond {
                "add `users: { file: /etc/fieldpost/passwd }` to `broker`, or `client_ca` and `certificate_user: true` to a \
                 `tls` listener"
            } else {
                "add `users: { file: /etc/fieldpost/passwd }` to `broker`, or `anonymous: true` here if all of this machine may"
            };
            let spot = self.anonymous.written().map_or(&self.head, |at| &at.spot);
            notes.error(spot, message, remedy);
        }
        let twice = self.anonymous_beyond_loopback.or(false);
        if anonymous && beyond && !twice && !settings.requires_certificate() {
            let message = format!("everybody who can reach `{place}` could connect without a name");
            let port = place.rsplit(':').next().unwrap_or_default();
            let remedy = format!(
                "write `127.0.0.1:{port}`, or add `anonymous_beyond_loopback: true` if that is meant"
            );
            notes.error(&at.spot, message, remedy);
        }
        if let Some(twice) =
            self.anonymous_beyond_loopback.written().filter(|at| at.value && !anonymous)
        {
            let message = "`anonymous_beyond_loopback` opens nothing without `anonymous: true`";
            notes.error(
                &twice.spot,
                message,
                "add `anonymous: true` if everybody may, or remove it",
            );
        }
        if has_users && beyond && settings.tls.is_none() {
            let message =
                format!("passwords sent to `{place}` can be read by everybody on the way");
            let key = if settings.websocket.is_some() { "wss" } else { "tls" };
            notes.warning(
                &at.spot,
                message,
                format!("write `{key}` with a `certificate` and a `key`"),
            );
        }
    }

    /// Whether two cannot be listened on at once.
    pub(super) fn collide(one: &ListenAt, other: &ListenAt) -> bool {
        match (one, other) {
            (ListenAt::Address(one), ListenAt::Address(other)) => {
                let (a, b) = (one.ip(), other.ip());
                let same = a == b
                    || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified());
                same && one.port() == other.port() && one.port() != 0
            }
            (ListenAt::Path { path: one, .. }, ListenAt::Path { path: other, .. }) => one == other,
            (ListenAt::Address(_), ListenAt::Path { .. })
            | (ListenAt::Path { .. }, ListenAt::Address(_)) => false,
        }
    }
}

fn yes_or_no(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<bool>> {
    field.choice(&[("true", true), ("false", false)], &[], notes)
}

fn address(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Place>> {
    let At { value, spot } = field.text(ADDRESS_EXAMPLE, notes)?;
    if let Ok(address) = value.trim().parse() {
        return Some(At { value: Place::Address(address), spot });
    }
    let message = format!("`{}` is not an address with a port", notes.shown(&spot));
    notes.error(&spot, message, ADDRESS_EXAMPLE);
    None
}

fn path(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Place>> {
    /// What the system takes, less the name it gets while it is made (`sun_path`, unix(7)).
    const BYTES_MAX: usize = 103;
    let At { value, spot } = absolute_path(field, SOCKET_EXAMPLE, notes)?;
    if value.len() > BYTES_MAX {
        let message = format!(
            "`unix` has {} bytes, and the path of a socket has at most {BYTES_MAX}",
            value.len()
        );
        notes.error(&spot, message, SOCKET_EXAMPLE);
        return None;
    }
    Some(At { value: Place::Path(value), spot })
}

fn mode(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<u32>> {
    let At { value, spot } = field.text(MODE_EXAMPLE, notes)?;
    let digits = value.strip_prefix("0o").unwrap_or(&value);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if digits.len() <= 4 && mode <= 0o777 => Some(At { value: mode, spot }),
        Ok(_) | Err(_) => {
            let message = format!("`mode: {}` is not a file's mode", notes.shown(&spot));
            notes.error(&spot, message, MODE_EXAMPLE);
            None
        }
    }
}

fn origins(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Origins>> {
    if !field.is_list() {
        return field.text(ORIGINS_EXAMPLE, notes).and_then(|text| match &*text.value {
            "any" => Some(At { value: Origins::Any, spot: text.spot }),
            "same-host" => Some(At { value: Origins::SameHost, spot: text.spot }),
            _ => {
                let message = format!("`origins` cannot be `{}`", notes.shown(&text.spot));
                notes.error(&text.spot, message, ORIGINS_EXAMPLE);
                None
            }
        });
    }
    let mut these = Vec::new();
    for At { value, spot } in field.texts(ORIGINS_EXAMPLE, notes)? {
        let host = value.split_once("://").map(|(_, host)| host);
        if host.is_none_or(|host| host.is_empty() || host.contains(['/', ' ', '*', '?'])) {
            let message = format!("`{}` is not an origin", notes.shown(&spot));
            let remedy = "write the beginning of the page's address up to host and port, `https://dashboard.example.com`";
            notes.error(&spot, message, remedy);
            return None;
        }
        these.push(Arc::from(&*value));
    }
    Some(At { value: Origins::These(these), spot: field.spot.clone() })
}
