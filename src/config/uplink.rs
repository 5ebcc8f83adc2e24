//! core: an uplink as written, and what it is run with.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::fields::{Field, Later};
use super::name;
use super::notes::{At, Given, Notes, Spot};
use super::rule::{self, Both, Rule};
use super::secret::{self, SecretReference, SecretSource};
use super::url::{self, Url};
use crate::model::{QoS, TopicFilter};
use crate::mqtt::Version;
use crate::tls::{ClientCertificate, TlsSettings};
use crate::uplink::{
    AcceptRule, Backfill, ForwardRule, OnSessionLost, Server, Start, UplinkSettings,
};

const EXAMPLE: &str = "write `{ url: \"mqtts://broker.example.com:8883\", username: NAME }`";
const URLS_EXAMPLE: &str = "write a list, the wanted one first: `[ \"mqtts://a.example.com\", \"mqtts://b.example.com\" ]`";
const IDLE_DEFAULT: Duration = Duration::from_secs(60);
const KEEP_ALIVE_DEFAULT: Duration = Duration::from_secs(30);
const WINDOW_DEFAULT: u16 = 100;
/// MQTT 3.1.1 has no receive maximum, and mosquitto drops QoS 2 messages beyond 20 without a word.
const WINDOW_DEFAULT_V311: u16 = 20;
const SESSION_EXPIRY_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
/// One below what means "never" (MQTT 5.0 section 3.1.2.11.2).
const SESSION_EXPIRY_MAX: Duration = Duration::from_secs(0xFFFF_FFFE);
/// Bytes a string of MQTT may have (MQTT 5.0 section 1.5.4).
const STRING_BYTES_MAX: usize = 65_535;

const LATER: &[Later] = &[
    ("format", "remove it: values are published as JSON"),
    ("will", "remove it: the will says `offline` on `{gateway}/status`"),
    ("clean_start", "remove it: a session is always resumed"),
    ("insecure", "remove it: certificates are always verified; `ca` names your own authority"),
];

const INSTEAD: &[Later] = &[
    ("host", "url"),
    ("broker", "url"),
    ("address", "url"),
    ("user", "username"),
    ("clientid", "client_id"),
    ("keepalive", "keep_alive"),
    ("cert", "certificate"),
    ("ca_file", "ca"),
    ("publish", "forward"),
    ("subscribe", "accept"),
    ("in_flight", "window"),
    ("inflight", "window"),
    ("addresses", "urls"),
    ("start_type", "start"),
    ("idle_timeout", "idle"),
];

