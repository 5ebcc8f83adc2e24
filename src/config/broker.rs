//! core: the broker for the LAN as written, and what it is run with.

use super::access::Access;
use std::time::Duration;

use super::fields::{Field, Later};
use super::limits;
use super::listener::{self, Listener};
use super::notes::{At, Given, Notes};
use crate::broker::{BrokerSettings, Limits, ListenAt};

const EXAMPLE: &str = "write `broker: { listeners: [ { tcp: 127.0.0.1:1883, anonymous: true } ] }`";

const SYS_INTERVAL_LEAST: Duration = Duration::from_secs(1);
const SYS_INTERVAL_MOST: Duration = Duration::from_secs(3600);

const INSTEAD: &[Later] = &[
    ("listener", "listeners"),
    ("listen", "listeners"),
    ("password_file", "users"),
    ("user", "users"),
    ("rules", "acl"),
    ("limit", "limits"),
    ("sys_topics", "sys_interval"),
];

/// The broker as written.
#[derive(Debug)]
pub(super) struct Broker {
    listeners: Vec<Listener>,
    access: Access,
    limits: Limits,
    /// Zero for off.
    sys_interval: Given<Duration>,
}

impl Broker {
    pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Self> {
        let mut fields = field.fields(EXAMPLE, notes)?;
        let given = fields.take("listeners");
        if given.is_none() {
            notes.error(&field.key_spot, "the broker has no `listeners`", EXAMPLE);
        }
        let key_spot = given.as_ref().map(|list| list.key_spot.clone());
        let listeners = given.and_then(|list| list.list(listener::EXAMPLE, notes));
        if let (Some(spot), Some([])) = (key_spot, listeners.as_deref()) {
            notes.error(&spot, "`listeners` is empty", listener::EXAMPLE);
        }
        let listeners = listeners.unwrap_or_default();
        let listeners = listeners.into_iter().map(|listener| Listener::read(listener, notes));
        let listeners = listeners.collect();
        let limits = fields.take_filled("limits").and_then(|field| limits::read(&field, notes));
        let (access, limits) = (Access::read(&mut fields, notes), limits.unwrap_or_default());
        let sys_interval = fields.given("sys_interval", notes, sys_interval);
        let broker = Self { listeners, access, limits, sys_interval };
        fields.finish(&[], INSTEAD, notes);
        Some(broker)
    }

    /// What it is run with; complains of what is missing or needs what this version has not.
    pub(super) fn settle(&self, notes: &mut Notes<'_>) -> BrokerSettings {
        let mut listeners = Vec::new();
        let mut known: Vec<(ListenAt, String)> = Vec::new();
        for listener in &self.listeners {
            let Some(At { value, spot }) =
                listener.settle(self.limits, self.access.has_users(), notes)
            else {
                continue;
            };
            if let Some((_, first)) = known.iter().find(|(at, _)| Listener::collide(at, &value.at))
            {
                let message = if notes.shown(&spot) == *first {
                    format!("another listener has `{first}` already")
                } else {
                    format!("another listener has this port at `{first}` already")
                };
                notes.error(&spot, message, "remove one of the two");
            }
            known.push((value.at.clone(), notes.shown(&spot)));
            listeners.push(value);
        }
        let default = BrokerSettings::default();
        let sys_interval = match self.sys_interval.written() {
            Some(interval) => Some(interval.value).filter(|interval| !interval.is_zero()),
            None => default.sys_interval,
        };
        let access = self.access.settle(notes);
        BrokerSettings { listeners, limits: self.limits, access, sys_interval }
    }
}

/// How often; `0` is off.
fn sys_interval(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Duration>> {
    if field.is_text("0") {
        return Some(At { value: Duration::ZERO, spot: field.spot.clone() });
    }
    let found = field.duration(Duration::ZERO..=SYS_INTERVAL_MOST, notes)?;
    if !found.value.is_zero() && found.value < SYS_INTERVAL_LEAST {
        let shown = notes.shown(&field.spot);
        let message = format!("`sys_interval` is {shown}, which is shorter than 1s");
        notes.error(&field.spot, message, "write `1s` or longer, or `0` for no `$SYS` topics");
        return None;
    }
    Some(found)
}
