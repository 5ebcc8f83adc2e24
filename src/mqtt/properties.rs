//! core: the table of properties, MQTT 5.0 section 2.2.2.2: which there are, which packet has which, and in which field
//! of the model each lies. Reading and writing both follow it.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;

use super::error::CodecError;
use super::packet::{
    Ack, Auth, ConnAckProperties, ConnectProperties, Disconnect, Publish, SubAck, Subscribe,
    Unsubscribe, Will,
};
use super::read::Reader;
use super::write::Sink;
use crate::model::{MessageProperties, QoS, TopicName};

macro_rules! properties {
    ($($name:ident = $id:literal, $text:literal;)*) => {
        /// A property of MQTT 5.0 (section 2.2.2.2).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Property {
            $($name = $id,)*
        }

        impl Property {
            /// The property with this identifier.
            pub(super) fn from_id(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The specification's name for it, in lower case.
            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

properties! {
    PayloadFormat = 0x01, "payload format indicator";
    MessageExpiry = 0x02, "message expiry interval";
    ContentType = 0x03, "content type";
    ResponseTopic = 0x08, "response topic";
    CorrelationData = 0x09, "correlation data";
    SubscriptionId = 0x0b, "subscription identifier";
    SessionExpiry = 0x11, "session expiry interval";
    AssignedClientId = 0x12, "assigned client identifier";
    ServerKeepAlive = 0x13, "server keep alive";
    AuthenticationMethod = 0x15, "authentication method";
    AuthenticationData = 0x16, "authentication data";
    RequestProblemInformation = 0x17, "request problem information";
    WillDelay = 0x18, "will delay interval";
    RequestResponseInformation = 0x19, "request response information";
    ResponseInformation = 0x1a, "response information";
    ServerReference = 0x1c, "server reference";
    ReasonString = 0x1f, "reason string";
    ReceiveMaximum = 0x21, "receive maximum";
    TopicAliasMaximum = 0x22, "topic alias maximum";
    TopicAlias = 0x23, "topic alias";
    MaximumQoS = 0x24, "maximum QoS";
    RetainAvailable = 0x25, "retain available";
    User = 0x26, "user property";
    MaximumPacketSize = 0x27, "maximum packet size";
    WildcardSubscriptionAvailable = 0x28, "wildcard subscription available";
    SubscriptionIdsAvailable = 0x29, "subscription identifiers available";
    SharedSubscriptionAvailable = 0x2a, "shared subscription available";
}

/// The properties one packet may have.
pub(super) trait PropertySet {
    /// Reads the value of `property` into its field; an error if this packet has no such property.
    fn read(&mut self, property: Property, reader: &mut Reader<'_>) -> Result<(), CodecError>;

    /// Writes what is present, in the order of the table.
    fn write<S: Sink>(&self, sink: &mut S);

    /// Whether nothing is present.
    fn is_absent(&self) -> bool;
}

macro_rules! property_sets {
    ($($set:ty { $($property:ident => $field:ident,)* $(.. $rest:ident)? })*) => {$(
        impl PropertySet for $set {
            fn read(
                &mut self,
                property: Property,
                reader: &mut Reader<'_>,
            ) -> Result<(), CodecError> {
                $(if property == Property::$property {
                    return self.$field.fill(property, reader);
                })*
                $(if true {
                    return self.$rest.read(property, reader);
                })?
                #[allow(unreachable_code, reason = "a set that ends in another has handed on")]
                Err(CodecError::PropertyNotAllowed {
                    packet: reader.packet(),
                    property: property.name(),
                })
            }

            fn write<S: Sink>(&self, sink: &mut S) {
                $(self.$field.put(Property::$property, sink);)*
                $(self.$rest.write(sink);)?
            }

            fn is_absent(&self) -> bool {
                true $(&& self.$field.is_vacant())* $(&& self.$rest.is_absent())?
            }
        }
    )*};
}

property_sets! {
    ConnectProperties {
        SessionExpiry => session_expiry,
        ReceiveMaximum => receive_maximum,
        MaximumPacketSize => maximum_packet_size,
        TopicAliasMaximum => topic_alias_maximum,
        RequestResponseInformation => request_response_information,
        RequestProblemInformation => request_problem_information,
        User => user_properties,
        AuthenticationMethod => authentication_method,
        AuthenticationData => authentication_data,
    }
    Will {
        WillDelay => delay,
        MessageExpiry => message_expiry,
        ..properties
    }
    ConnAckProperties {
        SessionExpiry => session_expiry,
        ReceiveMaximum => receive_maximum,
        MaximumQoS => maximum_qos,
        RetainAvailable => retain_available,
        MaximumPacketSize => maximum_packet_size,
        AssignedClientId => assigned_client_id,
        TopicAliasMaximum => topic_alias_maximum,
        ReasonString => reason_string,
        User => user_properties,
        WildcardSubscriptionAvailable => wildcard_subscription_available,
        SubscriptionIdsAvailable => subscription_ids_available,
        SharedSubscriptionAvailable => shared_subscription_available,
        ServerKeepAlive => server_keep_alive,
        ResponseInformation => response_information,
        ServerReference => server_reference,
        AuthenticationMethod => authentication_method,
        AuthenticationData => authentication_data,
    }
    Publish {
        MessageExpiry => message_expiry,
        TopicAlias => topic_alias,
        SubscriptionId => subscription_ids,
        ..properties
    }
    MessageProperties {
        PayloadFormat => payload_is_utf8,
        ContentType => content_type,
        ResponseTopic => response_topic,
        CorrelationData => correlation_data,
        User => user_properties,
    }
    Ack {
        ReasonString => reason_string,
        User => user_properties,
    }
    Subscribe {
        SubscriptionId => subscription_id,
        User => user_properties,
    }
    SubAck {
        ReasonString => reason_string,
        User => user_properties,
    }
    Unsubscribe {
        User => user_properties,
    }
    Disconnect {
        SessionExpiry => session_expiry,
        ReasonString => reason_string,
        User => user_properties,
        ServerReference => server_reference,
    }
    Auth {
        AuthenticationMethod => method,
        AuthenticationData => data,
        ReasonString => reason_string,
        User => user_properties,
    }
}

/// The message properties of PUBLISH, which stay `None` until one comes.
impl PropertySet for Option<Arc<MessageProperties>> {
    fn read(&mut self, property: Property, reader: &mut Reader<'_>) -> Result<(), CodecError> {
        Arc::make_mut(self.get_or_insert_default()).read(property, reader)
    }

    fn write<S: Sink>(&self, sink: &mut S) {
        if let Some(properties) = self {
            properties.write(sink);
        }
    }

    fn is_absent(&self) -> bool {
        self.as_ref().is_none_or(|properties| properties.is_absent())
    }
}

/// A field that holds a property: an `Option` takes one, a `Vec` any number.
trait Slot {
    fn fill(&mut self, property: Property, reader: &mut Reader<'_>) -> Result<(), CodecError>;
    fn put<S: Sink>(&self, property: Property, sink: &mut S);
    fn is_vacant(&self) -> bool;
}

impl<T: Value> Slot for Option<T> {
    fn fill(&mut self, property: Property, reader: &mut Reader<'_>) -> Result<(), CodecError> {
        if self.is_some() {
            return Err(CodecError::PropertyRepeated {
                packet: reader.packet(),
                property: property.name(),
            });
        }
        *self = Some(T::take(property, reader)?);
        Ok(())
    }

    fn put<S: Sink>(&self, property: Property, sink: &mut S) {
        if let Some(value) = self {
            sink.byte(property as u8);
            value.put(property, sink);
        }
    }

    fn is_vacant(&self) -> bool {
        self.is_none()
    }
}

impl<T: Value> Slot for Vec<T> {
    fn fill(&mut self, property: Property, reader: &mut Reader<'_>) -> Result<(), CodecError> {
        self.push(T::take(property, reader)?);
        Ok(())
    }

    fn put<S: Sink>(&self, property: Property, sink: &mut S) {
        for value in self {
            sink.byte(property as u8);
            value.put(property, sink);
        }
    }

    fn is_vacant(&self) -> bool {
        self.is_empty()
    }
}

/// A property's value; the type tells its form on the wire and the numbers it may have.
trait Value: Sized {
    fn take(property: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError>;
    fn put<S: Sink>(&self, property: Property, sink: &mut S);
}

fn bad_value(property: Property, reader: &Reader<'_>, value: u32) -> CodecError {
    let packet = reader.packet();
    if property == Property::TopicAlias {
        return CodecError::TopicAliasZero { packet };
    }
    CodecError::PropertyValue { packet, property: property.name(), value }
}

impl Value for bool {
    fn take(property: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(bad_value(property, reader, u32::from(other))),
        }
    }

    fn put<S: Sink>(&self, _: Property, sink: &mut S) {
        sink.byte(u8::from(*self));
    }
}

/// Only the maximum QoS of CONNACK, which is 0 or 1 (3.2.2.3.4).
impl Value for QoS {
    fn take(property: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        match reader.byte()? {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            other => Err(bad_value(property, reader, u32::from(other))),
        }
    }

    fn put<S: Sink>(&self, _: Property, sink: &mut S) {
        sink.byte(self.level());
    }
}

impl Value for u16 {
    fn take(_: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.two()
    }

    fn put<S: Sink>(&self, _: Property, sink: &mut S) {
        sink.two(*self);
    }
}

impl Value for NonZeroU16 {
    fn take(property: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Self::new(reader.two()?).ok_or_else(|| bad_value(property, reader, 0))
    }

    fn put<S: Sink>(&self, _: Property, sink: &mut S) {
        sink.two(self.get());
    }
}

/// Four bytes, but for the subscription id, the one variable byte integer among the properties, which is never 0.
impl Value for u32 {
    fn take(property: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        if property != Property::SubscriptionId {
            return reader.four();
        }
        match reader.variable()? {
            0 => Err(bad_value(property, reader, 0)),
            id => Ok(id),
        }
    }

    fn put<S: Sink>(&self, property: Property, sink: &mut S) {
        if property == Property::SubscriptionId {
            sink.variable(usize::try_from(*self).unwrap_or(usize::MAX));
        } else {
            sink.four(*self);
        }
    }
}

impl Value for NonZeroU32 {
    fn take(property: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Self::new(reader.four()?).ok_or_else(|| bad_value(property, reader, 0))
    }

    fn put<S: Sink>(&self, _: Property, sink: &mut S) {
        sink.four(self.get());
    }
}

impl Value for Arc<str> {
    fn take(_: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.text()
    }

    fn put<S: Sink>(&self, _: Property, sink: &mut S) {
        sink.text(self);
    }
}

impl Value for (Arc<str>, Arc<str>) {
    fn take(_: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok((reader.text()?, reader.text()?))
    }

    fn put<S: Sink>(&self, _: Property, sink: &mut S) {
        sink.text(&self.0);
        sink.text(&self.1);
    }
}

impl Value for TopicName {
    fn take(_: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.topic_name()
    }

    fn put<S: Sink>(&self, _: Property, sink: &mut S) {
        sink.text(self.as_str());
    }
}

impl Value for Bytes {
    fn take(_: Property, reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.binary()
    }

    fn put<S: Sink>(&self, _: Property, sink: &mut S) {
        sink.binary(self);
    }
}