/// An uplink as written.
#[derive(Debug)]
pub(super) struct Uplink {
    pub(super) name: At<Rc<str>>,
    head: Spot,
    url: Given<Url>,
    /// Several of them.
    urls: Given<Vec<At<Url>>>,
    return_to_primary: Given<bool>,
    start: Given<StartWord>,
    threshold: Given<u64>,
    idle: Given<Duration>,
    try_private: Given<bool>,
    version: Given<Version>,
    client_id: Given<Rc<str>>,
    username: Given<Rc<str>>,
    password: Given<SecretReference>,
    ca: Given<Rc<str>>,
    certificate: Given<Rc<str>>,
    key: Given<Rc<str>>,
    qos: Given<QoS>,
    keep_alive: Given<Duration>,
    window: Given<u16>,
    session_expiry: Given<Duration>,
    on_session_lost: Given<OnSessionLost>,
    live_first: Given<bool>,
    backfill_rate: Given<u32>,
    forward: Given<Vec<Rule>>,
    accept: Given<Vec<Rule>>,
    both: Given<Vec<Both>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StartWord {
    Automatic,
    Lazy,
    Once,
}

impl Uplink {
    pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Self> {
        let name = name::name(field, &[], notes);
        let mut fields = field.fields(EXAMPLE, notes)?;
        let keep_alives = Duration::from_secs(1)..=Duration::from_secs(65_535);
        let expiries = Duration::from_secs(60)..=SESSION_EXPIRY_MAX;
        let uplink = Self {
            head: name.spot.clone(),
            url: fields.given("url", notes, |field, notes| {
                let text = field.text(url::EXAMPLE, notes)?;
                url::read(&text, notes)
            }),
            urls: fields.given("urls", notes, urls),
            return_to_primary: fields.given("return_to_primary", notes, yes_or_no),
            start: fields.given("start", notes, |field, notes| {
                let choices = [
                    ("automatic", StartWord::Automatic),
                    ("lazy", StartWord::Lazy),
                    ("once", StartWord::Once),
                ];
                field.choice(&choices, &[], notes)
            }),
            threshold: fields.given("threshold", notes, |field, notes| {
                field.integer(1..=1_000_000, "messages that wait: `1`", notes)
            }),
            idle: fields.given("idle", notes, |field, notes| {
                field.seconds(Duration::from_secs(1)..=Duration::from_secs(86_400), notes)
            }),
            try_private: fields.given("try_private", notes, yes_or_no),
            version: fields.given("version", notes, version),
            client_id: fields.given("client_id", notes, mqtt_string),
            username: fields.given("username", notes, mqtt_string),
            password: fields.given("password", notes, secret::read),
            ca: fields.given("ca", notes, pem_path),
            certificate: fields.given("certificate", notes, pem_path),
            key: fields.given("key", notes, pem_path),
            qos: fields.given("qos", notes, rule::qos),
            keep_alive: fields
                .given("keep_alive", notes, |field, notes| field.seconds(keep_alives, notes)),
            window: fields.given("window", notes, |field, notes| {
                field.integer(1..=65_535, "100 serves most brokers", notes)
            }),
            session_expiry: fields
                .given("session_expiry", notes, |field, notes| field.seconds(expiries, notes)),
            on_session_lost: fields.given("on_session_lost", notes, |field, notes| {
                let choices =
                    [("republish", OnSessionLost::Republish), ("trust", OnSessionLost::Trust)];
                field.choice(&choices, &[], notes)
            }),
            live_first: fields.given("live_first", notes, yes_or_no),
            backfill_rate: fields.given("backfill_rate", notes, |field, notes| {
                field.integer(1..=100_000, "messages a second: `100`", notes)
            }),
            forward: fields.given("forward", notes, rule::forward),
            accept: fields.given("accept", notes, rule::accept),
            both: fields.given("both", notes, rule::both),
            name,
        };
        fields.finish(LATER, INSTEAD, notes);
        Some(uplink)
    }

    /// Host, port and client id of each broker, by which it tells sessions apart.
    pub(super) fn sessions(&self, gateway: &str) -> Vec<At<String>> {
        let client_id = self.client_id.or(Rc::from(gateway));
        let session = |url: &At<Url>| {
            let endpoint = &url.value.endpoint;
            let value = format!("{}:{} {client_id}", endpoint.host.to_lowercase(), endpoint.port);
            At { value, spot: url.spot.clone() }
        };
        self.brokers().map(session).collect()
    }

    fn brokers(&self) -> impl Iterator<Item = &At<Url>> {
        let urls = self.urls.written().into_iter().flat_map(|urls| &urls.value);
        self.url.written().into_iter().chain(urls)
    }

    pub(super) fn settle(
        &self,
        gateway: &str,
        secrets: &dyn SecretSource,
        notes: &mut Notes<'_>,
    ) -> Option<UplinkSettings> {
        if self.url.is_absent() && self.urls.is_absent() {
            notes.error(&self.head, "this uplink has no `url`", url::EXAMPLE);
        }
        if let (false, Some(urls)) = (self.url.is_absent(), self.urls.written()) {
            let message = "`url` and `urls` both say where the broker is";
            notes.error(&urls.spot, message, "put all of them into `urls`, the wanted one first");
        }
        let version = self.version.or(Version::V5);
        self.check_version(version, notes);
        let password = self.password.written().and_then(|at| secret::fetch(at, secrets, notes));
        let client = client_certificate(&self.certificate, &self.key, notes);
        let tls = TlsSettings { ca: self.ca.written().map(path), client, any_name: false };
        self.check_plain(notes);
        let servers: Vec<Server> = self
            .brokers()
            .map(|At { value: Url { endpoint, is_tls }, .. }| Server {
                host: Arc::from(&*endpoint.host),
                port: endpoint.port,
                tls: is_tls.then(|| tls.clone()),
            })
            .collect();
        let start = self.settle_start(notes);
        let mut forward = self.settle_forward(gateway, qos_of(self))?;
        let mut accept: Vec<AcceptRule> =
            self.accept.or(Vec::new()).iter().map(|rule| rule.to_accept(qos_of(self))).collect();
        if let Some(both) = self.both.written() {
            let written = |rules: &Given<Vec<Rule>>| rules.or(Vec::new());
            let (ups, downs) = (both.value.iter().map(Both::up), both.value.iter().map(Both::down));
            rule::warn_of_repeats(&written(&self.forward), ups.clone(), notes);
            rule::warn_of_repeats(&written(&self.accept), downs.clone(), notes);
            forward.extend(ups.map(|rule| rule.to_forward(qos_of(self))));
            accept.extend(downs.map(|rule| rule.to_accept(qos_of(self))));
        }
        if servers.is_empty() {
            return None;
        }
        if let (Start::Lazy { .. }, Some(start), false) =
            (start, self.start.written(), accept.is_empty())
        {
            let message =
                "with `start: lazy` what `accept` takes comes only while there is a connection";
            notes.warning(
                &start.spot,
                message,
                "write `start: automatic` if commands must come at once",
            );
        }
        let window_default =
            if version == Version::V5 { WINDOW_DEFAULT } else { WINDOW_DEFAULT_V311 };
        let client_id = self.client_id.or(Rc::from(gateway));
        Some(UplinkSettings {
            name: Arc::from(&*self.name.value),
            servers,
            return_to_first: self.return_to_primary.or(true),
            start,
            try_private: self.try_private.or(true),
            version,
            client_id: Arc::from(&*client_id),
            username: self.username.written().map(|at| Arc::from(&*at.value)),
            password,
            keep_alive: self.keep_alive.or(KEEP_ALIVE_DEFAULT),
            window: self.window.or(window_default),
            session_expiry: self.session_expiry.or(SESSION_EXPIRY_DEFAULT),
            on_session_lost: self.on_session_lost.or(OnSessionLost::Republish),
            live_first: self.settle_live_first(notes),
            forward,
            accept,
        })
    }

