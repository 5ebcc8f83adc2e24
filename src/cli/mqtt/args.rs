//! shell: the options `sub` and `pub` share: where the broker is, who we are, TLS, will, properties.
#![allow(clippy::disallowed_methods, reason = "a command reads password files and the environment")]

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::Usage;
use super::property::{self, Properties};
use super::url::Url;
use crate::client::{ClientSettings, Place, Target};
use crate::model::{QoS, Secret, TopicName};
use crate::mqtt::{Connect, Disconnect, ReasonCode, Version, Will};
use crate::tls::{ClientCertificate, TlsSettings};

/// The environment variable in which a password may stand.
const PASSWORD_VARIABLE: &str = "FIELDPOST_PASSWORD";
const PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;

/// Options of a client.
#[derive(Debug, Clone, clap::Args)]
pub struct MqttArgs {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Tell on standard error which packets go and come
    #[arg(short, long)]
    pub debug: bool,

    /// The broker's name or address
    #[arg(
        short = 'h',
        long,
        value_name = "HOST",
        default_value = "localhost",
        help_heading = "Connection"
    )]
    host: String,
    /// Its port [default: 1883, with TLS 8883]
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Connection")]
    port: Option<u16>,
    /// All in one: mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC], with %40 for an @
    #[arg(short = 'L', long, value_name = "URL", conflicts_with_all = ["host", "port", "unix"], help_heading = "Connection")]
    url: Option<String>,
    /// A broker's Unix socket instead of host and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port"], help_heading = "Connection")]
    unix: Option<PathBuf>,
    /// User name
    #[arg(
        short,
        long,
        value_name = "NAME",
        allow_hyphen_values = true,
        help_heading = "Connection"
    )]
    username: Option<String>,
    /// Password. Others on this machine can see it: better FIELDPOST_PASSWORD in the environment, or --password-file
    #[arg(
        short = 'P',
        long = "pw",
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        help_heading = "Connection"
    )]
    password: Option<String>,
    /// A file whose first line is the password
    #[arg(long, value_name = "FILE", conflicts_with = "password", help_heading = "Connection")]
    password_file: Option<PathBuf>,
    /// Client id [default: one that is made up]
    #[arg(short, long, value_name = "ID", help_heading = "Connection")]
    id: Option<String>,
    /// Client id is this and the process id
    #[arg(
        short = 'I',
        long,
        value_name = "PREFIX",
        conflicts_with = "id",
        help_heading = "Connection"
    )]
    id_prefix: Option<String>,
    /// Keep alive in seconds, 0 for none
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60, help_heading = "Connection")]
    keepalive: u16,
    /// Keep the session at the broker between runs: subscriptions, and what comes meanwhile. Needs -i
    #[arg(short = 'c', long, help_heading = "Connection")]
    disable_clean_session: bool,
    /// How long the broker keeps the session, in seconds; -1 for ever [default: with -c for ever, else 0]
    #[arg(short = 'x', long, value_name = "SECONDS", value_parser = session_expiry, allow_negative_numbers = true, help_heading = "Connection")]
    session_expiry_interval: Option<u32>,
    /// Version of MQTT: 31, 311 or 5; mqttv31, mqttv311 and mqttv5 are taken, too
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5", value_parser = version, help_heading = "Connection")]
    protocol_version: Version,
    /// Messages under way at most at QoS 1 and 2 [default: 100, before MQTT 5 20]
    #[arg(short = 'M', long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Connection")]
    max_inflight: Option<u16>,

    /// TLS with the authorities this system trusts; so is port 8883 without --cafile or --capath
    #[arg(long, visible_alias = "tls-use-os-certs", help_heading = "TLS")]
    tls: bool,
    /// TLS with the authorities in this PEM file
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    cafile: Option<PathBuf>,
    /// TLS with the authorities in the PEM files (.pem, .crt) of this directory
    #[arg(long, value_name = "DIR", conflicts_with = "cafile", help_heading = "TLS")]
    capath: Option<PathBuf>,
    /// Our certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "key", help_heading = "TLS")]
    cert: Option<PathBuf>,
    /// Its private key, a PEM file
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "TLS")]
    key: Option<PathBuf>,
    /// Take a certificate for another host, if a trusted authority has signed it: anybody with one can listen
    #[arg(long, help_heading = "TLS")]
    insecure: bool,

    /// Topic of the will: what the broker publishes when we are lost
    #[arg(long, value_name = "TOPIC", help_heading = "Will")]
    will_topic: Option<String>,
    /// Its payload [default: empty]
    #[arg(
        long,
        value_name = "TEXT",
        requires = "will_topic",
        allow_hyphen_values = true,
        help_heading = "Will"
    )]
    will_payload: Option<String>,
    /// Its QoS
    #[arg(long, value_name = "QOS", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2), requires = "will_topic", help_heading = "Will")]
    will_qos: u8,
    /// Retain it
    #[arg(long, requires = "will_topic", help_heading = "Will")]
    will_retain: bool,

    /// A property: `-D connect receive-maximum 10`, `-D publish user-property NAME VALUE`; for connect, publish, will,
    /// subscribe, unsubscribe and disconnect
    #[arg(short = 'D', long, value_names = ["COMMAND", "PROPERTY", "VALUE"], num_args = 3..=4, action = clap::ArgAction::Append, allow_negative_numbers = true, help_heading = "MQTT 5")]
    property: Vec<String>,
}

