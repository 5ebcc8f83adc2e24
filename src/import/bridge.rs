//! core: one bridge of a `mosquitto.conf` and the uplink it is in our YAML.

use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use super::directive::Directive;
use super::yaml::{flow_map, quoted};

const PORT: u16 = 1883;

/// Options that belong to a bridge, whatever becomes of them.
const OPTIONS: &[&str] = &[
    "connection",
    "address",
    "addresses",
    "topic",
    "start_type",
    "threshold",
    "idle_timeout",
    "try_private",
    "round_robin",
    "keepalive_interval",
    "remote_clientid",
    "clientid",
    "remote_username",
    "username",
    "remote_password",
    "password",
    "cleansession",
    "local_cleansession",
    "local_clientid",
    "local_username",
    "local_password",
    "notifications",
    "notifications_local_only",
    "notification_topic",
    "restart_timeout",
];

/// Which way a topic goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
    Both,
}

#[derive(Debug, Clone)]
struct Topic {
    pattern: String,
    way: Way,
    qos: u8,
    local: String,
    remote: String,
}

/// A bridge.
#[derive(Debug, Clone)]
pub(super) struct Bridge {
    /// `connection NAME`.
    pub(super) line: Directive,
    /// Host and port of each broker, the wanted one first.
    addresses: Vec<(String, u16)>,
    topics: Vec<Topic>,
    version: &'static str,
    client_id: Option<String>,
    username: Option<String>,
    password: Option<Directive>,
    start: Option<&'static str>,
    threshold: Option<u64>,
    idle: Option<u64>,
    keep_alive: Option<u16>,
    round_robin: bool,
    is_public: bool,
    drops_retained: bool,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Bridge {
    /// Whether an option belongs to a bridge.
    pub(super) fn has(option: &str) -> bool {
        OPTIONS.contains(&option) || option.starts_with("bridge_")
    }

    /// The bridge that `connection NAME` begins.
    pub(super) fn new(connection: &Directive) -> Self {
        Self {
            line: connection.clone(),
            addresses: Vec::new(),
            topics: Vec::new(),
            version: "3.1.1",
            client_id: None,
            username: None,
            password: None,
            start: None,
            threshold: None,
            idle: None,
            keep_alive: None,
            round_robin: false,
            is_public: false,
            drops_retained: false,
            ca: None,
            certificate: None,
            key: None,
        }
    }

    /// Sets an option; `None` if it is not carried over. `path` is the value as a path.
    pub(super) fn set(
        &mut self,
        directive: &Directive,
        path: PathBuf,
    ) -> Option<Result<(), String>> {
        let value = directive.value.as_str();
        let (is_true, is_false) = (value == "true", value == "false");
        let number = || value.parse::<u64>().map_err(|_| "this is no number".to_owned());
        let done = match directive.name.as_str() {
            "address" | "addresses" => self.set_addresses(value),
            "topic" => self.add_topic(value),
            "start_type" => match value {
                "automatic" => Ok(()),
                "lazy" => set(&mut self.start, "lazy"),
                "once" => set(&mut self.start, "once"),
                _ => Err("an uplink starts `automatic`, `lazy` or `once`; it was made automatic"
                    .to_owned()),
            },
            "threshold" => number().map(|count| self.threshold = Some(count.max(1))),
            "idle_timeout" => number().map(|seconds| self.idle = Some(seconds.clamp(1, 86_400))),
            "keepalive_interval" => number().map(|seconds| {
                self.keep_alive = Some(u16::try_from(seconds).unwrap_or(u16::MAX).max(1));
            }),
            "try_private" => set(&mut self.is_public, is_false),
            "round_robin" => set(&mut self.round_robin, is_true),
            "remote_clientid" | "clientid" => set(&mut self.client_id, value.to_owned()),
            "remote_username" | "username" => set(&mut self.username, value.to_owned()),
            "remote_password" | "password" => set(&mut self.password, directive.clone()),
            "bridge_protocol_version" => match value {
                "mqttv50" => set(&mut self.version, "5"),
                "mqttv311" => set(&mut self.version, "3.1.1"),
                _ => Err("an uplink speaks MQTT 3.1.1 or 5; 3.1.1 was taken".to_owned()),
            },
            "bridge_outgoing_retain" => set(&mut self.drops_retained, is_false),
            "bridge_cafile" | "bridge_capath" => set(&mut self.ca, path),
            "bridge_certfile" => set(&mut self.certificate, path),
            "bridge_keyfile" => set(&mut self.key, path),
            "notifications" | "cleansession" | "local_cleansession" | "bridge_insecure"
                if is_false =>
            {
                Ok(())
            }
            _ => return None,
        };
        Some(done)
    }

    fn set_addresses(&mut self, value: &str) -> Result<(), String> {
        for text in value.split_whitespace() {
            let is_bare = text.parse::<Ipv6Addr>().is_ok();
            let (host, port) = match text.rsplit_once(':').filter(|_| !is_bare) {
                Some((host, port)) if !port.contains(']') => {
                    let number = port.parse().map_err(|_| format!("`{port}` is no port"))?;
                    (host, number)
                }
                _ => (text, PORT),
            };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            self.addresses.push((host.to_owned(), port));
        }
        Ok(())
    }

    /// `topic PATTERN [out|in|both [QOS [LOCAL [REMOTE]]]]`; `""` is nothing.
    fn add_topic(&mut self, value: &str) -> Result<(), String> {
        let words: Vec<&str> =
            value.split_whitespace().map(|word| if word == "\"\"" { "" } else { word }).collect();
        let way = match words.get(1).copied() {
            None | Some("out") => Way::Out,
            Some("in") => Way::In,
            Some("both") => Way::Both,
            Some(other) => {
                return Err(format!(
                    "`{other}` is none of `out`, `in` and `both`; the line was left out"
                ));
            }
        };
        let qos = words.get(2).map_or(Ok(0), |word| word.parse());
        let qos = qos.ok().filter(|qos| *qos <= 2);
        let word = |at: usize| (*words.get(at).unwrap_or(&"")).to_owned();
        let topic = Topic {
            pattern: word(0),
            way,
            qos: qos.ok_or("the QoS is none of 0, 1 and 2; the line was left out")?,
            local: word(3),
            remote: word(4),
        };
        if topic.pattern.is_empty() && (topic.local.is_empty() || topic.remote.is_empty()) {
            return Err(
                "without a pattern both prefixes are needed; the line was left out".to_owned()
            );
        }
        self.topics.push(topic);
        Ok(())
    }

    /// Appends the uplink; gives what to say of which line.
    pub(super) fn yaml(&self, id: &str, yaml: &mut String) -> Vec<(Directive, String)> {
        let mut notes = Vec::new();
        if self.addresses.is_empty() {
            notes.push((
                self.line.clone(),
                "this bridge has no `address` and was left out".to_owned(),
            ));
            return notes;
        }
        let name = self.name();
        let _ = writeln!(yaml, "  {}:", quoted(&name));
        let scheme = if self.is_tls() { "mqtts" } else { "mqtt" };
        let url = |(host, port): &(String, u16)| {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            format!("\"{scheme}://{host}:{port}\"")
        };
        let urls: Vec<String> = self.addresses.iter().map(url).collect();
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(yaml, "    {key}: {value}");
        };
        match urls.as_slice() {
            [one] => line("url", one),
            several => {
                line("urls", &format!("[ {} ]", several.join(", ")));
                if self.round_robin {
                    line("return_to_primary", "false");
                }
            }
        }
        line("version", self.version);
        let client_id = self.client_id.clone().unwrap_or_else(|| format!("{id}.{name}"));
        line("client_id", &quoted(&client_id));
        if let Some(username) = &self.username {
            line("username", &quoted(username));
        }
        if let Some(directive) = &self.password {
            let path = format!("/etc/fieldpost/{name}.password");
            line("password", &flow_map([("file", quoted(&path))]));
            let why = format!(
                "a secret never stands in the configuration: put it into {path}, readable by the service alone"
            );
            notes.push((directive.clone(), why));
        }
        for (key, path) in
            [("ca", &self.ca), ("certificate", &self.certificate), ("key", &self.key)]
        {
            if let Some(path) = path {
                line(key, &quoted(&path.to_string_lossy()));
            }
        }
        if let Some(seconds) = self.keep_alive {
            line("keep_alive", &format!("{seconds}s"));
        }
        if let Some(start) = self.start {
            line("start", start);
            if start == "lazy" {
                line("threshold", &self.threshold.unwrap_or(10).to_string());
                line("idle", &format!("{}s", self.idle.unwrap_or(60)));
            }
        }
        if self.is_public {
            line("try_private", "false");
        }
        self.rules(yaml);
        notes
    }