    fn settle_start(&self, notes: &mut Notes<'_>) -> Start {
        let word = self.start.or(StartWord::Automatic);
        if word != StartWord::Lazy {
            let spots = [
                ("threshold", self.threshold.written().map(|at| &at.spot)),
                ("idle", self.idle.written().map(|at| &at.spot)),
            ];
            for (key, spot) in spots {
                if let Some(spot) = spot {
                    let message = format!("`{key}` says when a lazy uplink connects or rests");
                    notes.error(spot, message, "add `start: lazy`, or remove it");
                }
            }
        }
        match word {
            StartWord::Automatic => Start::Automatic,
            StartWord::Once => Start::Once,
            StartWord::Lazy => {
                Start::Lazy { threshold: self.threshold.or(1), idle: self.idle.or(IDLE_DEFAULT) }
            }
        }
    }

    fn settle_live_first(&self, notes: &mut Notes<'_>) -> Option<Backfill> {
        let rate = self.backfill_rate.written();
        if !self.live_first.or(false) {
            if let Some(rate) = rate {
                let message =
                    "`backfill_rate` slows what waited, and without `live_first` nothing passes it";
                notes.error(&rate.spot, message, "add `live_first: true`, or remove it");
            }
            return None;
        }
        Some(Backfill { rate: rate.map(|rate| rate.value) })
    }

    /// The rules as written, or one for everything of the gateway.
    fn settle_forward(&self, gateway: &str, qos: QoS) -> Option<Vec<ForwardRule>> {
        match self.forward.written() {
            Some(rules) => Some(rules.value.iter().map(|rule| rule.to_forward(qos)).collect()),
            None => {
                let filter = TopicFilter::new(&format!("{gateway}/#")).ok()?;
                Some(vec![ForwardRule { filter, qos, to: None, retain: true }])
            }
        }
    }

    fn check_version(&self, version: Version, notes: &mut Notes<'_>) {
        if version == Version::V5 {
            return;
        }
        if let Some(expiry) = self.session_expiry.written() {
            let message = "MQTT 3.1.1 cannot say how long a session is kept";
            notes.error(&expiry.spot, message, "remove `session_expiry`, or write `version: 5`");
        }
        if let Some(window) = self.window.written().filter(|at| at.value > WINDOW_DEFAULT_V311) {
            let message = "with MQTT 3.1.1 a broker cannot say how many messages it takes at once; \
                           mosquitto drops those of QoS 2 beyond 20";
            let remedy = "raise `max_inflight_messages` there as well, or write `version: 5`";
            notes.warning(&window.spot, message, remedy);
        }
        if let Some(password) = self.password.written().filter(|_| self.username.is_absent()) {
            let message = "MQTT 3.1.1 allows no password without a user name";
            notes.error(&password.spot, message, "add `username: NAME`");
        }
    }

