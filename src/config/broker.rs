//! core: the broker for the LAN as written, and what it is run with.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::access::Access;
use super::fields::{Field, Fields, Later};
use super::notes::{At, Given, Notes, Spot};
use crate::broker::{BrokerSettings, ListenerRules, ListenerSettings};

const EXAMPLE: &str = "write `broker: { listeners: [ { tcp: 127.0.0.1:1883, anonymous: true } ] }`";
const LISTENER_EXAMPLE: &str = "write `{ tcp: 127.0.0.1:1883, anonymous: true }`";
const ADDRESS_EXAMPLE: &str = "write an address of this machine and a port: `127.0.0.1:1883`";
const ONLY_PLAIN: &str = "write `tcp: 127.0.0.1:1883, anonymous: true` instead";

const INSTEAD: &[Later] = &[
    ("listener", "listeners"),
    ("listen", "listeners"),
    ("password_file", "users"),
    ("user", "users"),
    ("rules", "acl"),
];

const LISTENER_LATER: &[Later] = &[
    ("tls", ONLY_PLAIN),
    ("ws", ONLY_PLAIN),
    ("wss", ONLY_PLAIN),
    ("certificate", "remove it: listeners have no TLS"),
    ("key", "remove it: listeners have no TLS"),
    ("client_ca", "remove it: listeners have no TLS"),
];

/// The broker as written.
#[derive(Debug)]
pub(super) struct Broker {
    listeners: Vec<Listener>,
    access: Access,
}

#[derive(Debug)]
struct Listener {
    head: Spot,
    /// Whether it is of a kind this version has not; nobody complains that it has no address.
    is_other_kind: bool,
    tcp: Given<SocketAddr>,
    anonymous: Given<bool>,
}

impl Broker {
    pub(super) fn read(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Self> {
        let mut fields = field.fields(EXAMPLE, notes)?;
        let given = fields.take("listeners");
        if given.is_none() {
            notes.error(&field.key_spot, "the broker has no `listeners`", EXAMPLE);
        }
        let key_spot = given.as_ref().map(|list| list.key_spot.clone());
        let listeners = given.and_then(|list| list.list(LISTENER_EXAMPLE, notes));
        if let (Some(spot), Some([])) = (key_spot, listeners.as_deref()) {
            notes.error(&spot, "`listeners` is empty", LISTENER_EXAMPLE);
        }
        let listeners = listeners.unwrap_or_default();
        let listeners = listeners.into_iter().map(|listener| Listener::read(listener, notes));
        let listeners = listeners.collect();
        let broker = Self { listeners, access: Access::read(&mut fields, notes) };
        fields.finish(&[], INSTEAD, notes);
        Some(broker)
    }

    /// What it is run with; complains of what is missing or needs what this version has not.
    pub(super) fn settle(&self, notes: &mut Notes<'_>) -> BrokerSettings {
        let mut known = HashSet::new();
        let listeners = self.listeners.iter().filter_map(|listener| {
            let address = listener.settle(self.access.has_users(), notes)?;
            if address.value.port() != 0 && !known.insert(address.value) {
                let message = format!("another listener has `{}` already", address.value);
                notes.error(&address.spot, message, "remove one of the two");
            }
            let anonymous = listener.anonymous.or(false);
            let rules = ListenerRules { anonymous, ..ListenerRules::default() };
            Some(ListenerSettings { address: address.value, rules })
        });
        let listeners = listeners.collect();
        BrokerSettings { listeners, access: self.access.settle(notes) }
    }
}

impl Listener {
    fn read(mut fields: Fields<'_>, notes: &mut Notes<'_>) -> Self {
        let listener = Self {
            head: fields.head(),
            is_other_kind: fields.has_any(LISTENER_LATER),
            tcp: fields.given("tcp", notes, address),
            anonymous: fields.given("anonymous", notes, |field, notes| {
                field.choice(&[("true", true), ("false", false)], &[], notes)
            }),
        };
        fields.finish(LISTENER_LATER, &[("address", "tcp"), ("port", "tcp")], notes);
        listener
    }

    fn settle(&self, has_users: bool, notes: &mut Notes<'_>) -> Option<&At<SocketAddr>> {
        if self.is_other_kind {
            return None;
        }
        if self.tcp.is_absent() {
            notes.error(&self.head, "this listener has no `tcp`", LISTENER_EXAMPLE);
        }
        if self.anonymous.is_absent() && !has_users {
            let message =
                "this listener does not say who may connect, and the broker has no `users`";
            let remedy = "add `users: { file: /etc/fieldpost/passwd }` to `broker`, \
                          or `anonymous: true` here if all of this machine may";
            notes.error(&self.head, message, remedy);
        }
        if let Some(anonymous) = self.anonymous.written().filter(|at| !at.value && !has_users) {
            let message = "the broker has no `users`, so nobody could connect";
            let remedy = "add `users: { file: /etc/fieldpost/passwd }` to `broker`, \
                          or write `anonymous: true` if all of this machine may";
            notes.error(&anonymous.spot, message, remedy);
        }
        let address = self.tcp.written()?;
        if !address.value.ip().is_loopback() {
            let message = format!(
                "others than this machine could reach `{}`, and TLS is not in this version",
                address.value
            );
            let remedy = format!("write `127.0.0.1:{}`", address.value.port());
            notes.error(&address.spot, message, remedy);
        }
        Some(address)
    }
}

fn address(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<SocketAddr>> {
    let text = field.text(ADDRESS_EXAMPLE, notes)?;
    let At { value, spot } = text;
    if let Ok(value) = value.trim().parse() {
        return Some(At { value, spot });
    }
    let message = format!("`{}` is not an address with a port", notes.shown(&spot));
    notes.error(&spot, message, ADDRESS_EXAMPLE);
    None
}
