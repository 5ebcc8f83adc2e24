//! Users and rules that change while the gateway runs, and clients that are connected meanwhile.

use std::fs;

use fieldpost::mqtt::{Packet, ReasonCode, Version};

use crate::broker::{
    ANYBODY, Broker, NAMED, USERS, as_user, password, replace, site_with_users, user, users_file,
    with_password, write_config, write_users,
};
use crate::client::{Client, QOS0, QOS1, VERSIONS, connect, subscription, will};
use crate::support::{Site, wait_until};

const READ_AGAIN: &str = "were read again and are in force";

/// Waits until the gateway has read its files once more than before.
#[track_caller]
fn wait_for_reload(broker: &mut Broker, times: usize) {
    let gateway = &broker.gateway;
    wait_until("the files are read again", || gateway.log().matches(READ_AGAIN).count() >= times);
}

#[test]
fn a_user_who_is_taken_out_or_gets_another_password_is_sent_away_and_others_stay() {
    let mut broker = Broker::start(site_with_users(&["ann", "bob", "carl"]), NAMED, USERS, "");
    let mut bob = user(broker.port, Version::V5, "bob");
    bob.subscribe(&[subscription("#", QOS0)]);
    let will = Some(will("ann is gone"));
    let ann = fieldpost::mqtt::Connect { will, ..as_user(Version::V5, "ann-client", "ann") };
    let mut ann = Client::connect(broker.port, ann).0;
    let mut carl = user(broker.port, Version::V311, "carl");
    let text = fs::read_to_string(users_file(&broker.site)).unwrap();
    let hash = |name: &str| text.lines().find_map(|l| l.strip_prefix(&format!("{name}:"))).unwrap();
    replace(&users_file(&broker.site), &format!("bob:{}\ncarl:{}\n", hash("bob"), hash("ann")));
    wait_for_reload(&mut broker, 1);
    match &ann.until_closed()[..] {
        [Packet::Disconnect(why)] => assert_eq!(why.reason, ReasonCode::NotAuthorized),
        other => panic!("{other:?}"),
    }
    assert_eq!(carl.until_closed(), []);
    assert_eq!(bob.payloads(), ["ann is gone"]);
    let reason = |connect| Client::try_connect(broker.port, connect).1.reason;
    let bad = ReasonCode::BadUserNameOrPassword;
    assert_eq!(reason(as_user(Version::V5, "a", "ann")), bad);
    assert_eq!(reason(as_user(Version::V5, "a", "carl")), bad);
    let right = with_password(Version::V5, "a", "carl", &password("ann"));
    assert_eq!(reason(right), ReasonCode::Success);
}

#[test]
fn an_acl_file_that_changes_applies_to_whoever_is_connected() {
    let site = Site::new();
    let acl = site.path().join("acl");
    fs::write(&acl, "topic readwrite a/#\ntopic readwrite b/#\n").unwrap();
    let mut broker = Broker::start(site, ANYBODY, "", "acl_file: {dir}/acl");
    let mut publisher = Client::connect(broker.port, connect(Version::V5, "p")).0;
    let mut readers = VERSIONS.map(|version| {
        let name = format!("r{version:?}");
        Client::subscriber(broker.port, version, &name, "#", QOS0)
    });
    let say = |publisher: &mut Client| {
        publisher.publish(QOS1, 1, "a/x", "a");
        publisher.send(Packet::Publish(crate::client::publish(QOS1, 2, "b/x", "b")));
        let Packet::PubAck(ack) = publisher.receive() else { panic!("a PUBACK") };
        ack.reason
    };
    assert_eq!(say(&mut publisher), ReasonCode::Success);
    readers.iter_mut().for_each(|reader| assert_eq!(reader.payloads(), ["a", "b"]));

    replace(&acl, "topic readwrite a/#\ntopic write b/#\n");
    wait_for_reload(&mut broker, 1);
    assert_eq!(say(&mut publisher), ReasonCode::Success);
    readers.iter_mut().for_each(|reader| assert_eq!(reader.payloads(), ["a"]));

    replace(&acl, "topic readwrite a/#\n");
    wait_for_reload(&mut broker, 2);
    assert_eq!(say(&mut publisher), ReasonCode::NotAuthorized);

    // What a slip had taken away is there again when it is put right.
    replace(&acl, "topic readwrite a/#\ntopic readwrite b/#\n");
    wait_for_reload(&mut broker, 3);
    assert_eq!(say(&mut publisher), ReasonCode::Success);
    readers.iter_mut().for_each(|reader| assert_eq!(reader.payloads(), ["a", "a", "b"]));
}

#[test]
fn a_file_that_fails_to_load_changes_nothing_and_is_said_with_its_line() {
    let site = site_with_users(&["ann"]);
    let acl = site.path().join("acl");
    fs::write(&acl, "user ann\ntopic readwrite a\n").unwrap();
    let mut broker = Broker::start(site, NAMED, USERS, "acl_file: {dir}/acl");
    let mut ann = user(broker.port, Version::V5, "ann");
    replace(&acl, "user ann\ntopic raed a\n");
    broker.gateway.wait_for_log("acl:2: `raed` is no kind of access");
    replace(&users_file(&broker.site), "ann:secret\n");
    broker.gateway.wait_for_log("users:1: user `ann`: this is no hash of a password");
    assert!(!broker.gateway.log().contains(READ_AGAIN));
    ann.publish(QOS1, 1, "a", "1");
    user(broker.port, Version::V5, "ann");
    assert_eq!(
        Client::try_connect(broker.port, connect(Version::V5, "c")).1.reason,
        ReasonCode::NotAuthorized
    );
    assert_eq!(
        Client::try_connect(broker.port, with_password(Version::V5, "c", "ann", "secret")).1.reason,
        ReasonCode::BadUserNameOrPassword
    );
}

#[test]
fn the_configuration_is_read_again_when_it_changes_and_at_sighup() {
    let only = |topic: &str| format!("acl: [ {{ allow: both, topic: {topic} }} ]");
    let mut broker = Broker::start(site_with_users(&["ann"]), ANYBODY, "", &only("a"));
    let mut client = Client::connect(broker.port, connect(Version::V5, "c")).0;
    let mut may = |at: &str| {
        client.send(Packet::Publish(crate::client::publish(QOS1, 1, at, "x")));
        let Packet::PubAck(ack) = client.receive() else { panic!("a PUBACK") };
        ack.reason == ReasonCode::Success
    };
    assert!(may("a") && !may("b"));
    write_config(&broker.site, ANYBODY, USERS, &only("b"));
    wait_for_reload(&mut broker, 1);
    assert!(!may("a") && may("b"));
    user(broker.port, Version::V5, "ann");

    write_config(&broker.site, ANYBODY, USERS, "acl: [ { allow: all, topic: a } ]");
    broker.gateway.process().signal("HUP");
    broker.gateway.wait_for_log("configuration cannot be read again");
    assert!(may("b"), "what was in force stays in force");

    write_users(&broker.site, &["bob"]);
    write_config(&broker.site, ANYBODY, USERS, &only("a"));
    broker.gateway.process().signal("HUP");
    wait_for_reload(&mut broker, 2);
    assert!(may("a") && !may("b"));
    user(broker.port, Version::V5, "bob");
    assert!(broker.gateway.sigterm().success());
}
