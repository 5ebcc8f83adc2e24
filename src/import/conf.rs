//! core: what a `mosquitto.conf` as a whole says, and the YAML it becomes.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use super::bridge::Bridge;
use super::directive::{Directive, Place};
use super::listener::{Listener, Options};
use super::not_carried::instead;
use super::yaml::{flow_map, quoted};

/// A line that could not be carried over, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it stands.
    pub place: Place,
    /// The option with its value; a password is left out.
    pub option: String,
    /// Why, and what to do instead.
    pub why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.option, self.why)
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Our configuration.
    pub yaml: String,
    /// What is not in it, in the order of the lines.
    pub notes: Vec<Note>,
    /// Lines that mosquitto would not know either.
    pub unknown: usize,
}

/// What is being gathered.
#[derive(Debug, Default)]
pub(super) struct Conf {
    /// Options before the first `listener`, and its address.
    first: Listener,
    /// Whether `port` or `bind_address` asked for it.
    has_first: bool,
    /// The option that asked for it without a port.
    opened_by: Option<Directive>,
    listeners: Vec<Listener>,
    bridges: Vec<Bridge>,
    per_listener: bool,
    users: Vec<PathBuf>,
    acl: Option<PathBuf>,
    client_id_prefix: Option<String>,
    limits: Vec<(&'static str, String)>,
    sys_interval: Option<String>,
    notes: Vec<Note>,
    unknown: usize,
}

/// Makes our configuration of `directives`; `id` becomes the gateway's.
#[must_use]
pub fn import(directives: &[Directive], id: &str) -> Imported {
    // It stands anywhere in the file and changes what the lines before it mean.
    let per_listener = |d: &Directive| d.name == "per_listener_settings" && d.value == "true";
    let mut conf = Conf { per_listener: directives.iter().any(per_listener), ..Conf::default() };
    for directive in directives {
        conf.take(directive);
    }
    let mut imported = conf.finish(id);
    let position = |note: &Note| directives.iter().position(|line| line.place == note.place);
    imported.notes.sort_by_key(position);
    imported
}

impl Conf {
    /// Names a line that could not be carried over as it is.
    pub(super) fn note(&mut self, directive: &Directive, why: impl Into<String>) {
        let is_secret = directive.name.contains("password") && directive.name != "password_file";
        let option = match directive.value.as_str() {
            "" => directive.name.clone(),
            _ if is_secret => format!("{} …", directive.name),
            value => format!("{} {value}", directive.name),
        };
        self.notes.push(Note { place: directive.place.clone(), option, why: why.into() });
    }

    fn take(&mut self, directive: &Directive) {
        if Bridge::has(&directive.name) {
            self.take_bridge(directive);
            return;
        }
        let value = directive.value.as_str();
        match directive.name.as_str() {
            "listener" => {
                let mut listener = Listener::default();
                if !self.per_listener {
                    listener.options.anonymous = self.first.options.anonymous;
                }
                if let Err(why) = listener.set_address(directive) {
                    self.note(directive, why);
                }
                self.listeners.push(listener);
            }
            "port" => {
                self.has_first = true;
                self.opened_by = None;
                if let Err(why) = self.first.set_port(directive) {
                    self.note(directive, why);
                }
            }
            "bind_address" => {
                self.has_first = true;
                if let Err(why) = self.first.set_host(directive) {
                    self.note(directive, why);
                }
            }
            "allow_anonymous" => {
                let allowed = value == "true";
                self.in_listeners(|options| options.anonymous = Some(allowed));
            }
            "password_file" => {
                self.relative(directive);
                self.users.push(beside(directive));
                let why = "the users of this file may enter by every listener";
                if self.per_listener {
                    self.note(directive, why);
                }
            }
            "acl_file" => {
                self.relative(directive);
                if self.per_listener {
                    self.note(directive, "these rules are for the clients of every listener");
                }
                let path = beside(directive);
                if self.acl.as_ref().is_some_and(|first| *first != path) {
                    self.note(directive, "there is one set of rules: put these lines into the first file");
                } else {
                    self.acl = Some(path);
                }
            }
            "clientid_prefixes" => self.client_id_prefix = Some(value.to_owned()),
            "per_listener_settings" => {
                if self.per_listener {
                    let why = "`anonymous` stands with each listener; users and rules are for all of them";
                    self.note(directive, why);
                }
            }
            "sys_interval" => match value.parse::<u32>() {
                Ok(0) => self.sys_interval = Some("0".to_owned()),
                Ok(seconds @ 1..=3600) => self.sys_interval = Some(format!("{seconds}s")),
                Ok(_) | Err(_) => self.note(directive, "write 0 to 3600 seconds"),
            },
            "persistence" if value != "true" => {
                self.note(directive, "sessions with an expiry, their messages and retained ones are always stored");
            }
            "persistence" => {}
            "persistence_location" => self.note(
                directive,
                "Fieldpost keeps its own store in `gateway: { state_dir: … }`. Mosquitto's mosquitto.db is not read: sessions, \
                 what waits for them and retained messages stay behind; the retained ones can be carried with \
                 `fieldpost sub -t '#' --retained-only` and `fieldpost pub -r`",
            ),
            _ => self.take_other(directive),
        }
    }

