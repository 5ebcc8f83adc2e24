//! What the 5.0 packets of rumqttc mean in our model.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;
use fieldpost::model::{MessageProperties, TopicFilter, TopicName};
use fieldpost::mqtt::{
    Ack, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet, PacketId,
    Publish, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter, Unsubscribe,
    UserProperties, Version, Will,
};
use rumqttc::v5::mqttbytes::v5;

use crate::oracle::{qos, reason};

fn id(pkid: u16) -> PacketId {
    PacketId::new(pkid).expect("a packet id")
}

fn text(theirs: Option<&String>) -> Option<Arc<str>> {
    theirs.map(|text| text.as_str().into())
}

fn users(theirs: &[(String, String)]) -> UserProperties {
    theirs.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

fn topic(theirs: &[u8]) -> TopicName {
    TopicName::new(std::str::from_utf8(theirs).expect("UTF-8")).expect("a topic name")
}

fn flag(theirs: Option<u8>) -> Option<bool> {
    theirs.map(|byte| byte == 1)
}

fn two(theirs: Option<u16>) -> Option<NonZeroU16> {
    theirs.map(|number| NonZeroU16::new(number).expect("not 0"))
}

fn four(theirs: Option<u32>) -> Option<NonZeroU32> {
    theirs.map(|number| NonZeroU32::new(number).expect("not 0"))
}

fn subscription_id(theirs: usize) -> u32 {
    u32::try_from(theirs).expect("28 bits")
}

/// All its acknowledgements look alike and are different types.
macro_rules! ack {
    ($theirs:expr) => {
        Ack {
            packet_id: id($theirs.pkid),
            reason: reason($theirs.reason),
            reason_string: text(
                $theirs.properties.as_ref().and_then(|some| some.reason_string.as_ref()),
            ),
            user_properties: $theirs
                .properties
                .as_ref()
                .map(|some| users(&some.user_properties))
                .unwrap_or_default(),
        }
    };
}

macro_rules! suback {
    ($theirs:expr, $reasons:ident) => {
        SubAck {
            packet_id: id($theirs.pkid),
            reason_string: text(
                $theirs.properties.as_ref().and_then(|some| some.reason_string.as_ref()),
            ),
            user_properties: $theirs
                .properties
                .as_ref()
                .map(|some| users(&some.user_properties))
                .unwrap_or_default(),
            reasons: $theirs.$reasons.iter().map(reason).collect(),
        }
    };
}

fn will(theirs: &v5::LastWill) -> Will {
    let mut will = Will {
        topic: topic(&theirs.topic),
        payload: theirs.message.clone(),
        qos: qos(theirs.qos as u8),
        retain: theirs.retain,
        delay: None,
        message_expiry: None,
        properties: MessageProperties::default(),
    };
    if let Some(some) = &theirs.properties {
        will.delay = some.delay_interval;
        will.message_expiry = some.message_expiry_interval;
        will.properties = MessageProperties {
            payload_is_utf8: flag(some.payload_format_indicator),
            content_type: text(some.content_type.as_ref()),
            response_topic: some.response_topic.as_ref().map(|name| topic(name.as_bytes())),
            correlation_data: some.correlation_data.clone(),
            user_properties: users(&some.user_properties),
        };
    }
    will
}

fn connect(
    theirs: &v5::Connect,
    last_will: Option<&v5::LastWill>,
    login: Option<&v5::Login>,
) -> Connect {
    let properties = theirs.properties.as_ref().map(|some| ConnectProperties {
        session_expiry: some.session_expiry_interval,
        receive_maximum: two(some.receive_maximum),
        maximum_packet_size: four(some.max_packet_size),
        topic_alias_maximum: some.topic_alias_max,
        request_response_information: flag(some.request_response_info),
        request_problem_information: flag(some.request_problem_info),
        user_properties: users(&some.user_properties),
        authentication_method: text(some.authentication_method.as_ref()),
        authentication_data: some.authentication_data.clone(),
    });
    Connect {
        version: Version::V5,
        bridge: false,
        clean_start: theirs.clean_start,
        keep_alive: theirs.keep_alive,
        client_id: theirs.client_id.as_str().into(),
        will: last_will.map(will),
        username: login.map(|login| login.username.as_str().into()),
        password: login.map(|login| Bytes::from(login.password.clone())),
        properties: properties.unwrap_or_default(),
    }
}

fn connack(theirs: &v5::ConnAck) -> ConnAck {
    let properties = theirs.properties.as_ref().map(|some| ConnAckProperties {
        session_expiry: some.session_expiry_interval,
        receive_maximum: two(some.receive_max),
        maximum_qos: some.max_qos.map(qos),
        retain_available: flag(some.retain_available),
        maximum_packet_size: four(some.max_packet_size),
        assigned_client_id: text(some.assigned_client_identifier.as_ref()),
        topic_alias_maximum: some.topic_alias_max,
        reason_string: text(some.reason_string.as_ref()),
        user_properties: users(&some.user_properties),
        wildcard_subscription_available: flag(some.wildcard_subscription_available),
        subscription_ids_available: flag(some.subscription_identifiers_available),
        shared_subscription_available: flag(some.shared_subscription_available),
        server_keep_alive: some.server_keep_alive,
        response_information: text(some.response_information.as_ref()),
        server_reference: text(some.server_reference.as_ref()),
        authentication_method: text(some.authentication_method.as_ref()),
        authentication_data: some.authentication_data.clone(),
    });
    ConnAck {
        session_present: theirs.session_present,
        reason: reason(theirs.code),
        properties: properties.unwrap_or_default(),
    }
}

fn publish(theirs: &v5::Publish) -> Publish {
    let mut publish = Publish {
        dup: theirs.dup,
        qos: qos(theirs.qos as u8),
        retain: theirs.retain,
        topic: (!theirs.topic.is_empty()).then(|| topic(&theirs.topic)),
        packet_id: PacketId::new(theirs.pkid),
        payload: theirs.payload.clone(),
        properties: None,
        message_expiry: None,
        topic_alias: None,
        subscription_ids: Vec::new(),
    };
    if let Some(some) = &theirs.properties {
        let properties = MessageProperties {
            payload_is_utf8: flag(some.payload_format_indicator),
            content_type: text(some.content_type.as_ref()),
            response_topic: some.response_topic.as_ref().map(|name| topic(name.as_bytes())),
            correlation_data: some.correlation_data.clone(),
            user_properties: users(&some.user_properties),
        };
        publish.properties = (!properties.is_empty()).then(|| Arc::new(properties));
        publish.message_expiry = some.message_expiry_interval;
        publish.topic_alias = two(some.topic_alias);
        publish.subscription_ids =
            some.subscription_identifiers.iter().copied().map(subscription_id).collect();
    }
    publish
}

fn subscribe(theirs: &v5::Subscribe) -> Subscribe {
    let properties = theirs.properties.as_ref();
    Subscribe {
        packet_id: id(theirs.pkid),
        subscription_id: properties.and_then(|some| some.id).map(subscription_id),
        user_properties: properties.map(|some| users(&some.user_properties)).unwrap_or_default(),
        filters: theirs
            .filters
            .iter()
            .map(|filter| SubscribeFilter {
                filter: TopicFilter::new(&filter.path).expect("a filter"),
                qos: qos(filter.qos as u8),
                no_local: filter.nolocal,
                retain_as_published: filter.preserve_retain,
                retain_handling: match filter.retain_forward_rule {
                    v5::RetainForwardRule::OnEverySubscribe => RetainHandling::Send,
                    v5::RetainForwardRule::OnNewSubscribe => RetainHandling::SendIfNew,
                    v5::RetainForwardRule::Never => RetainHandling::DoNotSend,
                },
            })
            .collect(),
    }
}

fn disconnect(theirs: &v5::Disconnect) -> Disconnect {
    let byte = theirs.reason_code as u8;
    let mut disconnect = Disconnect::new(ReasonCode::from_byte(byte).expect("a reason"));
    if let Some(some) = &theirs.properties {
        disconnect.session_expiry = some.session_expiry_interval;
        disconnect.reason_string = text(some.reason_string.as_ref());
        disconnect.user_properties = users(&some.user_properties);
        disconnect.server_reference = text(some.server_reference.as_ref());
    }
    disconnect
}

pub(crate) fn ours(theirs: &v5::Packet) -> Packet {
    match theirs {
        v5::Packet::Auth(_) => panic!("its reader has no AUTH"),
        v5::Packet::Connect(theirs, will, login) => {
            Packet::Connect(Box::new(connect(theirs, will.as_ref(), login.as_ref())))
        }
        v5::Packet::ConnAck(theirs) => Packet::ConnAck(Box::new(connack(theirs))),
        v5::Packet::Publish(theirs) => Packet::Publish(publish(theirs)),
        v5::Packet::PubAck(theirs) => Packet::PubAck(ack!(theirs)),
        v5::Packet::PubRec(theirs) => Packet::PubRec(ack!(theirs)),
        v5::Packet::PubRel(theirs) => Packet::PubRel(ack!(theirs)),
        v5::Packet::PubComp(theirs) => Packet::PubComp(ack!(theirs)),
        v5::Packet::Subscribe(theirs) => Packet::Subscribe(subscribe(theirs)),
        v5::Packet::SubAck(theirs) => Packet::SubAck(suback!(theirs, return_codes)),
        v5::Packet::Unsubscribe(theirs) => Packet::Unsubscribe(Unsubscribe {
            packet_id: id(theirs.pkid),
            user_properties: theirs
                .properties
                .as_ref()
                .map(|some| users(&some.user_properties))
                .unwrap_or_default(),
            filters: theirs
                .filters
                .iter()
                .map(|filter| TopicFilter::new(filter).expect("a filter"))
                .collect(),
        }),
        v5::Packet::UnsubAck(theirs) => Packet::UnsubAck(suback!(theirs, reasons)),
        v5::Packet::PingReq(_) => Packet::PingReq,
        v5::Packet::PingResp(_) => Packet::PingResp,
        v5::Packet::Disconnect(theirs) => Packet::Disconnect(disconnect(theirs)),
    }
}
