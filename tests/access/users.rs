//! Who enters: passwords, no password, wrong ones, too many wrong ones.

use std::process::Command;

use fieldpost::mqtt::{ReasonCode, Version};

use crate::broker::{
    ANYBODY, Broker, NAMED, USERS, as_user, site_with_users, users_file, with_password,
};
use crate::client::{Client, VERSIONS, connect};
use crate::support::{Site, mosquitto_pub, mosquitto_sub, require_peers};

/// What a client is told, with what 3.1.1 has instead.
#[track_caller]
fn reason(port: u16, connect: fieldpost::mqtt::Connect) -> ReasonCode {
    Client::try_connect(port, connect).1.reason
}

#[test]
fn users_of_mosquittos_own_files_enter_with_their_passwords_only() {
    require_peers();
    let site = Site::new();
    let file = users_file(&site);
    let file = file.to_str().expect("text");
    for arguments in [
        &["-c", "-b", file, "ann", "pa:ss wört$"][..],
        &["-H", "sha512", "-b", file, "bob", "hunter2"],
        &["-H", "sha512-pbkdf2", "-b", file, "carl", "x"],
    ] {
        let done = Command::new("mosquitto_passwd").args(arguments).output().expect("it runs");
        assert!(done.status.success(), "{done:?}");
    }
    let broker = Broker::start(site, NAMED, USERS, "");
    let sub = mosquitto_sub(broker.port, "t/#", &["-u", "ann", "-P", "pa:ss wört$", "-V", "5"]);
    mosquitto_pub(broker.port, "t/1", "bob", &["-u", "bob", "-P", "hunter2", "-q", "2"]);
    mosquitto_pub(broker.port, "t/2", "carl", &["-u", "carl", "-P", "x", "-q", "1", "-V", "5"]);
    let payloads: Vec<String> = sub.wait_for(2).into_iter().map(|m| m.payload).collect();
    assert_eq!(payloads, ["bob", "carl"]);
    for version in VERSIONS {
        for (name, password) in [("bob", "hunter3"), ("bob", ""), ("ann", "x"), ("eve", "x")] {
            let refused = reason(broker.port, with_password(version, "c", name, password));
            assert_eq!(refused, ReasonCode::BadUserNameOrPassword, "{name}");
        }
        let nameless = reason(broker.port, connect(version, "c"));
        assert_eq!(nameless, ReasonCode::NotAuthorized);
    }
}

#[test]
fn a_user_without_a_password_in_connect_does_not_enter() {
    for listener in [NAMED, ANYBODY] {
        let broker = Broker::start(site_with_users(&["ann"]), listener, USERS, "");
        for version in VERSIONS {
            let bare = fieldpost::mqtt::Connect { password: None, ..as_user(version, "c", "ann") };
            assert_eq!(reason(broker.port, bare), ReasonCode::BadUserNameOrPassword);
        }
        let bare = fieldpost::mqtt::Connect { username: None, ..as_user(Version::V5, "c", "ann") };
        let expected =
            if listener == NAMED { ReasonCode::BadUserNameOrPassword } else { ReasonCode::Success };
        assert_eq!(reason(broker.port, bare), expected);
    }
}

#[test]
fn where_anybody_may_enter_a_wrong_password_still_does_not_open() {
    let broker = Broker::start(site_with_users(&["ann"]), ANYBODY, USERS, "");
    for version in VERSIONS {
        assert_eq!(reason(broker.port, connect(version, "c")), ReasonCode::Success);
        assert_eq!(reason(broker.port, as_user(version, "c", "ann")), ReasonCode::Success);
        let wrong = reason(broker.port, with_password(version, "c", "ann", "no"));
        assert_eq!(wrong, ReasonCode::BadUserNameOrPassword);
    }
}

#[test]
fn an_empty_users_file_lets_nobody_in() {
    let broker = Broker::start(site_with_users(&[]), NAMED, USERS, "");
    for version in VERSIONS {
        let refused = reason(broker.port, with_password(version, "c", "", ""));
        assert_eq!(refused, ReasonCode::BadUserNameOrPassword);
        assert_eq!(reason(broker.port, connect(version, "c")), ReasonCode::NotAuthorized);
    }
}

#[test]
fn a_users_file_with_a_fault_is_said_with_its_line_and_nothing_starts() {
    let site = Site::new();
    std::fs::write(users_file(&site), "# ours\nann:\n").expect("a file");
    crate::broker::write_config(&site, NAMED, USERS, "");
    let mut checked = Command::new(env!("CARGO_BIN_EXE_fieldpost"));
    let checked = checked.arg("check").arg(site.config()).output().expect("it runs");
    assert_eq!(checked.status.code(), Some(2), "{checked:?}");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(said.contains("users:2: user `ann`: there is no password"), "{said}");
    let mut gateway = site.start();
    assert!(!gateway.process().wait().success());
    let log = gateway.log();
    assert!(log.contains("users:2: user `ann`: there is no password behind the name"), "{log}");
    assert!(log.contains("fieldpost passwd FILE USER"), "{log}");
}

#[test]
fn whoever_guesses_must_pause_and_a_device_with_an_old_password_locks_nobody_out() {
    let mut broker = Broker::start(site_with_users(&["ann"]), NAMED, USERS, "");
    let bad = ReasonCode::BadUserNameOrPassword;
    for _ in 0..30 {
        let refused = reason(broker.port, with_password(Version::V5, "c", "ann", "old"));
        assert_eq!(refused, bad);
    }
    assert_eq!(reason(broker.port, as_user(Version::V5, "c", "ann")), ReasonCode::Success);
    for guess in 1..10 {
        let refused =
            reason(broker.port, with_password(Version::V5, "c", "ann", &guess.to_string()));
        assert_eq!(refused, bad);
    }
    let right = as_user(Version::V5, "c", "ann");
    assert_eq!(reason(broker.port, right), ReasonCode::ConnectionRateExceeded);
    let right = as_user(Version::V311, "c", "ann");
    assert_eq!(reason(broker.port, right), ReasonCode::NotAuthorized);
    broker.gateway.wait_for_log("too many wrong passwords from one address");
    let said = broker.gateway.log().matches("too many wrong passwords from one address;").count();
    assert_eq!(said, 1, "{}", broker.gateway.log());
}

#[test]
fn a_client_id_begins_with_the_user_name_where_that_is_asked_for() {
    let users = "users: { file: {dir}/users, client_id_prefix: \"%u-\" }";
    let broker = Broker::start(site_with_users(&["ann"]), ANYBODY, users, "");
    for version in VERSIONS {
        assert_eq!(reason(broker.port, as_user(version, "ann-1", "ann")), ReasonCode::Success);
        for id in ["bob-1", "ann", ""] {
            let refused = reason(broker.port, as_user(version, id, "ann"));
            assert_eq!(refused, ReasonCode::ClientIdNotValid, "{id}");
        }
        assert_eq!(reason(broker.port, connect(version, "bob-1")), ReasonCode::Success);
    }
}
