//! Who may do what, as a client sees it.

use bytes::Bytes;
use fieldpost::mqtt::{Ack, Packet, Publish, ReasonCode, Version};

use crate::broker::{ANYBODY, Broker, NAMED, USERS, as_user, site_with_users, user};
use crate::client::{
    Client, QOS0, QOS1, QOS2, VERSIONS, connect, id, publish, subscription, topic, will,
};
use crate::support::Site;

const RULES: &str = "acl:\n\
    \x20   - { deny: both, user: ann, topic: \"in/secret/#\" }\n\
    \x20   - { allow: publish, user: ann, topic: [ \"out/%u/#\", \"will\" ] }\n\
    \x20   - { allow: subscribe, user: ann, topic: [ \"in/#\", \"c/%c\" ] }\n\
    \x20   - { allow: both, user: admin, topic: [ \"#\" ] }\n";

fn start() -> Broker {
    Broker::start(site_with_users(&["ann", "bob", "admin"]), NAMED, USERS, RULES)
}

/// What a client of 5.0 is told of a message it may not publish.
fn denied(number: u16) -> Ack {
    let reason_string = Some("the rules do not allow it".into());
    Ack { reason_string, ..Ack::new(id(number), ReasonCode::NotAuthorized) }
}

#[test]
fn a_message_that_may_not_be_published_is_refused_in_5_and_swallowed_before() {
    let broker = start();
    let mut admin = user(broker.port, Version::V5, "admin");
    admin.subscribe(&[subscription("#", QOS0)]);
    for version in VERSIONS {
        let mut ann = user(broker.port, version, "ann");
        ann.publish(QOS1, 1, "out/ann/x", "1");
        ann.send(Packet::Publish(publish(QOS0, 0, "out/bob/x", "no")));
        for qos in [QOS1, QOS2] {
            if version == Version::V311 {
                ann.publish(qos, 2, "out/bob/x", "no");
                continue;
            }
            ann.send(Packet::Publish(publish(qos, 2, "out/bob/x", "no")));
            let refused = denied(2);
            ann.expect(if qos == QOS1 { Packet::PubAck(refused) } else { Packet::PubRec(refused) });
        }
        // The refused packet id is free again.
        ann.publish(QOS2, 2, "out/ann/x", "2");
        // It may not read what it writes.
        assert_eq!(admin.payloads(), ["1", "2"]);
        ann.disconnect(ReasonCode::Success, None);
    }
    assert!(broker.gateway.log().contains("client was denied by the rules"));
}

#[test]
fn a_subscription_is_denied_filtered_or_granted() {
    let broker = start();
    let mut admin = user(broker.port, Version::V5, "admin");
    for version in VERSIONS {
        let mut ann = user(broker.port, version, "ann");
        let denied = if version == Version::V5 {
            ReasonCode::NotAuthorized
        } else {
            ReasonCode::UnspecifiedError
        };
        let wanted =
            ["in/secret/#", "out/ann/#", "c/other", "$SYS/#", "in/+/x", "#", "c/ann-client"];
        let wanted = wanted.map(|filter| subscription(filter, QOS1));
        assert_eq!(
            ann.subscribe(&wanted),
            [denied, denied, denied, denied]
                .into_iter()
                .chain([ReasonCode::GrantedQoS1; 3])
                .collect::<Vec<_>>()
        );
        for at in ["in/secret/x", "in/a", "c/ann-client", "c/other", "out/ann/x", "in", "in/a/x"] {
            admin.publish(QOS0, 0, at, at);
        }
        assert_eq!(ann.payloads(), ["in/a", "c/ann-client", "in", "in/a/x"]);
        ann.disconnect(ReasonCode::Success, None);
        let mut bob = user(broker.port, version, "bob");
        assert_eq!(bob.subscribe(&[subscription("#", QOS0)]), [denied]);
    }
}

#[test]
fn a_retained_message_is_delivered_only_where_its_topic_may_be_read() {
    let broker = start();
    let mut admin = user(broker.port, Version::V5, "admin");
    for at in ["in/a", "in/secret/a", "out/ann/a"] {
        admin.send(Packet::Publish(Publish { retain: true, ..publish(QOS1, 1, at, at) }));
        admin.expect(Packet::PubAck(crate::client::ok(1)));
    }
    for version in VERSIONS {
        let mut ann = user(broker.port, version, "ann");
        ann.subscribe(&[subscription("#", QOS0)]);
        assert_eq!(ann.payloads(), ["in/a"]);
        ann.disconnect(ReasonCode::Success, None);
    }
}

#[test]
fn a_will_needs_the_right_to_publish() {
    let broker = start();
    let mut admin = user(broker.port, Version::V5, "admin");
    admin.subscribe(&[subscription("#", QOS0)]);
    for version in VERSIONS {
        for (at, expected) in [("will", &["w"][..]), ("in/a", &[])] {
            let will = fieldpost::mqtt::Will { topic: topic(at), ..will("w") };
            let with_will = fieldpost::mqtt::Connect {
                will: Some(will),
                ..as_user(version, "ann-client", "ann")
            };
            Client::connect(broker.port, with_will).0.cut();
            assert_eq!(admin.payloads(), expected, "{at}");
        }
    }
}