    fn rules(&self, yaml: &mut String) {
        let mut lists: [(&str, Vec<String>); 3] =
            [("forward", Vec::new()), ("accept", Vec::new()), ("both", Vec::new())];
        let [(_, forward), (_, accept), (_, both)] = &mut lists;
        for topic in &self.topics {
            // A single topic has a name on either side, and here retain flags are dropped one way: a rule for both ways can
            // say neither.
            let is_of_one_way = topic.pattern.is_empty() || self.drops_retained;
            match topic.way {
                Way::Both if !is_of_one_way => both.push(self.rule(topic, Way::Both)),
                way @ (Way::Out | Way::In | Way::Both) => {
                    if way != Way::In {
                        forward.push(self.rule(topic, Way::Out));
                    }
                    if way != Way::Out {
                        accept.push(self.rule(topic, Way::In));
                    }
                }
            }
        }
        for (key, rules) in lists {
            if !rules.is_empty() {
                let _ = writeln!(yaml, "    {key}:");
                for rule in rules {
                    let _ = writeln!(yaml, "      - {rule}");
                }
            } else if key == "forward" {
                // Left out, it would be everything of the gateway.
                let _ = writeln!(yaml, "    forward: []");
            }
        }
    }

    fn rule(&self, topic: &Topic, way: Way) -> String {
        let (local, remote) = (&topic.local, &topic.remote);
        let mut pairs = Vec::new();
        if topic.pattern.is_empty() {
            let (from, to) = if way == Way::In { (remote, local) } else { (local, remote) };
            pairs.push(("filter", quoted(from)));
            pairs.push(("to", quoted(to)));
        } else {
            pairs.push(("filter", quoted(&topic.pattern)));
            let sides = [("local", local), ("remote", remote)];
            let prefix: Vec<_> = sides
                .into_iter()
                .filter(|(_, side)| !side.is_empty())
                .map(|(key, side)| (key, quoted(side)))
                .collect();
            if !prefix.is_empty() {
                pairs.push(("prefix", flow_map(prefix)));
            }
        }
        pairs.push(("qos", topic.qos.to_string()));
        if self.drops_retained && way == Way::Out {
            pairs.push(("retain", "drop".to_owned()));
        }
        flow_map(pairs)
    }

    fn is_tls(&self) -> bool {
        self.ca.is_some() || self.certificate.is_some()
    }

    /// The name as one level of a topic.
    pub(super) fn name(&self) -> String {
        let is_good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name: String =
            self.line.value.chars().map(|c| if is_good(c) { c } else { '-' }).take(64).collect();
        if name.is_empty() { "bridge".to_owned() } else { name }
    }
}

fn set<T>(place: &mut T, value: impl Into<T>) -> Result<(), String> {
    *place = value.into();
    Ok(())
}
