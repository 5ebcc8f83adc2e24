//! core: MQTT 5 properties as `-D COMMAND PROPERTY [NAME] VALUE` gives them, the way mosquitto_pub and mosquitto_sub do.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{MessageProperties, TopicName};
use crate::mqtt::{ConnectProperties, UserProperties};

/// All properties of a command line, sorted by the packet they go into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Properties {
    /// CONNECT.
    pub(super) connect: ConnectProperties,
    /// PUBLISH: those that travel with the message.
    pub(super) publish: MessageProperties,
    /// PUBLISH: message expiry interval in seconds.
    pub(super) message_expiry: Option<u32>,
    /// PUBLISH.
    pub(super) topic_alias: Option<NonZeroU16>,
    /// SUBSCRIBE.
    pub(super) subscription_id: Option<u32>,
    /// SUBSCRIBE.
    pub(super) subscribe: UserProperties,
    /// UNSUBSCRIBE.
    pub(super) unsubscribe: UserProperties,
    /// DISCONNECT: session expiry interval in seconds.
    pub(super) goodbye_expiry: Option<u32>,
    /// DISCONNECT.
    pub(super) disconnect: UserProperties,
    /// The will: those that travel with the message.
    pub(super) will: MessageProperties,
    /// The will: message expiry interval in seconds.
    pub(super) will_expiry: Option<u32>,
    /// The will: will delay interval in seconds.
    pub(super) will_delay: Option<u32>,
}

/// Why a property cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PropertyError {
    #[error(
        "`-D {command}`: {command} is not one of connect, publish, will, subscribe, unsubscribe, disconnect"
    )]
    Command { command: String },
    #[error("`-D {command} {property}`: {command} has no such property; it has {known}")]
    Property { command: String, property: String, known: &'static str },
    #[error(
        "`-D {given}` is not whole: write `-D COMMAND PROPERTY VALUE`, or `-D COMMAND user-property NAME VALUE`"
    )]
    Short { given: String },
    #[error("`-D {command} {property} {value}`: the value must be {wanted}")]
    Value { command: String, property: String, value: String, wanted: &'static str },
    #[error("`-D {command} {property}` is given twice")]
    Twice { command: String, property: String },
}

const CONNECT: &str = "authentication-data, authentication-method, maximum-packet-size, receive-maximum, \
                       request-problem-information, request-response-information, session-expiry-interval, \
                       topic-alias-maximum, user-property";
const PUBLISH: &str = "content-type, correlation-data, message-expiry-interval, payload-format-indicator, \
                       response-topic, topic-alias, user-property";
const WILL: &str = "content-type, correlation-data, message-expiry-interval, payload-format-indicator, \
                    response-topic, user-property, will-delay-interval";
const SUBSCRIBE: &str = "subscription-identifier, user-property";
const UNSUBSCRIBE: &str = "user-property";
const DISCONNECT: &str = "session-expiry-interval, user-property";

/// Reads the words behind all `-D` of a command line, one after the other: how many there are tells the property itself.
pub(super) fn parse(words: &[String]) -> Result<Properties, PropertyError> {
    let mut properties = Properties::default();
    let mut words = words.iter().map(String::as_str);
    while let Some(command) = words.next() {
        let (Some(property), Some(value)) = (words.next(), words.next()) else {
            return Err(PropertyError::Short { given: command.to_owned() });
        };
        let second = if property == "user-property" {
            let given = || format!("{command} {property} {value}");
            words.next().ok_or_else(|| PropertyError::Short { given: given() })?
        } else {
            ""
        };
        Given { command, property, value, second }.put(&mut properties)?;
    }
    Ok(properties)
}

/// One `-D`.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    command: &'a str,
    property: &'a str,
    value: &'a str,
    /// The value of a user property, whose name stands in `value`.
    second: &'a str,
}

