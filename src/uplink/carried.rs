//! core: what the rules of an uplink do with a topic, without sending anything.

use super::settings::UplinkSettings;
use crate::model::{QoS, TopicFilter, TopicName};

/// What a rule does with a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The rule's filter.
    pub rule: TopicFilter,
    /// The name on the other side.
    pub topic: TopicName,
    /// The highest QoS it has there.
    pub qos: QoS,
    /// Whether a retained message stays one.
    pub retain: bool,
}

impl UplinkSettings {
    /// What becomes of a topic of ours upstream.
    ///
    /// As for all rules the first that takes it decides.
    #[must_use]
    pub fn carried_up(&self, topic: &TopicName) -> Option<Carried> {
        let rule = self.forward.iter().find(|rule| rule.filter.matches(topic))?;
        let renamed = rule.to.as_ref().and_then(|to| to.apply(topic).ok());
        Some(Carried {
            rule: rule.filter.clone(),
            topic: renamed.unwrap_or_else(|| topic.clone()),
            qos: rule.qos,
            retain: rule.retain,
        })
    }

    /// What becomes here of a topic of the upstream's.
    #[must_use]
    pub fn carried_down(&self, topic: &TopicName) -> Option<Carried> {
        let rule = self.accept.iter().find(|rule| rule.filter.unshared().matches(topic))?;
        let renamed = rule.to.as_ref().and_then(|to| to.apply(topic).ok());
        Some(Carried {
            rule: rule.filter.clone(),
            topic: renamed.unwrap_or_else(|| topic.clone()),
            qos: rule.qos,
            retain: rule.retain,
        })
    }
}
