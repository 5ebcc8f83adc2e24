//! core: who may enter the broker and who may do what there, as written.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::fields::{Field, Fields, Later};
use super::notes::{At, Given, Notes};
use super::uplink::absolute_path;
use crate::access::{
    AccessSettings, AclAction, AclRule, AclSettings, ClientMatch, Network, TopicPattern, UserMatch,
    UsersSettings,
};

const USERS_EXAMPLE: &str = "write `users: { file: /etc/fieldpost/passwd }`";
const FILE_EXAMPLE: &str = "write the whole path of a users file: `/etc/fieldpost/passwd`";
const ACL_FILE_EXAMPLE: &str = "write the whole path of the file: `/etc/fieldpost/acl`";
const PREFIX_EXAMPLE: &str = "write what a client id begins with; `%u` is the user name: `\"%u-\"`";
const ACL_EXAMPLE: &str =
    "write a list: `- { allow: publish, user: pump-1, topic: \"sensors/%c/#\" }`";
const TOPIC_EXAMPLE: &str =
    "write a topic filter, `%u` for the user name and `%c` for the client id: `\"sensors/%c/#\"`";

const RULE_INSTEAD: &[Later] = &[
    ("permit", "allow"),
    ("permission", "allow"),
    ("action", "allow"),
    ("username", "user"),
    ("client_id", "client"),
    ("clientid", "client"),
    ("ip", "address"),
    ("ipaddr", "address"),
    ("network", "address"),
    ("filter", "topic"),
    ("topics", "topic"),
];

/// `users`, `acl` and `acl_file` as written.
#[derive(Debug)]
pub(super) struct Access {
    users: Given<UsersSettings>,
    acl: Given<Vec<AclRule>>,
    acl_file: Given<Rc<str>>,
}

impl Access {
    pub(super) fn read(fields: &mut Fields<'_>, notes: &mut Notes<'_>) -> Self {
        Self {
            users: fields.given("users", notes, users),
            acl: fields.given("acl", notes, acl),
            acl_file: fields.given("acl_file", notes, |field, notes| {
                absolute_path(field, ACL_FILE_EXAMPLE, notes)
            }),
        }
    }

    /// Whether there is anybody who could enter with a password.
    pub(super) fn has_users(&self) -> bool {
        !self.users.is_absent()
    }

    /// What the broker is run with; complains of two sets of rules.
    pub(super) fn settle(&self, notes: &mut Notes<'_>) -> AccessSettings {
        let acl = match (&self.acl, &self.acl_file) {
            (Given::Value(rules), Given::Absent) => AclSettings::Rules(rules.value.clone()),
            (Given::Absent, Given::Value(file)) => AclSettings::File(PathBuf::from(&*file.value)),
            (Given::Absent, Given::Absent) => AclSettings::Open,
            (_, Given::Value(file)) => {
                let message = "the rules stand in `acl` already, and one of the two decides";
                notes.error(&file.spot, message, "remove `acl` or `acl_file`");
                AclSettings::Rules(Vec::new())
            }
            // Complained about: nothing runs with it.
            (_, _) => AclSettings::Rules(Vec::new()),
        };
        AccessSettings { users: self.users.written().map(|users| users.value.clone()), acl }
    }
}

