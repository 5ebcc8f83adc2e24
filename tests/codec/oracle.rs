//! The codec of rumqttc as a second opinion: it reads what we write, and we read what it writes, to the same meaning.
//!
//! It is more lenient than ours and has gaps of its own; packets it cannot read or loses part of are left out, each
//! with the reason.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fieldpost::model::QoS;
use fieldpost::mqtt::{Connect, Packet, ReasonCode, Version, decode, encode};
use proptest::prelude::*;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use crate::arbitrary::{left, packet};
use crate::notation::options;
use crate::{oracle_v4, oracle_v5};

/// Its enums of reasons have names and no numbers; this finds ours.
pub(crate) fn reason(named: impl std::fmt::Debug) -> ReasonCode {
    let name = format!("{named:?}");
    let ours = match name.as_str() {
        "RefusedProtocolVersion" => "UnsupportedProtocolVersion",
        "BadClientId" | "ClientIdentifierNotValid" => "ClientIdNotValid",
        "ServiceUnavailable" => "ServerUnavailable",
        "BadUserNamePassword" => "BadUserNameOrPassword",
        "PacketIdentifierInUse" | "PkidInUse" => "PacketIdInUse",
        "PacketIdentifierNotFound" => "PacketIdNotFound",
        "Unspecified" | "Failure" => "UnspecifiedError",
        "ImplementationSpecific" => "ImplementationSpecificError",
        "SubscriptionIdNotSupported" => "SubscriptionIdsNotSupported",
        "Success(AtMostOnce)" => "Success",
        "Success(AtLeastOnce)" => "GrantedQoS1",
        "Success(ExactlyOnce)" => "GrantedQoS2",
        same => same,
    };
    (0..=u8::MAX)
        .filter_map(ReasonCode::from_byte)
        .find(|reason| format!("{reason:?}") == ours)
        .unwrap_or_else(|| panic!("a reason called {name}"))
}

pub(crate) fn qos(level: u8) -> QoS {
    QoS::try_from(level).expect("0, 1 or 2")
}

/// It keeps a password as text, and takes an empty user name or password for none.
fn plain_credentials(connect: &mut Connect) {
    let both = connect.username.is_some() && connect.password.is_some();
    connect.username = connect.username.take().map(|name| Arc::from(format!("u{name}")));
    connect.password = connect.password.take().map(|_| Bytes::from_static(b"password"));
    if !both {
        connect.username = None;
        connect.password = None;
    }
}

/// The packet as the other codec can know it; `None` if it cannot.
fn known(mut packet: Packet, version: Version) -> Option<Packet> {
    match &mut packet {
        Packet::Connect(connect) => {
            // It does not know what mosquitto made of the level.
            connect.bridge = false;
            plain_credentials(connect);
        }
        // Its reader has no AUTH.
        Packet::Auth(_) => return None,
        // Its 5.0 reader wants a reason and a property length.
        Packet::Disconnect(disconnect) if version == Version::V5 => {
            disconnect.reason_string.get_or_insert_default();
        }
        // Its reader counts a byte too many for each subscription id: after two it takes the properties that
        // follow for payload.
        Packet::Publish(publish) => publish.subscription_ids.truncate(1),
        Packet::ConnAck(_)
        | Packet::PubAck(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::Subscribe(_)
        | Packet::SubAck(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::PingResp
        | Packet::Disconnect(_) => {}
    }
    Some(left(&packet, version))
}

fn shared(version: Version) -> impl Strategy<Value = Packet> {
    packet(version).prop_filter_map("known to both", move |packet| known(packet, version))
}

fn written(packet: &Packet, version: Version) -> BytesMut {
    let mut out = BytesMut::new();
    encode(packet, version, &mut out).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn both_codecs_of_311_understand_each_other(packet in shared(Version::V311)) {
        let version = Version::V311;
        let mut bytes = written(&packet, version);
        let theirs = v4::Packet::read(&mut bytes, 1_000_000).unwrap();
        prop_assert!(bytes.is_empty());
        prop_assert_eq!(&oracle_v4::ours(&theirs), &packet);
        theirs.write(&mut bytes, 1_000_000).unwrap();
        prop_assert_eq!(decode(&mut bytes, &options(version)), Ok(Some(packet)));
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn both_codecs_of_5_understand_each_other(packet in shared(Version::V5)) {
        let version = Version::V5;
        let mut bytes = written(&packet, version);
        let theirs = v5::Packet::read(&mut bytes, None)
            .unwrap_or_else(|error| panic!("{error}: {packet:?}"));
        prop_assert!(bytes.is_empty());
        prop_assert_eq!(&oracle_v5::ours(&theirs), &packet);
        theirs.write(&mut bytes, None).unwrap();
        prop_assert_eq!(decode(&mut bytes, &options(version)), Ok(Some(packet)));
        prop_assert!(bytes.is_empty());
    }
}
