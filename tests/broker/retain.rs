//! Retained messages.

use fieldpost::mqtt::{Packet, Publish, RetainHandling, SubscribeFilter, Version};

use crate::client::{Client, QOS0, QOS1, VERSIONS, connect, ok, publish, subscription};
use crate::gateway::Gateway;

fn retain(publisher: &mut Client, number: u16, at: &str, payload: &str) {
    publisher.send(Packet::Publish(Publish { retain: true, ..publish(QOS1, number, at, payload) }));
    publisher.expect(Packet::PubAck(ok(number)));
}

#[test]
fn a_retained_message_is_kept_replaced_and_cleared_also_over_a_restart() {
    for version in VERSIONS {
        let mut gateway = Gateway::start();
        let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
        retain(&mut publisher, 1, "r/a", "old");
        retain(&mut publisher, 2, "r/a", "new");
        retain(&mut publisher, 3, "r/b", "gone");
        retain(&mut publisher, 4, "r/b", "");
        for _ in 0..2 {
            let mut subscriber = Client::subscriber(gateway.port, version, "s", "r/#", QOS1);
            let got = subscriber.receive_publish();
            assert_eq!((&got.payload[..], got.retain), (&b"new"[..], true));
            assert_eq!(subscriber.so_far(), []);
            gateway.kill();
        }
    }
}

#[test]
fn whoever_is_subscribed_already_gets_it_as_an_ordinary_message() {
    for version in VERSIONS {
        let gateway = Gateway::start();
        let mut subscriber = Client::subscriber(gateway.port, version, "s", "r", QOS0);
        let (mut publisher, _) = Client::connect(gateway.port, connect(version, "p"));
        retain(&mut publisher, 1, "r", "x");
        assert!(!subscriber.receive_publish().retain);
        // A subscription that is made again brings it again, as a retained one.
        subscriber.subscribe(&[subscription("r", QOS0)]);
        assert!(subscriber.receive_publish().retain);
    }
}

#[test]
fn the_options_of_a_subscription_decide_what_is_retained_for_it() {
    let gateway = Gateway::start();
    let (mut client, _) = Client::connect(gateway.port, connect(Version::V5, "c"));
    retain(&mut client, 1, "r", "x");
    let handling = |retain_handling| SubscribeFilter { retain_handling, ..subscription("r", QOS0) };
    client.subscribe(&[handling(RetainHandling::DoNotSend)]);
    assert_eq!(client.so_far(), []);
    client.subscribe(&[handling(RetainHandling::SendIfNew)]);
    assert_eq!(client.so_far(), []);
    client.subscribe(&[handling(RetainHandling::Send)]);
    assert_eq!(client.payloads(), ["x"]);
    let published = SubscribeFilter {
        retain_as_published: true,
        no_local: false,
        ..handling(RetainHandling::DoNotSend)
    };
    client.subscribe(&[published]);
    client.send(Packet::Publish(Publish { retain: true, ..publish(QOS0, 1, "r", "y") }));
    assert!(client.receive_publish().retain);
}
