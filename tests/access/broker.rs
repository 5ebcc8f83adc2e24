//! shell: a gateway whose broker has users and rules.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fieldpost::access::{PasswordHash, SALT_BYTES};
use fieldpost::mqtt::{Connect, Version};

use crate::client::{Client, connect};
use crate::support::{Fieldpost, Site};

pub struct Broker {
    pub site: Site,
    pub gateway: Fieldpost,
    pub port: u16,
}

impl Broker {
    /// A broker with one listener; `users` and `rules` stand in its configuration as they are, `{dir}` in them is the
    /// site's directory.
    #[track_caller]
    pub fn start(site: Site, listener: &str, users: &str, rules: &str) -> Self {
        write_config(&site, listener, users, rules);
        let mut gateway = site.start();
        let port = port(&mut gateway);
        Self { site, gateway, port }
    }
}

pub fn write_config(site: &Site, listener: &str, users: &str, rules: &str) {
    let yaml = format!(
        "gateway: {{ id: gw, state_dir: \"{{state}}\" }}\n\
         broker:\n  listeners: [ {{ tcp: 127.0.0.1:0, {listener} }} ]\n  {users}\n  {rules}\n"
    );
    site.write_config(&yaml.replace("{dir}", &site.path().display().to_string()));
}

/// The port it says it listens on.
#[track_caller]
fn port(gateway: &mut Fieldpost) -> u16 {
    gateway.wait_for_log("gateway started");
    let log = gateway.process().own_log();
    let address = log.split("address=mqtt://127.0.0.1:").nth(1).expect("an address");
    let digits: String = address.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a port")
}

pub const USERS: &str = "users: { file: {dir}/users }";
pub const NAMED: &str = "anonymous: false";
pub const ANYBODY: &str = "anonymous: true";

/// A site with a users file in which each password is the name backwards.
pub fn site_with_users(names: &[&str]) -> Site {
    let site = Site::new();
    write_users(&site, names);
    site
}

pub fn users_file(site: &Site) -> PathBuf {
    site.path().join("users")
}

pub fn write_users(site: &Site, names: &[&str]) {
    let line = |name: &&str| {
        let hash = PasswordHash::argon2id(password(name).as_bytes(), &[5; SALT_BYTES]);
        format!("{name}:{hash}\n")
    };
    replace(&users_file(site), &names.iter().map(line).collect::<String>());
}

/// Puts a text in a file's place as careful programs do.
pub fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, text).expect("a file beside it");
    fs::rename(beside, file).expect("it takes its place");
}

pub fn password(name: &str) -> String {
    name.chars().rev().collect()
}

/// A CONNECT of a user with the right password.
pub fn as_user(version: Version, client_id: &str, user: &str) -> Connect {
    with_password(version, client_id, user, &password(user))
}

pub fn with_password(version: Version, client_id: &str, user: &str, password: &str) -> Connect {
    Connect {
        username: Some(user.into()),
        password: Some(Bytes::copy_from_slice(password.as_bytes())),
        ..connect(version, client_id)
    }
}

/// A connected user.
#[track_caller]
pub fn user(port: u16, version: Version, user: &str) -> Client {
    Client::connect(port, as_user(version, &format!("{user}-client"), user)).0
}