fn users(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<UsersSettings>> {
    let spot = field.key_spot.clone();
    let mut fields = field.fields(USERS_EXAMPLE, notes)?;
    let files = fields.take("file");
    if files.is_none() && !fields.has_unknown() {
        notes.error(&spot, "`users` names no `file`", USERS_EXAMPLE);
    }
    let files = files.and_then(|field| field.texts(FILE_EXAMPLE, notes));
    let prefix =
        fields.given("client_id_prefix", notes, |field, notes| field.text(PREFIX_EXAMPLE, notes));
    fields.finish(&[], &[("files", "file"), ("path", "file"), ("password_file", "file")], notes);
    let mut paths: Vec<PathBuf> = Vec::new();
    for file in files? {
        if !file.value.starts_with('/') || file.value.contains('\0') {
            notes.error(&file.spot, "`file` is not a path that begins with `/`", FILE_EXAMPLE);
        } else if paths.contains(&PathBuf::from(&*file.value)) {
            notes.error(&file.spot, "this file is named twice", "remove one of the two");
        }
        paths.push(PathBuf::from(&*file.value));
    }
    let client_id_prefix = prefix.written().map(|prefix| Arc::from(&*prefix.value));
    Some(At { value: UsersSettings { files: paths, client_id_prefix }, spot })
}

fn acl(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Vec<AclRule>>> {
    let spot = field.key_spot.clone();
    let items = field.list(ACL_EXAMPLE, notes)?;
    if items.is_empty() {
        let message = "this list is empty: nobody may publish or subscribe to anything";
        notes.warning(&spot, message, "remove `acl`, and whoever connects may do everything");
    }
    let rules = items.into_iter().filter_map(|fields| rule(fields, notes));
    Some(At { value: rules.collect(), spot })
}

fn rule(mut fields: Fields<'_>, notes: &mut Notes<'_>) -> Option<AclRule> {
    let head = fields.head();
    let allow = fields.given("allow", notes, action);
    let deny = fields.given("deny", notes, action);
    let user = fields.given("user", notes, |field, notes| {
        field.text("write a user name, or `\"%u\"` for everybody with one", notes)
    });
    let anonymous = fields.given("anonymous", notes, |field, notes| {
        field.choice(&[("true", true), ("false", false)], &[], notes)
    });
    let client = fields.given("client", notes, |field, notes| {
        field.text("write a client id, or its beginning: `\"pump-*\"`", notes)
    });
    let network = fields.given("address", notes, network);
    let topics = fields.take("topic");
    let has_instead = fields.has_any(RULE_INSTEAD);
    if topics.is_none() && !has_instead {
        notes.error(&head, "this rule has no `topic`", TOPIC_EXAMPLE);
    }
    let topics = topics.and_then(|field| topics_of(&field, notes));
    fields.finish(&[], RULE_INSTEAD, notes);
    let user = match (user.written().map(|at| &*at.value), &anonymous) {
        (Some("%u"), Given::Absent) => UserMatch::Named,
        (Some(name), Given::Absent) => UserMatch::Is(Arc::from(name)),
        (None, Given::Value(At { value: true, .. })) => UserMatch::Anonymous,
        (None, Given::Value(At { value: false, .. })) => UserMatch::Named,
        (Some(_), Given::Value(anonymous)) => {
            let message = "`user` and `anonymous` say the same thing in two ways";
            notes.error(&anonymous.spot, message, "remove one of the two");
            UserMatch::Anybody
        }
        (_, _) => UserMatch::Anybody,
    };
    let client = match client.written().map(|at| &*at.value) {
        None | Some("%c" | "*") => ClientMatch::Any,
        Some(id) => match id.strip_suffix('*') {
            Some(prefix) => ClientMatch::BeginsWith(Arc::from(prefix)),
            None => ClientMatch::Is(Arc::from(id)),
        },
    };
    let (allow, action) = match (allow, deny) {
        (Given::Value(action), Given::Absent) => (true, action.value),
        (Given::Absent, Given::Value(action)) => (false, action.value),
        (Given::Absent, Given::Absent) => {
            if !has_instead {
                let remedy = "begin with `allow: publish`, `deny: subscribe` or the like";
                notes.error(&head, "this rule neither allows nor denies anything", remedy);
            }
            return None;
        }
        (Given::Value(_), Given::Value(deny)) => {
            notes.error(&deny.spot, "a rule allows or denies", "make two rules of this one");
            return None;
        }
        (_, _) => return None,
    };
    let network = network.written().map(|at| at.value);
    Some(AclRule { allow, action, user, client, network, topics: topics? })
}

fn action(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<AclAction>> {
    let choices = [
        ("publish", AclAction::Publish),
        ("subscribe", AclAction::Subscribe),
        ("both", AclAction::Both),
    ];
    field.choice(&choices, &[], notes)
}

fn network(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<At<Network>> {
    let example = "write an address or a network: `192.0.2.7`, `192.0.2.0/24`, `fd00::/8`";
    let text = field.text(example, notes)?;
    match text.value.parse() {
        Ok(value) => Some(At { value, spot: text.spot }),
        Err(error) => {
            notes.error(&text.spot, error, example);
            None
        }
    }
}

fn topics_of(field: &Field<'_>, notes: &mut Notes<'_>) -> Option<Vec<TopicPattern>> {
    let mut patterns = Vec::new();
    for text in field.texts(TOPIC_EXAMPLE, notes)? {
        match TopicPattern::new(&text.value) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => notes.error(&text.spot, error, TOPIC_EXAMPLE),
        }
    }
    Some(patterns)
}