/// What the options come to.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) client: ClientSettings,
    /// The topic of `-L`.
    pub(super) url_topic: Option<String>,
    pub(super) properties: Properties,
}

impl Plan {
    /// The DISCONNECT of an orderly end.
    pub(super) fn goodbye(&self) -> Disconnect {
        Disconnect {
            session_expiry: self.properties.goodbye_expiry,
            user_properties: self.properties.disconnect.clone(),
            ..Disconnect::new(ReasonCode::Success)
        }
    }
}

impl MqttArgs {
    /// Puts the options together; reads the password where it is.
    pub(super) fn plan(&self) -> Result<Plan, Usage> {
        let properties =
            property::parse(&self.property).map_err(|error| Usage(error.to_string()))?;
        if self.protocol_version != Version::V5
            && (!self.property.is_empty() || self.session_expiry_interval.is_some())
        {
            let version = self.protocol_version;
            return Err(Usage(format!(
                "{version} has neither properties (-D) nor a session expiry (-x): leave out -V, or -D and -x"
            )));
        }
        let url = self.url.as_deref().map(Url::parse).transpose()?;
        let client = self.client(&properties, url.as_ref())?;
        let target = self.target(url.as_ref())?;
        Ok(Plan { target, client, url_topic: url.and_then(|url| url.topic), properties })
    }