    /// Without TLS nothing of TLS may be written, and a password is there for all to read.
    fn check_plain(&self, notes: &mut Notes<'_>) {
        let mut plain = self.brokers().filter(|url| !url.value.is_tls).peekable();
        if plain.peek().is_none() {
            return;
        }
        let is_plain_only = self.brokers().all(|url| !url.value.is_tls);
        let keys = [("ca", &self.ca), ("certificate", &self.certificate), ("key", &self.key)];
        for (key, given) in keys {
            if let Some(at) = given.written().filter(|_| is_plain_only) {
                let message = format!("`{key}` belongs to TLS, and `url` says `mqtt://`");
                notes.error(&at.spot, message, "write `mqtts://` in `url`, or remove it");
            }
        }
        let is_far = plain.any(|url| !url.value.endpoint.is_loopback());
        if let Some(password) = self.password.written().filter(|_| is_far) {
            let message = "without TLS everybody on the way can read this password";
            notes.warning(&password.spot, message, "write `mqtts://` in `url` if the broker can");
        }
    }
}

/// Our certificate and its key: both or neither.
pub(super) fn client_certificate(
    certificate: &Given<Rc<str>>,
    key: &Given<Rc<str>>,
    notes: &mut Notes<'_>,
) -> Option<ClientCertificate> {
    match (certificate, key) {
        (Given::Value(certificate), Given::Value(key)) => {
            Some(ClientCertificate { certificate: path(certificate), key: path(key) })
        }
        (Given::Value(certificate), Given::Absent) => {
            let message = "a certificate is of no use without its key";
            notes.error(&certificate.spot, message, "add `key: /PATH/TO/KEY.pem`");
            None
        }
        (Given::Absent, Given::Value(key)) => {
            let message = "a key is of no use without its certificate";
            notes.error(&key.spot, message, "add `certificate: /PATH/TO/CERTIFICATE.pem`");
            None
        }
        _ => None,
    }
}

/// The QoS of rules that do not say their own.
fn qos_of(uplink: &Uplink) -> QoS {
    uplink.qos.or(QoS::AtLeastOnce)
}

fn yes_or_no(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<bool>> {
    field.choice(&[("true", true), ("false", false)], &[], notes)
}

fn urls(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Vec<At<Url>>>> {
    let texts = field.text_list(URLS_EXAMPLE, notes)?;
    if texts.is_empty() {
        notes.error(&field.spot, "`urls` is empty", URLS_EXAMPLE);
        return None;
    }
    let urls: Vec<At<Url>> = texts.iter().filter_map(|text| url::read(text, notes)).collect();
    let mut known: Vec<&At<Url>> = Vec::new();
    for url in &urls {
        if known.iter().any(|first| first.value.endpoint == url.value.endpoint) {
            notes.error(&url.spot, "this broker is in the list already", "remove one of the two");
        }
        known.push(url);
    }
    (urls.len() == texts.len()).then(|| At { value: urls, spot: field.spot.clone() })
}

fn path(at: &At<Rc<str>>) -> PathBuf {
    PathBuf::from(&*at.value)
}

fn version(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Version>> {
    let choices = [("5", Version::V5), ("5.0", Version::V5), ("3.1.1", Version::V311)];
    let later = [("3.1", "write `5` or `3.1.1`: every broker of the last ten years knows one")];
    field.choice(&choices, &later, notes)
}

/// A string that MQTT can carry, of printable characters.
pub(super) fn mqtt_string(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
    let text = field.text("write a name, or remove the key", notes)?;
    if text.value.len() > STRING_BYTES_MAX || text.value.chars().any(char::is_control) {
        let message = format!(
            "`{}` has control characters or more than {STRING_BYTES_MAX} bytes",
            field.name
        );
        notes.error(&text.spot, message, "write a name of printable characters");
        return None;
    }
    Some(text)
}

pub(super) fn pem_path(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
    absolute_path(field, "write the whole path of a PEM file: `/etc/fieldpost/ca.pem`", notes)
}

/// A path from the root: a service stands in another directory than the shell it is tried in.
pub(super) fn absolute_path(
    field: &Field<'_>,
    example: &str,
    notes: &mut Notes<'_>,
) -> Option<At<Rc<str>>> {
    let text = field.text(example, notes)?;
    if !text.value.starts_with('/') || text.value.contains('\0') {
        let message = format!("`{}` is not a path that begins with `/`", field.name);
        notes.error(&text.spot, message, example);
        return None;
    }
    Some(text)
}