#[test]
fn what_waits_for_a_session_is_asked_about_again_when_it_comes_back_as_somebody_else() {
    let broker = start();
    let mut admin = user(broker.port, Version::V5, "admin");
    let persistent = |name: &str| fieldpost::mqtt::Connect {
        clean_start: false,
        ..as_user(Version::V311, "shared-id", name)
    };
    let (mut first, _) = Client::connect(broker.port, persistent("admin"));
    first.subscribe(&[subscription("#", QOS1)]);
    first.disconnect(ReasonCode::Success, None);
    for at in ["in/a", "in/secret/a", "other"] {
        admin.publish(QOS1, 1, at, at);
    }
    let (mut second, present) = Client::connect(broker.port, persistent("ann"));
    assert!(present);
    assert_eq!(second.payloads(), ["in/a"]);
    admin.publish(QOS1, 1, "in/secret/b", "no");
    admin.publish(QOS1, 1, "in/b", "in/b");
    assert_eq!(second.payloads(), ["in/b"]);
}

#[test]
fn what_was_under_way_is_asked_about_again_as_well() {
    let broker = start();
    let mut admin = user(broker.port, Version::V5, "admin");
    let persistent = |name: &str| fieldpost::mqtt::Connect {
        clean_start: false,
        ..as_user(Version::V311, "shared-id", name)
    };
    let (mut first, _) = Client::connect(broker.port, persistent("admin"));
    first.subscribe(&[subscription("#", QOS2)]);
    let sent = [(QOS1, "in/a"), (QOS1, "in/secret/a"), (QOS2, "in/secret/b"), (QOS2, "in/b")];
    for (qos, at) in sent {
        admin.publish(qos, 1, at, at);
        assert_eq!(first.receive_publish().payload, at);
    }
    first.cut();
    let (mut second, present) = Client::connect(broker.port, persistent("ann"));
    assert!(present);
    let mut got = Vec::new();
    for packet in second.so_far() {
        match packet {
            Packet::Publish(publish) => got.push(publish.payload),
            // What it must not have is given up, and its packet id with it.
            Packet::PubRel(release) => second.send(Packet::PubComp(release)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, ["in/a", "in/b"]);
}

#[test]
fn a_name_with_wildcards_opens_no_rule_with_a_placeholder() {
    let rules = "acl: [ { deny: both, topic: \"s/%c/private\" }, \
        { allow: both, topic: [ \"d/%c/#\", \"s/#\" ] } ]";
    let broker = Broker::start(Site::new(), ANYBODY, "", rules);
    let mut good = Client::connect(broker.port, connect(Version::V5, "c1")).0;
    let filters = ["d/c1/#", "s/c2/private", "s/c1/private"].map(|f| subscription(f, QOS0));
    let no = ReasonCode::NotAuthorized;
    assert_eq!(good.subscribe(&filters), [ReasonCode::Success, ReasonCode::Success, no]);
    for name in ["+", "#", "c1/x"] {
        let mut bad = Client::connect(broker.port, connect(Version::V5, name)).0;
        let filters = ["d/#", "d/c1/#", "d/c1/x/#", "s/c1/private"].map(|f| subscription(f, QOS0));
        assert_eq!(bad.subscribe(&filters), [no; 4], "{name}");
        bad.send(Packet::Publish(publish(QOS1, 1, "d/c1/x/y", "no")));
        bad.expect(Packet::PubAck(denied(1)));
    }
    assert_eq!(good.so_far(), []);
}

#[test]
fn a_rule_for_an_address_is_about_that_address() {
    let rules = "acl: [ { allow: both, address: 127.0.0.0/8, topic: near }, \
        { allow: both, address: 192.0.2.0/24, topic: far } ]";
    let broker = Broker::start(Site::new(), ANYBODY, "", rules);
    let mut client = Client::connect(broker.port, connect(Version::V5, "c1")).0;
    let filters = ["near", "far"].map(|filter| subscription(filter, QOS0));
    assert_eq!(client.subscribe(&filters), [ReasonCode::Success, ReasonCode::NotAuthorized]);
}

#[test]
fn a_user_name_on_a_broker_without_users_proves_nothing() {
    let rules = "acl: [ { allow: both, user: admin, topic: \"#\" }, { allow: both, topic: open } ]";
    let broker = Broker::start(Site::new(), ANYBODY, "", rules);
    let claims = fieldpost::mqtt::Connect {
        username: Some("admin".into()),
        password: Some(Bytes::from_static(b"x")),
        ..connect(Version::V5, "c1")
    };
    let mut client = Client::connect(broker.port, claims).0;
    let filters = ["open", "closed"].map(|filter| subscription(filter, QOS0));
    assert_eq!(client.subscribe(&filters), [ReasonCode::Success, ReasonCode::NotAuthorized]);
}
