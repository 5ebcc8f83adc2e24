//! core: which gateways a message has been through, so that it does not come back to one of them over bridges.
//!
//! Each gateway has a number, that of its store. Two gateways that speak with each other say theirs: in 5.0 as a user
//! property of CONNECT and CONNACK, in 3.1.1 by a subscription to a topic nobody else knows and the answer to it. What
//! comes in over a bridge is marked with the number of who sent it and our own; what bears the number of a gateway is not
//! sent there, and what bears ours is not taken again.

use std::fmt;
use std::sync::Arc;

use crate::model::{Message, MessageProperties, TopicFilter};

/// The user property of CONNECT and CONNACK in which a gateway says which it is.
pub const NODE_PROPERTY: &str = "fieldpost-node";
/// The user property of a message that lists the gateways it has been through.
pub const VIA_PROPERTY: &str = "fieldpost-via";
/// The topic below which a gateway says in 3.1.1 which it is.
const NODE_TOPIC: &str = "$SYS/fieldpost/node/";
/// What follows the number of a gateway that accepts topics under the names they have.
const SAME_NAMES: &str = "/same";
/// Gateways a message may have been through; one that has been through more goes in circles.
const VIA_MAX: usize = 16;

/// The number of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u64);

impl NodeId {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A gateway at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Which.
    pub node: NodeId,
    /// Whether it takes all that it subscribes to under the names it has here.
    pub same_names: bool,
}

impl Peer {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (node, same_names) = match text.strip_suffix(SAME_NAMES) {
            Some(node) => (node, true),
            None => (text, false),
        };
        Some(Self { node: NodeId::parse(node)?, same_names })
    }

    /// Finds it among the user properties of a CONNECT or CONNACK.
    #[must_use]
    pub fn among(properties: &[(Arc<str>, Arc<str>)]) -> Option<Self> {
        let (_, value) = properties.iter().find(|(name, _)| &**name == NODE_PROPERTY)?;
        Self::parse(value)
    }

    /// The filter by which it says which it is in 3.1.1. The answer is a message under the same name.
    ///
    /// ```
    /// use fieldpost::hub::{NodeId, Peer};
    /// let peer = Peer { node: NodeId(0xfe), same_names: true };
    /// assert_eq!(peer.topic(), "$SYS/fieldpost/node/00000000000000fe/same");
    /// ```
    #[must_use]
    pub fn topic(&self) -> String {
        format!("{NODE_TOPIC}{self}")
    }

    /// Who says by this filter which it is.
    #[must_use]
    pub fn announced_by(filter: &TopicFilter) -> Option<Self> {
        Self::parse(filter.as_str().strip_prefix(NODE_TOPIC)?)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.node, if self.same_names { SAME_NAMES } else { "" })
    }
}

fn via(properties: Option<&MessageProperties>) -> Option<&str> {
    let properties = &properties?.user_properties;
    properties.iter().find(|(name, _)| &**name == VIA_PROPERTY).map(|(_, value)| &**value)
}

/// Whether a message says that it has been through some gateway.
#[must_use]
pub fn has_passed_any(message: &Message) -> bool {
    via(message.properties.as_deref()).is_some()
}

/// Whether a message has been through `node`.
#[must_use]
pub fn has_passed(message: &Message, node: NodeId) -> bool {
    let nodes = via(message.properties.as_deref()).into_iter().flat_map(|via| via.split(','));
    nodes.take(VIA_MAX).any(|text| NodeId::parse(text) == Some(node))
}

/// Whether a message has been through as many gateways as it may.
#[must_use]
pub fn goes_in_circles(message: &Message) -> bool {
    via(message.properties.as_deref()).is_some_and(|via| via.split(',').count() >= VIA_MAX)
}

/// The properties of a message that has been through these as well.
#[must_use]
pub fn passed(
    properties: Option<&Arc<MessageProperties>>,
    nodes: impl IntoIterator<Item = NodeId>,
) -> Arc<MessageProperties> {
    let mut properties = properties.map(|have| (**have).clone()).unwrap_or_default();
    let user = &mut properties.user_properties;
    let place = user.iter().position(|(name, _)| &**name == VIA_PROPERTY);
    let mut via = place.map(|at| user.remove(at).1.to_string()).unwrap_or_default();
    for node in nodes {
        let node = node.to_string();
        if !via.split(',').any(|have| have == node) {
            if !via.is_empty() {
                via.push(',');
            }
            via.push_str(&node);
        }
    }
    user.push((VIA_PROPERTY.into(), via.into()));
    Arc::new(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(properties: Option<Arc<MessageProperties>>) -> Message {
        Message {
            topic: crate::model::TopicName::new("a").expect("a topic"),
            payload: bytes::Bytes::new(),
            qos: crate::model::QoS::AtMostOnce,
            retain: false,
            properties,
            accepted: crate::model::Timestamp::default(),
            expires: None,
            body: crate::model::Body::Foreign,
        }
    }

    #[test]
    fn a_message_says_which_gateways_it_has_been_through() {
        let fresh = message(None);
        assert!(!has_passed_any(&fresh) && !has_passed(&fresh, NodeId(1)));
        let once = message(Some(passed(None, [NodeId(1), NodeId(2)])));
        assert!(has_passed(&once, NodeId(1)) && has_passed(&once, NodeId(2)));
        assert!(!has_passed(&once, NodeId(3)) && !goes_in_circles(&once));
        let twice = message(Some(passed(once.properties.as_ref(), [NodeId(2), NodeId(3)])));
        let [(_, via)] = &twice.properties.as_ref().expect("some").user_properties[..] else {
            panic!("one property")
        };
        assert_eq!(&**via, "0000000000000001,0000000000000002,0000000000000003");
        let many = message(Some(passed(None, (0..16).map(NodeId))));
        assert!(goes_in_circles(&many));
    }

    #[test]
    fn a_gateway_that_says_which_it_is_is_understood() {
        for same_names in [false, true] {
            let peer = Peer { node: NodeId(u64::MAX >> 1), same_names };
            let filter = TopicFilter::new(&peer.topic()).expect("a filter");
            assert_eq!(Peer::announced_by(&filter), Some(peer));
            let said = [("a".into(), "b".into()), (NODE_PROPERTY.into(), peer.to_string().into())];
            assert_eq!(Peer::among(&said), Some(peer));
        }
        for text in ["", "1", "x000000000000001", "0000000000000001/"] {
            assert_eq!(Peer::parse(text), None, "{text}");
        }
    }
}
