//! core: an uplink as written, and what it is run with.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::fields::{Field, Later};
use super::name;
use super::notes::{At, Given, Notes, Spot};
use super::rule::{self, Rule};
use super::secret::{self, SecretReference, SecretSource};
use super::url::{self, Url};
use crate::model::{QoS, TopicFilter};
use crate::mqtt::Version;
use crate::uplink::{
    Backfill, ClientCertificate, ForwardRule, OnSessionLost, TlsSettings, UplinkSettings,
};

const EXAMPLE: &str = "write `{ url: \"mqtts://broker.example.com:8883\", username: NAME }`";
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
];

/// An uplink as written.
#[derive(Debug)]
pub(super) struct Uplink {
    pub(super) name: At<Rc<str>>,
    head: Spot,
    url: Given<Url>,
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
            live_first: fields.given("live_first", notes, |field, notes| {
                field.choice(&[("true", true), ("false", false)], &[], notes)
            }),
            backfill_rate: fields.given("backfill_rate", notes, |field, notes| {
                field.integer(1..=100_000, "messages a second: `100`", notes)
            }),
            forward: fields.given("forward", notes, rule::forward),
            accept: fields.given("accept", notes, rule::accept),
            name,
        };
        fields.finish(LATER, INSTEAD, notes);
        Some(uplink)
    }

    /// Host, port and client id, by which a broker tells sessions apart.
    pub(super) fn session(&self, gateway: &str) -> Option<At<String>> {
        let url = self.url.written()?;
        let client_id = self.client_id.or(Rc::from(gateway));
        let endpoint = &url.value.endpoint;
        let value = format!("{}:{} {client_id}", endpoint.host.to_lowercase(), endpoint.port);
        Some(At { value, spot: url.spot.clone() })
    }

    pub(super) fn settle(
        &self,
        gateway: &str,
        secrets: &dyn SecretSource,
        notes: &mut Notes<'_>,
    ) -> Option<UplinkSettings> {
        if self.url.is_absent() {
            notes.error(&self.head, "this uplink has no `url`", url::EXAMPLE);
        }
        let version = self.version.or(Version::V5);
        self.check_version(version, notes);
        let password = self.password.written().and_then(|at| secret::fetch(at, secrets, notes));
        let url = self.url.written()?;
        let client = self.client_certificate(notes);
        let tls = if url.value.is_tls {
            Some(TlsSettings { ca: self.ca.written().map(path), client })
        } else {
            self.check_plain(&url.value, notes);
            None
        };
        let window_default =
            if version == Version::V5 { WINDOW_DEFAULT } else { WINDOW_DEFAULT_V311 };
        let qos = self.qos.or(QoS::AtLeastOnce);
        let client_id = self.client_id.or(Rc::from(gateway));
        Some(UplinkSettings {
            name: Arc::from(&*self.name.value),
            host: Arc::from(&*url.value.endpoint.host),
            port: url.value.endpoint.port,
            tls,
            version,
            client_id: Arc::from(&*client_id),
            username: self.username.written().map(|at| Arc::from(&*at.value)),
            password,
            keep_alive: self.keep_alive.or(KEEP_ALIVE_DEFAULT),
            window: self.window.or(window_default),
            session_expiry: self.session_expiry.or(SESSION_EXPIRY_DEFAULT),
            on_session_lost: self.on_session_lost.or(OnSessionLost::Republish),
            live_first: self.settle_live_first(notes),
            forward: self.settle_forward(gateway, qos)?,
            accept: self.accept.or(Vec::new()).iter().map(|rule| rule.to_accept(qos)).collect(),
        })
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
                Some(vec![ForwardRule { filter, qos, to: None }])
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
    fn check_plain(&self, url: &Url, notes: &mut Notes<'_>) {
        let keys = [("ca", &self.ca), ("certificate", &self.certificate), ("key", &self.key)];
        for (key, given) in keys {
            if let Some(at) = given.written() {
                let message = format!("`{key}` belongs to TLS, and `url` says `mqtt://`");
                notes.error(&at.spot, message, "write `mqtts://` in `url`, or remove it");
            }
        }
        if let Some(password) = self.password.written().filter(|_| !url.endpoint.is_loopback()) {
            let message = "without TLS everybody on the way can read this password";
            notes.warning(&password.spot, message, "write `mqtts://` in `url` if the broker can");
        }
    }

    fn client_certificate(&self, notes: &mut Notes<'_>) -> Option<ClientCertificate> {
        match (&self.certificate, &self.key) {
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

fn pem_path(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Rc<str>>> {
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
