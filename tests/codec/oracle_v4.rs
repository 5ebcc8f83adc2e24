//! What the 3.1.1 packets of rumqttc mean in our model.

use fieldpost::model::{MessageProperties, TopicFilter, TopicName};
use fieldpost::mqtt::{
    Ack, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet, PacketId,
    Publish, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter, Unsubscribe, Version,
    Will,
};
use rumqttc::mqttbytes::v4;

use crate::oracle::{qos, reason};

fn id(pkid: u16) -> PacketId {
    PacketId::new(pkid).expect("a packet id")
}

fn ack(pkid: u16) -> Ack {
    Ack::new(id(pkid), ReasonCode::Success)
}

fn suback(pkid: u16, reasons: Vec<ReasonCode>) -> SubAck {
    SubAck { packet_id: id(pkid), reason_string: None, user_properties: Vec::new(), reasons }
}

pub(crate) fn ours(theirs: &v4::Packet) -> Packet {
    match theirs {
        v4::Packet::Connect(connect) => Packet::Connect(Box::new(Connect {
            version: Version::V311,
            bridge: false,
            clean_start: connect.clean_session,
            keep_alive: connect.keep_alive,
            client_id: connect.client_id.as_str().into(),
            will: connect.last_will.as_ref().map(|will| Will {
                topic: TopicName::new(&will.topic).expect("a topic name"),
                payload: will.message.clone(),
                qos: qos(will.qos as u8),
                retain: will.retain,
                delay: None,
                message_expiry: None,
                properties: MessageProperties::default(),
            }),
            username: connect.login.as_ref().map(|login| login.username.as_str().into()),
            password: connect.login.as_ref().map(|login| login.password.clone().into()),
            properties: ConnectProperties::default(),
        })),
        v4::Packet::ConnAck(connack) => Packet::ConnAck(Box::new(ConnAck {
            session_present: connack.session_present,
            reason: reason(connack.code),
            properties: ConnAckProperties::default(),
        })),
        v4::Packet::Publish(publish) => Packet::Publish(Publish {
            dup: publish.dup,
            qos: qos(publish.qos as u8),
            retain: publish.retain,
            topic: Some(TopicName::new(&publish.topic).expect("a topic name")),
            packet_id: PacketId::new(publish.pkid),
            payload: publish.payload.clone(),
            properties: None,
            message_expiry: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
        }),
        v4::Packet::PubAck(theirs) => Packet::PubAck(ack(theirs.pkid)),
        v4::Packet::PubRec(theirs) => Packet::PubRec(ack(theirs.pkid)),
        v4::Packet::PubRel(theirs) => Packet::PubRel(ack(theirs.pkid)),
        v4::Packet::PubComp(theirs) => Packet::PubComp(ack(theirs.pkid)),
        v4::Packet::Subscribe(subscribe) => Packet::Subscribe(Subscribe {
            packet_id: id(subscribe.pkid),
            subscription_id: None,
            user_properties: Vec::new(),
            filters: subscribe
                .filters
                .iter()
                .map(|filter| SubscribeFilter {
                    filter: TopicFilter::new(&filter.path).expect("a filter"),
                    qos: qos(filter.qos as u8),
                    no_local: false,
                    retain_as_published: false,
                    retain_handling: RetainHandling::Send,
                })
                .collect(),
        }),
        v4::Packet::SubAck(theirs) => {
            Packet::SubAck(suback(theirs.pkid, theirs.return_codes.iter().map(reason).collect()))
        }
        v4::Packet::Unsubscribe(unsubscribe) => Packet::Unsubscribe(Unsubscribe {
            packet_id: id(unsubscribe.pkid),
            user_properties: Vec::new(),
            filters: unsubscribe
                .topics
                .iter()
                .map(|filter| TopicFilter::new(filter).expect("a filter"))
                .collect(),
        }),
        v4::Packet::UnsubAck(theirs) => Packet::UnsubAck(suback(theirs.pkid, Vec::new())),
        v4::Packet::PingReq => Packet::PingReq,
        v4::Packet::PingResp => Packet::PingResp,
        v4::Packet::Disconnect => Packet::Disconnect(Disconnect::new(ReasonCode::Success)),
    }
}
