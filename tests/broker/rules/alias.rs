//! Topic aliases and receive maximum. MQTT 5.0 sections 3.3.2.3.4, 4.9.

use fieldpost::mqtt::{ConnAck, Packet, Version};

use super::{enter, stay};
use crate::client::{Client, QOS0, QOS1, connect, ok, persistent, subscription};
use crate::gateway::Gateway;

fn offered(ack: &ConnAck) -> u16 {
    ack.properties.topic_alias_maximum.expect("aliases are offered")
}

#[test]
fn every_alias_up_to_the_maximum_may_be_given_and_given_again() {
    let gateway = Gateway::start();
    let mut subscriber = Client::subscriber(gateway.port, Version::V5, "s", "t/#", QOS0);
    let (mut client, ack) = Client::try_connect(gateway.port, connect(Version::V5, "c"));
    let max = offered(&ack);
    for round in 0..2 {
        for alias in 1..=max {
            client.say(&format!("30 [ 't/{round}/{alias}' ( 23 {alias:04x} ) =named ]"));
        }
        for alias in 1..=max {
            client.say(&format!("30 [ '' ( 23 {alias:04x} ) =meant ]"));
        }
        for payload in ["named", "meant"] {
            for alias in 1..=max {
                subscriber.hear(&format!("30 [ 't/{round}/{alias}' () ={payload} ]"));
            }
        }
    }
}

#[test]
fn aliases_end_with_their_connection_also_where_the_session_stays() {
    let gateway = Gateway::start();
    let mut client = stay(&gateway, Version::V5, "c");
    client.say("32 [ 't' 0001 ( 23 0001 ) =x ]");
    client.hear("40 [ 0001 ]");
    client.cut();
    let mut client = stay(&gateway, Version::V5, "c");
    client.say("30 [ '' ( 23 0001 ) =x ]");
    client.hear_disconnect(0x82);
}

#[test]
fn a_delivery_has_no_alias_beyond_what_the_client_takes_and_names_its_topic_again_after_a_cut() {
    let gateway = Gateway::start();
    let mut publisher = enter(&gateway, Version::V5, "p");
    for most in [None, Some(0), Some(1), Some(3)] {
        let mut asks = persistent(Version::V5, "s");
        asks.properties.topic_alias_maximum = most;
        let (mut client, _) = Client::connect(gateway.port, asks.clone());
        client.subscribe(&[subscription("a/long/topic/#", QOS1)]);
        let topics: Vec<String> = (0..5).map(|at| format!("a/long/topic/{at}")).collect();
        for round in 0..3 {
            for topic in &topics {
                publisher.publish(QOS1, 1, topic, &format!("{topic} {round}"));
            }
        }
        let mut names = std::collections::BTreeMap::new();
        let packets = client.so_far();
        for packet in &packets {
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            let alias = publish.topic_alias.map_or(0, u16::from);
            assert!(alias <= most.unwrap_or(0), "{alias}, {most:?}");
            if let Some(topic) = &publish.topic {
                names.insert(alias, topic.as_str().to_owned());
            }
            let said = String::from_utf8_lossy(&publish.payload).into_owned();
            assert_eq!(said.split(' ').next(), names.get(&alias).map(String::as_str));
        }
        assert_eq!(packets.len(), 15);
        // Nothing was acknowledged: it comes again, and each topic has its name on the way.
        client.cut();
        let (mut client, _) = Client::connect(gateway.port, asks);
        let mut names = std::collections::BTreeMap::new();
        for packet in client.so_far() {
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            let alias = publish.topic_alias.map_or(0, u16::from);
            if let Some(topic) = &publish.topic {
                names.insert(alias, topic.as_str().to_owned());
            }
            assert!(names.contains_key(&alias), "{publish:?}");
            client.send(Packet::PubAck(ok(publish.packet_id.expect("a packet id").get())));
        }
        assert_eq!(client.so_far(), []);
        client.disconnect(fieldpost::mqtt::ReasonCode::Success, Some(0));
    }
}

#[test]
fn a_client_may_have_as_much_under_way_as_was_announced_and_no_more() {
    let gateway = Gateway::start();
    let (mut client, ack) = Client::try_connect(gateway.port, connect(Version::V5, "c"));
    let most = ack.properties.receive_maximum.map_or(u16::MAX, u16::from);
    for round in 0..2 {
        for id in 1..=most {
            client.say(&format!("34 [ 't' {id:04x} () =x ]"));
        }
        for id in 1..=most {
            client.hear(&format!("50 [ {id:04x} ]"));
        }
        if round == 0 {
            for id in 1..=most {
                client.say(&format!("62 [ {id:04x} ]"));
                client.hear(&format!("70 [ {id:04x} ]"));
            }
        }
    }
    // QoS 0 does not count.
    client.publish(QOS0, 1, "t", "x");
    client.say(&format!("34 [ 't' {:04x} () =x ]", most + 1));
    client.hear_disconnect(0x93);
}
