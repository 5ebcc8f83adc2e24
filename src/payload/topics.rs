//! core: the topics of points, each made once: a point is read again and again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{PointName, TopicError, TopicName};

/// The topics under which the points of one gateway are published.
#[derive(Debug, Clone)]
pub(super) struct Topics {
    gateway: Arc<str>,
    /// As many as the configuration has points.
    made: HashMap<PointName, TopicName>,
}

impl Topics {
    /// Of the gateway of this id.
    pub(super) fn new(gateway: Arc<str>) -> Self {
        Self { gateway, made: HashMap::new() }
    }

    /// The topic of a point: `{gateway}/{device}/{point}`.
    ///
    /// # Errors
    /// [`TopicError`] if the names make none.
    pub(super) fn of(&mut self, point: &PointName) -> Result<TopicName, TopicError> {
        if let Some(topic) = self.made.get(point) {
            return Ok(topic.clone());
        }
        let topic = TopicName::new(&format!("{}/{point}", self.gateway))?;
        self.made.insert(point.clone(), topic.clone());
        Ok(topic)
    }
}
