//! Any packet a version can say, and what of it is left once the version's missing fields are gone.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;
use fieldpost::model::{MessageProperties, QoS, TopicFilter, TopicName};
use fieldpost::mqtt::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet,
    PacketId, Publish, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter, Unsubscribe,
    UserProperties, Version, Will,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Arc<str>> {
    "[^\\x00]{0,8}".prop_map(Arc::from)
}

fn data(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn users() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..3)
}

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn topic() -> impl Strategy<Value = TopicName> {
    "[a-c/$ä]{1,8}".prop_map(|text| TopicName::new(&text).expect("a topic name"))
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    let text = prop_oneof![
        "[a-c/]{1,8}",
        "([a-c]{0,2}/|\\+/){0,3}[#+]",
        "\\$share/[a-c]{1,3}/([a-c]{0,2}/|\\+/){0,2}#",
    ];
    text.prop_map(|text| TopicFilter::new(&text).expect("a topic filter"))
}

fn id() -> impl Strategy<Value = PacketId> {
    any::<NonZeroU16>().prop_map(PacketId)
}

fn reason(codes: &'static [u8]) -> impl Strategy<Value = ReasonCode> {
    prop::sample::select(codes).prop_map(|byte| ReasonCode::from_byte(byte).expect("a reason"))
}

fn subscription_id() -> impl Strategy<Value = u32> {
    prop_oneof![1_u32..300, 1_u32..=268_435_455]
}

fn message_properties() -> impl Strategy<Value = MessageProperties> {
    let fields = (
        option::of(any::<bool>()),
        option::of(text()),
        option::of(topic()),
        option::of(data(9)),
        users(),
    );
    fields.prop_map(
        |(payload_is_utf8, content_type, response_topic, correlation_data, user_properties)| {
            MessageProperties {
                payload_is_utf8,
                content_type,
                response_topic,
                correlation_data,
                user_properties,
            }
        },
    )
}

fn will() -> impl Strategy<Value = Will> {
    let fields = (
        topic(),
        data(9),
        qos(),
        any::<bool>(),
        option::of(any::<u32>()),
        option::of(any::<u32>()),
        message_properties(),
    );
    fields.prop_map(|(topic, payload, qos, retain, delay, message_expiry, properties)| Will {
        topic,
        payload,
        qos,
        retain,
        delay,
        message_expiry,
        properties,
    })
}

fn connect(version: Version) -> impl Strategy<Value = Packet> {
    let properties = (
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        option::of(any::<NonZeroU32>()),
        option::of(any::<u16>()),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
        users(),
        option::of((text(), option::of(data(9)))),
    );
    let properties = properties.prop_map(|fields| {
        let (method, data) = fields.7.unzip();
        ConnectProperties {
            session_expiry: fields.0,
            receive_maximum: fields.1,
            maximum_packet_size: fields.2,
            topic_alias_maximum: fields.3,
            request_response_information: fields.4,
            request_problem_information: fields.5,
            user_properties: fields.6,
            authentication_method: method,
            authentication_data: data.flatten(),
        }
    });
    let fields = (
        any::<(bool, bool)>(),
        any::<u16>(),
        text(),
        option::of(will()),
        option::of(text()),
        option::of(data(9)),
        properties,
    );
    fields.prop_map(
        move |(
            (clean_start, bridge),
            keep_alive,
            client_id,
            will,
            username,
            password,
            properties,
        )| {
            Packet::Connect(Box::new(Connect {
                version,
                bridge: bridge && version != Version::V5,
                clean_start: clean_start || client_id.is_empty(),
                keep_alive,
                client_id,
                will,
                password: password.filter(|_| username.is_some() || version == Version::V5),
                username,
                properties,
            }))
        },
    )
}