    fn take_other(&mut self, directive: &Directive) {
        if self.take_limit(directive) || self.take_time(directive) {
            return;
        }
        let opens = self.listeners.is_empty() && !self.has_first;
        let listener = self.listeners.last_mut().unwrap_or(&mut self.first);
        let was_set = listener.set(directive, beside(directive));
        if opens && was_set.is_some() {
            // So does mosquitto, which few expect.
            self.has_first = true;
            self.first.place = Some(directive.place.clone());
            self.opened_by = Some(directive.clone());
        }
        match was_set {
            Some(Ok(())) => self.relative(directive),
            Some(Err(why)) => self.note(directive, why),
            None => match instead(&directive.name) {
                Some(why) => self.note(directive, why),
                None => {
                    self.unknown += 1;
                    self.note(directive, "this is no option of mosquitto that is known here");
                }
            },
        }
    }

    fn take_limit(&mut self, directive: &Directive) -> bool {
        let most: u64 = match directive.name.as_str() {
            "max_inflight_messages" => 65_535,
            "max_queued_messages" => 10_000_000,
            "max_queued_bytes" => 2 << 30,
            "global_max_connections" => 1_000_000,
            "max_packet_size" | "message_size_limit" => 256 << 20,
            _ => return false,
        };
        let Ok(number) = directive.value.parse::<i64>() else {
            self.note(directive, "this is no number");
            return true;
        };
        let wanted = u64::try_from(number).unwrap_or(0);
        let value = if wanted == 0 { most } else { wanted.min(most) };
        if value != wanted && wanted != 0 {
            self.note(directive, format!("{most} is the most here"));
        }
        match directive.name.as_str() {
            "max_inflight_messages" => self.set_limit("inflight", value.to_string()),
            "max_queued_messages" => {
                self.set_limit("queued_messages", value.to_string());
                self.set_limit("stored_messages", value.to_string());
            }
            "max_queued_bytes" => {
                let bytes = size(value.max(1024));
                self.set_limit("queued_bytes", bytes.clone());
                self.set_limit("stored_bytes", bytes);
            }
            "message_size_limit" => {
                // A topic and what else stands around the payload.
                let bytes = (value + 1024).clamp(1024, most);
                self.set_limit("packet_size", size(bytes));
                self.note(
                    directive,
                    "here the whole packet is bounded, and 1 KiB was added for the topic",
                );
            }
            "max_packet_size" => self.set_limit("packet_size", size(value.max(1024))),
            _ => self.set_limit("connections", value.to_string()),
        }
        true
    }

    fn take_time(&mut self, directive: &Directive) -> bool {
        match directive.name.as_str() {
            "max_keepalive" => match directive.value.parse::<u16>() {
                Ok(0) => {}
                Ok(seconds) => {
                    self.set_limit("keep_alive", format!("{seconds}s"));
                    self.note(
                        directive,
                        "a client of MQTT 5 that asks for more is given this one; earlier ones keep theirs and are not refused",
                    );
                }
                Err(_) => self.note(directive, "write 0 to 65535 seconds"),
            },
            "persistent_client_expiration" => match expiry(&directive.value) {
                Some(expiry) => self.set_limit("session_expiry", expiry),
                None => self.note(directive, "write a number with h, d, w, m or y: `2m`"),
            },
            _ => return false,
        }
        true
    }

    fn set_limit(&mut self, key: &'static str, value: String) {
        self.limits.retain(|(known, _)| *known != key);
        self.limits.push((key, value));
    }

    fn take_bridge(&mut self, directive: &Directive) {
        if directive.name == "connection" {
            self.bridges.push(Bridge::new(directive));
            return;
        }
        let Some(bridge) = self.bridges.last_mut() else {
            self.note(directive, "no `connection` stands before it");
            return;
        };
        match bridge.set(directive, beside(directive)) {
            Some(Ok(())) => {}
            Some(Err(why)) => self.note(directive, why),
            None => {
                let why = instead(&directive.name).unwrap_or("it is not carried over");
                self.note(directive, why);
            }
        }
    }

