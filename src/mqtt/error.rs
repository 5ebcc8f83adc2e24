//! core: why bytes are not a packet and why a packet is not said.

use super::packet::Version;
use super::reason::ReasonCode;
use crate::model::TopicError;

/// Why bytes are not an MQTT packet. The connection they came on is over; [`CodecError::reason_code`] is what 5.0 would
/// have it told. Sections and clauses are those of MQTT 5.0 unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// 2.1.2: type 0 is forbidden, and so is 15 before 5.0.
    #[error("packet type {value} is reserved")]
    PacketType {
        /// The type, 0 or 15.
        value: u8,
    },
    /// [MQTT-2.1.3-1]; 3.1.1 [MQTT-2.2.2-2]: flags that are not the ones of this packet.
    #[error("{packet} has fixed header flags {flags:#06b}")]
    FixedHeaderFlags {
        /// The packet's name.
        packet: &'static str,
        /// The lower four bits of the first byte.
        flags: u8,
    },
    /// [MQTT-1.5.5-1]: a variable byte integer in more bytes than it needs.
    #[error("a variable byte integer uses {bytes} bytes and needs fewer")]
    LengthNotMinimal {
        /// Bytes used, 2 to 4.
        bytes: usize,
    },
    /// 1.5.5, 2.1.4: a variable byte integer that does not end within four bytes.
    #[error("a variable byte integer is longer than four bytes")]
    LengthTooLong,
    /// 3.1.2.11.4 [MQTT-3.1.2-24]: more bytes than this side takes.
    #[error("the packet has {bytes} bytes, at most {max} are taken")]
    PacketTooLarge {
        /// Length of the whole packet in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: u32,
    },
    /// 1.2: a field runs past the end of its packet or property section.
    #[error("{packet} ends within a field")]
    Truncated {
        /// The packet's name.
        packet: &'static str,
    },
    /// 1.2: bytes that no field claims.
    #[error("{packet} has {bytes} bytes after its last field")]
    TrailingBytes {
        /// The packet's name.
        packet: &'static str,
        /// How many.
        bytes: usize,
    },
    /// [MQTT-1.5.4-1]: not UTF-8; overlong forms and surrogates are not.
    #[error("{packet} has a string that is not UTF-8")]
    Utf8 {
        /// The packet's name.
        packet: &'static str,
    },
    /// [MQTT-1.5.4-2]: U+0000 in a string.
    #[error("{packet} has a string with the null character")]
    NullCharacter {
        /// The packet's name.
        packet: &'static str,
    },
    /// [MQTT-2.2.1-3], [MQTT-2.2.1-4]: packet id 0.
    #[error("{packet} has packet id 0")]
    PacketIdZero {
        /// The packet's name.
        packet: &'static str,
    },
    /// [MQTT-3.1.2-1], [MQTT-3.1.2-2]: a protocol name and level that are none of 3.1, 3.1.1 and 5.0.
    #[error("protocol name {name:?} with level {level} is not supported")]
    UnsupportedVersion {
        /// At most its first 16 characters.
        name: String,
        /// The protocol level.
        level: u8,
    },
    /// [MQTT-3.1.2-3]: the reserved bit of the connect flags.
    #[error("CONNECT has its reserved flag set")]
    ConnectReservedFlag,
    /// [MQTT-3.1.2-11], [MQTT-3.1.2-13]: will QoS or will retain without a will.
    #[error("CONNECT has connect flags {flags:#010b}: will QoS or will retain without a will")]
    WillFlags {
        /// All connect flags.
        flags: u8,
    },
    /// [MQTT-3.1.2-12]: will QoS 3.
    #[error("CONNECT has will QoS 3")]
    WillQoS,
    /// 3.1.1 [MQTT-3.1.2-22], 3.1 section 3.1: a password needs a user name before 5.0.
    #[error("CONNECT has a password without a user name")]
    PasswordWithoutUsername,
    /// 3.1.1 [MQTT-3.1.3-7], [MQTT-3.1.3-8]: an empty client id asks for a clean session.
    #[error("CONNECT has an empty client id and keeps its session")]
    ClientIdMissing,
    /// [MQTT-3.2.2-1]: flags of CONNACK other than session present.
    #[error("CONNACK has acknowledge flags {flags:#010b}")]
    ConnAckFlags {
        /// The flags.
        flags: u8,
    },
    /// [MQTT-3.2.2-6]; 3.1.1 [MQTT-3.2.2-4]: a session that is present though the connection is refused.
    #[error("CONNACK refuses and has a session present")]
    SessionPresent,
    /// [MQTT-3.3.1-4]: QoS 3.
    #[error("PUBLISH has QoS 3")]
    QoS3,
    /// [MQTT-3.3.1-2]: DUP at QoS 0.
    #[error("PUBLISH has DUP at QoS 0")]
    DupAtQoS0,
    /// 3.3.2.1: neither a topic nor an alias that stands for one.
    #[error("PUBLISH has neither a topic nor a topic alias")]
    TopicMissing,
    /// [MQTT-3.3.2-8]: topic alias 0.
    #[error("{packet} has topic alias 0")]
    TopicAliasZero {
        /// The packet's name.
        packet: &'static str,
    },
    /// [MQTT-4.7.3-1], [MQTT-3.3.2-2], [MQTT-3.3.2-14]: not a topic to publish to.
    #[error("{packet} has a malformed topic name: {rule}")]
    TopicName {
        /// The packet's name.
        packet: &'static str,
        /// The rule that is broken.
        rule: TopicError,
    },
    /// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1]: not a topic filter.
    #[error("{packet} has a malformed topic filter: {rule}")]
    TopicFilter {
        /// The packet's name.
        packet: &'static str,
        /// The rule that is broken.
        rule: TopicError,
    },
    /// [MQTT-4.8.2-1], [MQTT-4.8.2-2]: `$share/` without a name, or without a filter after it.
    #[error("{packet} has a malformed shared subscription, `$share/name/filter` is wanted")]
    ShareName {
        /// The packet's name.
        packet: &'static str,
    },
    /// [MQTT-3.8.3-4]: no local on a shared subscription.
    #[error("SUBSCRIBE has no local on a shared subscription")]
    ShareNoLocal,
    /// [MQTT-3.8.3-5]; 3.1.1 [MQTT-3.8.3-4]: reserved bits of the subscription options.
    #[error("SUBSCRIBE has subscription options {options:#010b} with reserved bits")]
    SubscriptionReservedBits {
        /// The options.
        options: u8,
    },
    /// 3.8.3.1; 3.1.1 [MQTT-3.8.3-4]: QoS 3 asked for.
    #[error("SUBSCRIBE asks for QoS 3")]
    SubscriptionQoS,
    /// 3.8.3.1: retain handling 3.
    #[error("SUBSCRIBE has retain handling 3")]
    RetainHandling,
    /// [MQTT-3.8.3-2], [MQTT-3.10.3-2], 3.9.3, 3.11.3: a list that must not be empty.
    #[error("{packet} has an empty payload")]
    PayloadEmpty {
        /// The packet's name.
        packet: &'static str,
    },
    /// [MQTT-3.2.2-8], [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1], [MQTT-3.9.3-2],
    /// [MQTT-3.11.3-2], [MQTT-3.14.2-1], [MQTT-3.15.2-1]: a reason or return code this packet does not have.
    #[error("{packet} has reason code {byte:#04x}, which it may not have")]
    Reason {
        /// The packet's name.
        packet: &'static str,
        /// The code.
        byte: u8,
    },
    /// 2.2.2.2: a property identifier that does not exist.
    #[error("{packet} has the unknown property {id:#04x}")]
    PropertyUnknown {
        /// The packet's name.
        packet: &'static str,
        /// The identifier.
        id: u32,
    },
    /// 2.2.2.2: a property that belongs to other packets.
    #[error("{packet} has the property {property}, which it may not have")]
    PropertyNotAllowed {
        /// The packet's name.
        packet: &'static str,
        /// The property's name.
        property: &'static str,
    },
    /// 2.2.2.2 and each property's own section: only user properties, and the subscription ids of PUBLISH, repeat.
    #[error("{packet} has the property {property} twice")]
    PropertyRepeated {
        /// The packet's name.
        packet: &'static str,
        /// The property's name.
        property: &'static str,
    },
    /// The property's own section: a number it may not have, such as receive maximum 0 (3.1.2.11.3), payload format
    /// 2 (3.3.2.3.2) or subscription id 0 (3.8.2.1.2).
    #[error("{packet} has the property {property} with value {value}")]
    PropertyValue {
        /// The packet's name.
        packet: &'static str,
        /// The property's name.
        property: &'static str,
        /// The value.
        value: u32,
    },
    /// 3.1.2.11.10, 3.15.2.2.2: authentication data, or AUTH as a whole, without a method.
    #[error("{packet} lacks the authentication method")]
    AuthenticationMethodMissing {
        /// The packet's name.
        packet: &'static str,
    },
}