fn connack(version: Version) -> impl Strategy<Value = Packet> {
    let reasons: &[u8] = match version {
        Version::V5 => &[0x00, 0x80, 0x84, 0x87, 0x9f],
        Version::V31 | Version::V311 => &[0x00, 0x84, 0x85, 0x86, 0x87, 0x88],
    };
    let numbers = (
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        option::of(prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce])),
        option::of(any::<NonZeroU32>()),
        option::of(any::<u16>()),
        option::of(any::<u16>()),
    );
    let flags = prop::array::uniform4(option::of(any::<bool>()));
    let texts = prop::array::uniform4(option::of(text()));
    let others = (users(), option::of((text(), option::of(data(9)))));
    (any::<bool>(), reason(reasons), numbers, flags, texts, others).prop_map(
        |(session_present, reason, numbers, flags, texts, others)| {
            let [retain_available, wildcard_subscription_available, ids, shared] = flags;
            let [assigned_client_id, reason_string, response_information, server_reference] = texts;
            let (method, data) = others.1.unzip();
            let properties = ConnAckProperties {
                session_expiry: numbers.0,
                receive_maximum: numbers.1,
                maximum_qos: numbers.2,
                retain_available,
                maximum_packet_size: numbers.3,
                assigned_client_id,
                topic_alias_maximum: numbers.4,
                reason_string,
                user_properties: others.0,
                wildcard_subscription_available,
                subscription_ids_available: ids,
                shared_subscription_available: shared,
                server_keep_alive: numbers.5,
                response_information,
                server_reference,
                authentication_method: method,
                authentication_data: data.flatten(),
            };
            let session_present = session_present && reason == ReasonCode::Success;
            Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties }))
        },
    )
}

fn publish(version: Version) -> impl Strategy<Value = Packet> {
    let fields = (
        any::<bool>(),
        qos(),
        any::<bool>(),
        option::weighted(0.8, topic()),
        id(),
        prop_oneof![data(20), data(400)],
        option::of(message_properties()),
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        vec(subscription_id(), 0..3),
    );
    fields.prop_map(
        move |(dup, qos, retain, topic, id, payload, properties, expiry, alias, ids)| {
            let nameless = topic.is_none() && version == Version::V5;
            Packet::Publish(Publish {
                dup: dup && qos != QoS::AtMostOnce,
                qos,
                retain,
                topic: topic
                    .or_else(|| (!nameless).then(|| TopicName::new("t").expect("a topic name"))),
                packet_id: (qos != QoS::AtMostOnce).then_some(id),
                payload,
                properties: properties.filter(|some| !some.is_empty()).map(Arc::new),
                message_expiry: expiry,
                topic_alias: alias.or(nameless.then_some(NonZeroU16::MIN)),
                subscription_ids: ids,
            })
        },
    )
}

fn ack(codes: &'static [u8]) -> impl Strategy<Value = Ack> {
    (id(), reason(codes), option::of(text()), users()).prop_map(
        |(packet_id, reason, reason_string, user_properties)| Ack {
            packet_id,
            reason,
            reason_string,
            user_properties,
        },
    )
}

fn suback(codes: &'static [u8]) -> impl Strategy<Value = SubAck> {
    (id(), option::of(text()), users(), vec(reason(codes), 1..5)).prop_map(
        |(packet_id, reason_string, user_properties, reasons)| SubAck {
            packet_id,
            reason_string,
            user_properties,
            reasons,
        },
    )
}