    /// Sets an option of one listener, or of all where they share their settings.
    fn in_listeners(&mut self, set: impl Fn(&mut Options)) {
        if self.per_listener {
            set(&mut self.listeners.last_mut().unwrap_or(&mut self.first).options);
        } else {
            set(&mut self.first.options);
            self.listeners.iter_mut().for_each(|listener| set(&mut listener.options));
        }
    }

    fn relative(&mut self, directive: &Directive) {
        let is_path = directive.name.ends_with("file");
        if is_path && !Path::new(&directive.value).is_absolute() {
            let path = beside(directive);
            let why = format!(
                "taken as {}, beside this file; mosquitto looks where it was started",
                path.display()
            );
            self.note(directive, why);
        }
    }

    fn finish(mut self, id: &str) -> Imported {
        let mut listeners = std::mem::take(&mut self.listeners);
        if self.has_first || listeners.is_empty() {
            let mut first = std::mem::take(&mut self.first);
            if !self.has_first {
                // Without any listener mosquitto serves this machine, and everybody on it.
                first.options.anonymous = first.options.anonymous.or(Some(true));
                first.set_local();
            }
            listeners.insert(0, first);
        }
        if let Some(directive) = self.opened_by.take().filter(|_| listeners.len() > 1) {
            self.note(&directive, "an option of a listener before the first `listener` opens port 1883 as well: remove that listener if it is not meant");
        }
        let mut yaml = String::from("# Made of a mosquitto.conf by `fieldpost import`.\n");
        let _ = writeln!(yaml, "gateway:\n  id: {}\n", quoted(id));
        yaml.push_str("broker:\n  listeners:\n");
        let has_users = !self.users.is_empty();
        for listener in &listeners {
            let _ = writeln!(yaml, "    - {}", listener.yaml(self.client_id_prefix.as_deref()));
            if listener.lets_nobody_in(has_users)
                && let Some(place) = &listener.place
            {
                self.notes.push(Note {
                    place: place.clone(),
                    option: "listener".to_owned(),
                    why: "nobody could enter here, with mosquitto neither: say who may, by `users` or `anonymous: true`"
                        .to_owned(),
                });
            }
        }
        self.users.dedup();
        let users: Vec<String> =
            self.users.iter().map(|path| quoted(&path.to_string_lossy())).collect();
        match users.as_slice() {
            [] => {}
            [one] => {
                let _ = writeln!(yaml, "  users: {{ file: {one} }}");
            }
            several => {
                let _ = writeln!(yaml, "  users: {{ file: [ {} ] }}", several.join(", "));
            }
        }
        if let Some(acl) = &self.acl {
            let _ = writeln!(yaml, "  acl_file: {}", quoted(&acl.to_string_lossy()));
        }
        if let Some(interval) = self.sys_interval.take() {
            let _ = writeln!(yaml, "  sys_interval: {interval}");
        }
        if !self.limits.is_empty() {
            let _ = writeln!(yaml, "  limits: {}", flow_map(std::mem::take(&mut self.limits)));
        }
        self.finish_bridges(id, &mut yaml);
        Imported { yaml, notes: self.notes, unknown: self.unknown }
    }

    fn finish_bridges(&mut self, id: &str, yaml: &mut String) {
        let mut uplinks = String::new();
        let mut names = HashSet::new();
        for bridge in std::mem::take(&mut self.bridges) {
            if names.contains(&bridge.name()) {
                let why = "a bridge of this name stands above, and an uplink has a name of its own: this one was left out; \
                           give it another one and import again";
                self.note(&bridge.line, why);
                continue;
            }
            let before = uplinks.len();
            for (directive, why) in bridge.yaml(id, &mut uplinks) {
                self.note(&directive, why);
            }
            if uplinks.len() > before {
                names.insert(bridge.name());
            }
        }
        if !uplinks.is_empty() {
            let _ = write!(yaml, "\nuplinks:\n{uplinks}");
        }
    }
}

/// A path as mosquitto's file means it; one that is not whole is taken from where the file lies.
fn beside(directive: &Directive) -> PathBuf {
    directive.place.file.parent().unwrap_or(Path::new("")).join(&directive.value)
}

/// A time as mosquitto writes it: a number of hours, days, weeks, months or years.
fn expiry(text: &str) -> Option<String> {
    let unit = text.chars().next_back()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok().filter(|number| *number > 0)?;
    let hours: u64 = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 7 * 24,
        'm' => 30 * 24,
        'y' => 365 * 24,
        _ => return None,
    };
    // The longest that has an end (MQTT 5.0 section 3.1.2.11.2).
    let hours = number.saturating_mul(hours).min(0xFFFF_FFFE / 3600);
    Some(if hours.is_multiple_of(24) { format!("{}d", hours / 24) } else { format!("{hours}h") })
}

fn size(bytes: u64) -> String {
    format!("{}KiB", bytes.div_ceil(1024))
}