impl Given<'_> {
    fn put(self, into: &mut Properties) -> Result<(), PropertyError> {
        match self.command.to_lowercase().as_str() {
            "connect" => self.connect(&mut into.connect),
            "publish" => match self.property {
                "message-expiry-interval" => self.set(&mut into.message_expiry, self.number()?),
                "topic-alias" => self.set(&mut into.topic_alias, self.at_least_1()?),
                _ => self.message(&mut into.publish, PUBLISH),
            },
            "will" => match self.property {
                "message-expiry-interval" => self.set(&mut into.will_expiry, self.number()?),
                "will-delay-interval" => self.set(&mut into.will_delay, self.number()?),
                _ => self.message(&mut into.will, WILL),
            },
            "subscribe" => match self.property {
                "subscription-identifier" => {
                    let id = self.number()?;
                    if !(1..=268_435_455).contains(&id) {
                        return Err(self.wants("a number from 1 to 268435455"));
                    }
                    self.set(&mut into.subscription_id, id)
                }
                _ => self.user(&mut into.subscribe, SUBSCRIBE),
            },
            "unsubscribe" => self.user(&mut into.unsubscribe, UNSUBSCRIBE),
            "disconnect" => match self.property {
                "session-expiry-interval" => self.set(&mut into.goodbye_expiry, self.number()?),
                _ => self.user(&mut into.disconnect, DISCONNECT),
            },
            _ => Err(PropertyError::Command { command: self.command.to_owned() }),
        }
    }

    fn connect(self, into: &mut ConnectProperties) -> Result<(), PropertyError> {
        match self.property {
            "authentication-data" => self.set(&mut into.authentication_data, self.bytes()),
            "authentication-method" => self.set(&mut into.authentication_method, self.text()),
            "maximum-packet-size" => {
                let size = NonZeroU32::new(self.number()?);
                let size = size.ok_or_else(|| self.wants("a number from 1 to 4294967295"))?;
                self.set(&mut into.maximum_packet_size, size)
            }
            "receive-maximum" => self.set(&mut into.receive_maximum, self.at_least_1()?),
            "request-problem-information" => {
                self.set(&mut into.request_problem_information, self.flag()?)
            }
            "request-response-information" => {
                self.set(&mut into.request_response_information, self.flag()?)
            }
            "session-expiry-interval" => self.set(&mut into.session_expiry, self.number()?),
            "topic-alias-maximum" => {
                let most = self.value.parse();
                let most = most.map_err(|_| self.wants("a number from 0 to 65535"))?;
                self.set(&mut into.topic_alias_maximum, most)
            }
            _ => self.user(&mut into.user_properties, CONNECT),
        }
    }

    fn message(
        self,
        into: &mut MessageProperties,
        known: &'static str,
    ) -> Result<(), PropertyError> {
        match self.property {
            "content-type" => self.set(&mut into.content_type, self.text()),
            "correlation-data" => self.set(&mut into.correlation_data, self.bytes()),
            "payload-format-indicator" => self.set(&mut into.payload_is_utf8, self.flag()?),
            "response-topic" => {
                let topic = TopicName::new(self.value);
                let topic = topic.map_err(|_| self.wants("a topic without wildcards"))?;
                self.set(&mut into.response_topic, topic)
            }
            _ => self.user(&mut into.user_properties, known),
        }
    }

    fn user(self, into: &mut UserProperties, known: &'static str) -> Result<(), PropertyError> {
        if self.property != "user-property" {
            let (command, property) = (self.command.to_owned(), self.property.to_owned());
            return Err(PropertyError::Property { command, property, known });
        }
        into.push((self.text(), Arc::from(self.second)));
        Ok(())
    }

    fn set<T>(self, place: &mut Option<T>, value: T) -> Result<(), PropertyError> {
        if place.replace(value).is_some() {
            let (command, property) = (self.command.to_owned(), self.property.to_owned());
            return Err(PropertyError::Twice { command, property });
        }
        Ok(())
    }

    fn number(self) -> Result<u32, PropertyError> {
        self.value.parse().map_err(|_| self.wants("a number from 0 to 4294967295"))
    }

    fn at_least_1(self) -> Result<NonZeroU16, PropertyError> {
        self.value.parse().map_err(|_| self.wants("a number from 1 to 65535"))
    }

    fn flag(self) -> Result<bool, PropertyError> {
        match self.value {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(self.wants("0 or 1")),
        }
    }

    fn text(self) -> Arc<str> {
        Arc::from(self.value)
    }

    fn bytes(self) -> Bytes {
        Bytes::copy_from_slice(self.value.as_bytes())
    }

    fn wants(self, wanted: &'static str) -> PropertyError {
        PropertyError::Value {
            command: self.command.to_owned(),
            property: self.property.to_owned(),
            value: self.value.to_owned(),
            wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Properties, PropertyError> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn properties_go_to_the_packet_they_are_for() {
        let properties = read(
            "connect session-expiry-interval 60 publish user-property k v publish user-property k w \
             PUBLISH topic-alias 3 will will-delay-interval 5 disconnect session-expiry-interval 0",
        )
        .expect("all of them are known");
        assert_eq!(properties.connect.session_expiry, Some(60));
        let pairs = [("k".into(), "v".into()), ("k".into(), "w".into())];
        assert_eq!(properties.publish.user_properties, pairs);
        assert_eq!(properties.topic_alias, NonZeroU16::new(3));
        assert_eq!(properties.will_delay, Some(5));
        assert_eq!(properties.goodbye_expiry, Some(0));
    }

    #[test]
    fn what_cannot_be_taken_is_named_with_what_can() {
        for (text, word) in [
            ("connection x y", "is not one of connect, publish"),
            ("publish", "is not whole"),
            ("publish user-property k", "is not whole"),
            ("publish will-delay-interval 3", "it has content-type"),
            ("connect receive-maximum 0", "from 1 to 65535"),
            ("publish payload-format-indicator 2", "0 or 1"),
            ("publish response-topic a/#", "without wildcards"),
            ("publish content-type a publish content-type b", "twice"),
            ("subscribe subscription-identifier 0", "from 1 to 268435455"),
        ] {
            let told = read(text).expect_err(text).to_string();
            assert!(told.contains(word), "{told}");
        }
    }
}