fn subscribe() -> impl Strategy<Value = Subscribe> {
    let handling = prop::sample::select(vec![
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    let one = (filter(), qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        |(filter, qos, no_local, retain_as_published, retain_handling)| SubscribeFilter {
            no_local: no_local && !filter.as_str().starts_with("$share/"),
            filter,
            qos,
            retain_as_published,
            retain_handling,
        },
    );
    (id(), option::of(subscription_id()), users(), vec(one, 1..4)).prop_map(
        |(packet_id, subscription_id, user_properties, filters)| Subscribe {
            packet_id,
            subscription_id,
            user_properties,
            filters,
        },
    )
}

fn disconnect(version: Version) -> impl Strategy<Value = Packet> {
    let codes: &[u8] = match version {
        Version::V5 => &[0x00, 0x04, 0x80, 0x8d, 0x9c, 0xa2],
        Version::V31 | Version::V311 => &[0x00],
    };
    let fields =
        (reason(codes), option::of(any::<u32>()), option::of(text()), users(), option::of(text()));
    fields.prop_map(|(reason, session_expiry, reason_string, user_properties, server_reference)| {
        Packet::Disconnect(Disconnect {
            reason,
            session_expiry,
            reason_string,
            user_properties,
            server_reference,
        })
    })
}

fn auth() -> impl Strategy<Value = Packet> {
    let fields =
        (reason(&[0x00, 0x18, 0x19]), text(), option::of(data(9)), option::of(text()), users());
    fields.prop_map(|(reason, method, data, reason_string, user_properties)| {
        Packet::Auth(Auth { reason, method: Some(method), data, reason_string, user_properties })
    })
}

/// Any packet `version` can say, with properties in every version.
pub(crate) fn packet(version: Version) -> BoxedStrategy<Packet> {
    const RECEIVED: &[u8] = &[0x00, 0x10, 0x80, 0x87, 0x91, 0x99];
    const RELEASED: &[u8] = &[0x00, 0x92];
    const SUBSCRIBED: &[u8] = &[0x00, 0x01, 0x02, 0x80, 0x87, 0x8f, 0x9e, 0xa2];
    const UNSUBSCRIBED: &[u8] = &[0x00, 0x11, 0x80, 0x8f];
    let unsubscribe =
        (id(), users(), vec(filter(), 1..4)).prop_map(|(packet_id, user_properties, filters)| {
            Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters })
        });
    let last = if version == Version::V5 { auth().boxed() } else { Just(Packet::PingResp).boxed() };
    prop_oneof![
        connect(version),
        connack(version),
        publish(version),
        publish(version),
        ack(RECEIVED).prop_map(Packet::PubAck),
        ack(RECEIVED).prop_map(Packet::PubRec),
        ack(RELEASED).prop_map(Packet::PubRel),
        ack(RELEASED).prop_map(Packet::PubComp),
        subscribe().prop_map(Packet::Subscribe),
        suback(SUBSCRIBED).prop_map(Packet::SubAck),
        unsubscribe,
        suback(UNSUBSCRIBED).prop_map(Packet::UnsubAck),
        prop_oneof![Just(Packet::PingReq), Just(Packet::PingResp)],
        disconnect(version),
        last,
    ]
    .boxed()
}

/// What `version` has fields for.
pub(crate) fn left(packet: &Packet, version: Version) -> Packet {
    if version == Version::V5 {
        return packet.clone();
    }
    let bare = |ack: &Ack| Ack::new(ack.packet_id, ReasonCode::Success);
    let bare_suback = |suback: &SubAck, reasons: Vec<ReasonCode>| SubAck {
        packet_id: suback.packet_id,
        reason_string: None,
        user_properties: Vec::new(),
        reasons,
    };
    match packet {
        Packet::Connect(connect) => {
            let mut connect = connect.clone();
            connect.properties = ConnectProperties::default();
            if let Some(will) = &mut connect.will {
                will.delay = None;
                will.message_expiry = None;
                will.properties = MessageProperties::default();
            }
            Packet::Connect(connect)
        }
        Packet::ConnAck(connack) => {
            let mut connack = connack.clone();
            connack.properties = ConnAckProperties::default();
            connack.session_present &= version == Version::V311;
            Packet::ConnAck(connack)
        }
        Packet::Publish(publish) => Packet::Publish(Publish {
            properties: None,
            message_expiry: None,
            topic_alias: None,
            subscription_ids: Vec::new(),
            ..publish.clone()
        }),
        Packet::PubAck(ack) => Packet::PubAck(bare(ack)),
        Packet::PubRec(ack) => Packet::PubRec(bare(ack)),
        Packet::PubRel(ack) => Packet::PubRel(bare(ack)),
        Packet::PubComp(ack) => Packet::PubComp(bare(ack)),
        Packet::Subscribe(subscribe) => {
            let mut subscribe = subscribe.clone();
            subscribe.subscription_id = None;
            subscribe.user_properties = Vec::new();
            for filter in &mut subscribe.filters {
                filter.no_local = false;
                filter.retain_as_published = false;
                filter.retain_handling = RetainHandling::Send;
            }
            Packet::Subscribe(subscribe)
        }
        Packet::SubAck(suback) => {
            let known = |&reason: &ReasonCode| match reason.is_failure() {
                true => ReasonCode::UnspecifiedError,
                false => reason,
            };
            Packet::SubAck(bare_suback(suback, suback.reasons.iter().map(known).collect()))
        }
        Packet::Unsubscribe(unsubscribe) => {
            Packet::Unsubscribe(Unsubscribe { user_properties: Vec::new(), ..unsubscribe.clone() })
        }
        Packet::UnsubAck(unsuback) => Packet::UnsubAck(bare_suback(unsuback, Vec::new())),
        Packet::PingReq | Packet::PingResp | Packet::Auth(_) => packet.clone(),
        Packet::Disconnect(disconnect) => Packet::Disconnect(Disconnect::new(disconnect.reason)),
    }
}