impl CodecError {
    /// What to tell the other side in CONNACK or DISCONNECT (MQTT 5.0 sections 2.4 and 4.13).
    #[must_use]
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::PacketType { .. }
            | Self::FixedHeaderFlags { .. }
            | Self::LengthNotMinimal { .. }
            | Self::LengthTooLong
            | Self::Truncated { .. }
            | Self::TrailingBytes { .. }
            | Self::Utf8 { .. }
            | Self::NullCharacter { .. }
            | Self::ConnectReservedFlag
            | Self::WillFlags { .. }
            | Self::WillQoS
            | Self::PasswordWithoutUsername
            | Self::ConnAckFlags { .. }
            | Self::QoS3
            | Self::DupAtQoS0
            | Self::SubscriptionReservedBits { .. }
            | Self::PropertyUnknown { .. }
            | Self::PropertyNotAllowed { .. } => ReasonCode::MalformedPacket,
            Self::PacketIdZero { .. }
            | Self::SessionPresent
            | Self::TopicMissing
            | Self::ShareNoLocal
            | Self::SubscriptionQoS
            | Self::RetainHandling
            | Self::PayloadEmpty { .. }
            | Self::Reason { .. }
            | Self::PropertyRepeated { .. }
            | Self::PropertyValue { .. }
            | Self::AuthenticationMethodMissing { .. } => ReasonCode::ProtocolError,
            Self::UnsupportedVersion { .. } => ReasonCode::UnsupportedProtocolVersion,
            Self::ClientIdMissing => ReasonCode::ClientIdNotValid,
            Self::TopicFilter { .. } | Self::ShareName { .. } => ReasonCode::TopicFilterInvalid,
            Self::TopicName { .. } => ReasonCode::TopicNameInvalid,
            Self::TopicAliasZero { .. } => ReasonCode::TopicAliasInvalid,
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
        }
    }
}