    fn target(&self, url: Option<&Url>) -> Result<Target, Usage> {
        let has_files = self.cafile.is_some() || self.capath.is_some() || self.cert.is_some();
        let is_asked = self.tls || has_files || self.insecure;
        if let Some(path) = &self.unix {
            if is_asked {
                return Err(Usage(
                    "there is no TLS over a Unix socket: leave out --unix or the TLS options"
                        .to_owned(),
                ));
            }
            return Ok(Target { place: Place::Unix(path.clone()), tls: None });
        }
        let is_tls = match url {
            Some(url) if is_asked && !url.is_tls => {
                return Err(Usage("-L mqtt://… is without TLS: write mqtts://".to_owned()));
            }
            Some(url) => url.is_tls,
            None => is_asked || self.port == Some(TLS_PORT),
        };
        let (host, port) = match url {
            Some(url) => (url.host.as_str(), url.port),
            None => {
                let port = self.port.unwrap_or(if is_tls { TLS_PORT } else { PORT });
                (self.host.as_str(), port)
            }
        };
        if let Some((scheme, rest)) = host.split_once("://") {
            return Err(Usage(format!(
                "-h takes a name or an address alone: `-L {scheme}://{rest}` takes all in one"
            )));
        }
        if let Some((name, port)) = host.split_once(':')
            && port.parse::<u16>().is_ok()
        {
            return Err(Usage(format!(
                "-h takes a name or an address alone: write `-h {name} -p {port}`"
            )));
        }
        // `[::1]` is how addresses stand beside a port elsewhere.
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let client = self.cert.as_ref().zip(self.key.as_ref());
        let tls = is_tls.then(|| TlsSettings {
            ca: self.cafile.clone().or_else(|| self.capath.clone()),
            client: client.map(|(certificate, key)| ClientCertificate {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            any_name: self.insecure,
        });
        Ok(Target { place: Place::Tcp { host: Arc::from(host), port }, tls })
    }

    fn client(&self, properties: &Properties, url: Option<&Url>) -> Result<ClientSettings, Usage> {
        let version = self.protocol_version;
        let from_url = url.and_then(|url| url.username.clone());
        let username = self.username.clone().or(from_url);
        let password = self.password(url, username.is_some())?;
        if version != Version::V5 && password.is_some() && username.is_none() {
            return Err(Usage(format!("a password needs a user name (-u) in {version}")));
        }
        let mut connect_properties = properties.connect.clone();
        if version == Version::V5 {
            let default = self.disable_clean_session.then_some(u32::MAX);
            let expiry = self.session_expiry_interval.or(connect_properties.session_expiry);
            connect_properties.session_expiry = expiry.or(default);
        }
        let connect = Connect {
            bridge: false,
            version,
            clean_start: !self.disable_clean_session,
            keep_alive: self.keepalive,
            client_id: self.client_id()?,
            will: self.will(properties)?,
            username: username.map(Arc::from),
            password: password.map(|word| Bytes::copy_from_slice(word.reveal().as_bytes())),
            properties: connect_properties,
        };
        Ok(ClientSettings { connect, window: self.max_inflight })
    }

    fn client_id(&self) -> Result<Arc<str>, Usage> {
        if let Some(id) = &self.id {
            return Ok(Arc::from(id.as_str()));
        }
        if let Some(prefix) = &self.id_prefix {
            return Ok(Arc::from(format!("{prefix}{}", std::process::id())));
        }
        if self.disable_clean_session {
            let why = "a session that stays (-c) is found again by its client id: add -i ID";
            return Err(Usage(why.to_owned()));
        }
        // MQTT 3.1 takes 23 characters.
        Ok(Arc::from(format!("fieldpost-{:08x}", fastrand::u32(..))))
    }

    fn password(&self, url: Option<&Url>, has_username: bool) -> Result<Option<Secret>, Usage> {
        if let Some(path) = &self.password_file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Usage(format!("--password-file {}: {error}", path.display())))?;
            let first = text.lines().next().filter(|line| !line.is_empty());
            let first = first.ok_or_else(|| {
                Usage(format!("--password-file {}: its first line is empty", path.display()))
            })?;
            return Ok(Some(Secret::new(first)));
        }
        if let Some(password) = &self.password {
            return Ok(Some(Secret::new(password)));
        }
        if let Some(password) = url.and_then(|url| url.password.clone()) {
            return Ok(Some(password));
        }
        // The variable may stand there for other commands of the same shell.
        let from_environment = std::env::var(PASSWORD_VARIABLE).ok().filter(|_| has_username);
        Ok(from_environment.map(|word| Secret::new(&word)))
    }

    fn will(&self, properties: &Properties) -> Result<Option<Will>, Usage> {
        let Some(topic) = &self.will_topic else { return Ok(None) };
        Ok(Some(Will {
            topic: topic_name("--will-topic", topic)?,
            payload: Bytes::from(self.will_payload.clone().unwrap_or_default()),
            qos: qos(self.will_qos),
            retain: self.will_retain,
            delay: properties.will_delay,
            message_expiry: properties.will_expiry,
            properties: properties.will.clone(),
        }))
    }
}

/// A topic that `option` names.
pub(super) fn topic_name(option: &str, text: &str) -> Result<TopicName, Usage> {
    TopicName::new(text).map_err(|error| Usage(format!("{option} {text}: {error}")))
}

/// A level that clap has kept at 0 to 2.
pub(super) fn qos(level: u8) -> QoS {
    QoS::try_from(level).unwrap_or_default()
}

fn version(text: &str) -> Result<Version, String> {
    match text.strip_prefix("mqttv").unwrap_or(text) {
        "31" | "3.1" => Ok(Version::V31),
        "311" | "3.1.1" => Ok(Version::V311),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("write 31, 311 or 5".to_owned()),
    }
}

fn session_expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "∞" => Ok(u32::MAX),
        _ => text.parse().map_err(|_| "write 0 to 4294967295, or -1 for ever".to_owned()),
    }
}

/// Seconds, also parts of them.
pub(super) fn seconds(text: &str) -> Result<std::time::Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "write seconds, as in 2 or 0.5".to_owned())
}