/// Why a packet cannot be written. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// 1.5.4, 1.5.6: a string or data above 65,535 bytes.
    #[error("a string or data of {bytes} bytes is above 65535")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// [MQTT-1.5.4-2]: U+0000 in a string.
    #[error("a string has the null character")]
    NullCharacter,
    /// 2.1.4: a body above 268,435,455 bytes.
    #[error("the packet's body of {bytes} bytes is above 268435455")]
    PacketTooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The version has no such packet, or no word for what it says.
    #[error("{what} cannot be said in {version}")]
    NotInVersion {
        /// What cannot be said.
        what: &'static str,
        /// The version.
        version: Version,
    },
    /// A reason code this packet does not have; before 5.0 also one without a return code.
    #[error("{packet} cannot have the reason {reason}")]
    Reason {
        /// The packet's name.
        packet: &'static str,
        /// The reason.
        reason: ReasonCode,
    },
    /// [MQTT-2.2.1-2]: a packet id is present exactly at QoS 1 and 2.
    #[error("PUBLISH has a packet id at QoS 0 or none above")]
    PacketId,
    /// [MQTT-3.3.1-2].
    #[error("PUBLISH has DUP at QoS 0")]
    DupAtQoS0,
    /// 3.3.2.1: neither a topic nor an alias that stands for one.
    #[error("PUBLISH has neither a topic nor a topic alias")]
    TopicMissing,
    /// 3.8.2.1.2: 1 to 268,435,455.
    #[error("subscription id {id} is not in 1..=268435455")]
    SubscriptionId {
        /// The id.
        id: u32,
    },
    /// 3.2.2.3.4: a maximum QoS of 2 is said by leaving it out.
    #[error("CONNACK has maximum QoS 2")]
    MaximumQoS,
    /// [MQTT-3.2.2-6].
    #[error("CONNACK refuses and has a session present")]
    SessionPresent,
    /// 3.1.1 [MQTT-3.1.3-7].
    #[error("CONNECT has an empty client id and keeps its session")]
    ClientIdMissing,
    /// 3.1.1 [MQTT-3.1.2-22].
    #[error("CONNECT has a password without a user name")]
    PasswordWithoutUsername,
    /// 5.0 has no bit for bridges.
    #[error("CONNECT of 5.0 cannot say that a broker bridges")]
    BridgeOfV5,
    /// 3.1.2.11.10, 3.15.2.2.2.
    #[error("{packet} lacks the authentication method")]
    AuthenticationMethodMissing {
        /// The packet's name.
        packet: &'static str,
    },
    /// [MQTT-3.8.3-2], [MQTT-3.10.3-2], 3.9.3, 3.11.3.
    #[error("{packet} has an empty payload")]
    PayloadEmpty {
        /// The packet's name.
        packet: &'static str,
    },
    /// [MQTT-4.8.2-1], [MQTT-4.8.2-2].
    #[error("{packet} has a malformed shared subscription, `$share/name/filter` is wanted")]
    ShareName {
        /// The packet's name.
        packet: &'static str,
    },
    /// [MQTT-3.8.3-4].
    #[error("SUBSCRIBE has no local on a shared subscription")]
    ShareNoLocal,
}
