//! Topic names and topic filters, MQTT 5.0 section 4.7.

use std::fmt;
use std::sync::Arc;

/// What is wrong with a topic name or filter (MQTT 5.0 section 4.7).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// [MQTT-4.7.3-1]: at least one character.
    #[error("a topic must have at least one character")]
    Empty,
    /// [MQTT-4.7.3-3]: at most 65,535 bytes of UTF-8.
    #[error("a topic is at most 65535 bytes long, this one has {length}")]
    TooLong {
        /// Length in bytes.
        length: usize,
    },
    /// [MQTT-4.7.3-2]: no U+0000.
    #[error("a topic must not contain the null character")]
    Null,
    /// [MQTT-4.7.1-1]: a name that is published to holds no wildcard.
    #[error("a topic that is published to must not contain `{wildcard}`")]
    Wildcard {
        /// `+` or `#`.
        wildcard: char,
    },
    /// [MQTT-4.7.1-1]: `#` alone on the last level, or [MQTT-4.7.1-2]: `+` alone on its level.
    #[error("`{wildcard}` must stand alone on its level, and `#` only on the last one")]
    MisplacedWildcard {
        /// `+` or `#`.
        wildcard: char,
    },
}

fn check_form(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > usize::from(u16::MAX) {
        return Err(TopicError::TooLong { length: text.len() });
    }
    if text.contains('\0') {
        return Err(TopicError::Null);
    }
    Ok(())
}

/// A topic that is published to: no wildcards, 1 to 65,535 bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks `text` against MQTT 5.0 section 4.7 and takes it as a topic name.
    ///
    /// # Errors
    /// [`TopicError`] names the rule that is broken.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check_form(text)?;
        if let Some(wildcard) = text.bytes().find(|byte| matches!(byte, b'+' | b'#')) {
            return Err(TopicError::Wildcard { wildcard: wildcard.into() });
        }
        Ok(Self(Arc::from(text)))
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels between the slashes; an empty level is an empty string.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A pattern that is subscribed with: `+` for one level, `#` for the rest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Checks `text` against MQTT 5.0 section 4.7.1 and takes it as a filter.
    ///
    /// # Errors
    /// [`TopicError`] names the rule that is broken.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        check_form(text)?;
        let last = text.split('/').count() - 1;
        for (index, level) in text.split('/').enumerate() {
            if level.contains('#') && (level != "#" || index != last) {
                return Err(TopicError::MisplacedWildcard { wildcard: '#' });
            }
            if level.contains('+') && level != "+" {
                return Err(TopicError::MisplacedWildcard { wildcard: '+' });
            }
        }
        Ok(Self(Arc::from(text)))
    }

    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels between the slashes.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether `topic` falls under this filter (MQTT 5.0 sections 4.7.1 to 4.7.3): `a/#` takes `a` too, and a
    /// wildcard on the first level does not take topics that begin with `$` [MQTT-4.7.2-1].
    ///
    /// ```
    /// use fieldpost::model::{TopicFilter, TopicName};
    /// let filter = TopicFilter::new("pump-house/+/flow")?;
    /// assert!(filter.matches(&TopicName::new("pump-house/boiler/flow")?));
    /// assert!(!filter.matches(&TopicName::new("pump-house/flow")?));
    /// # Ok::<(), fieldpost::model::TopicError>(())
    /// ```
    #[must_use]
    pub fn matches(&self, topic: &TopicName) -> bool {
        takes(&self.0, topic.as_str())
    }

    /// As [`Self::matches`], for the text of a topic name.
    #[must_use]
    pub fn takes(&self, topic: &str) -> bool {
        takes(&self.0, topic)
    }

    /// The name and the filter of a shared subscription `$share/name/filter` (MQTT 5.0 section 4.8.2); `None` if it is
    /// none, or not a well-formed one.
    ///
    /// ```
    /// use fieldpost::model::TopicFilter;
    /// assert_eq!(TopicFilter::new("$share/workers/jobs/#")?.shared(), Some(("workers", "jobs/#")));
    /// assert_eq!(TopicFilter::new("jobs/#")?.shared(), None);
    /// # Ok::<(), fieldpost::model::TopicError>(())
    /// ```
    #[must_use]
    pub fn shared(&self) -> Option<(&str, &str)> {
        let (name, filter) = self.0.strip_prefix(SHARE_PREFIX)?.split_once('/')?;
        let is_well_formed = !name.is_empty() && !name.contains(['+', '#']) && !filter.is_empty();
        is_well_formed.then_some((name, filter))
    }

    /// Whether it begins as only a shared subscription may (MQTT 5.0 section 4.8.2).
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.starts_with(SHARE_PREFIX)
    }

    /// Whether a subscription with this filter takes `topic`: as [`Self::matches`], or by the filter that is shared.
    #[must_use]
    pub fn selects(&self, topic: &TopicName) -> bool {
        takes(self.shared().map_or(&self.0, |(_, filter)| filter), topic.as_str())
    }

    /// Whether some topic falls under both filters.
    ///
    /// ```
    /// use fieldpost::model::TopicFilter;
    /// let filter = |text| TopicFilter::new(text).expect("well formed");
    /// assert!(filter("a/+/c").overlaps(&filter("+/b/#")));
    /// assert!(!filter("a/+").overlaps(&filter("a/b/c")));
    /// ```
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let hides =
            |one: &Self, two: &Self| one.0.starts_with('$') && two.0.starts_with(['+', '#']);
        if hides(self, other) || hides(other, self) {
            return false;
        }
        let (mut ours, mut theirs) = (self.levels(), other.levels());
        loop {
            match (ours.next(), theirs.next()) {
                // `a/#` takes `a` as well.
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
                (Some(one), Some(two)) if one == two => {}
                (_, _) => return false,
            }
        }
    }

    /// The filter inside a shared subscription (`$share/NAME/FILTER`, 4.8.2), or the filter itself.
    #[must_use]
    pub fn unshared(&self) -> Self {
        let inner = self.0.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
        inner.and_then(|(_, filter)| Self::new(filter).ok()).unwrap_or_else(|| self.clone())
    }
}

/// With what a shared subscription begins.
const SHARE_PREFIX: &str = "$share/";

fn takes(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    // Looked at for every message: a wildcard stands alone on its level, so nothing need be cut into levels.
    let (mut filter, mut topic) = (filter.as_bytes(), topic.as_bytes());
    loop {
        (filter, topic) = match (filter, topic) {
            ([b'#', ..], _) => return true,
            ([b'+', filter @ ..], _) => {
                let end = topic.iter().position(|byte| *byte == b'/').unwrap_or(topic.len());
                (filter, &topic[end..])
            }
            ([wanted, filter @ ..], [have, topic @ ..]) if wanted == have => (filter, topic),
            // `a/#` takes `a` as well.
            (left, []) => return left.is_empty() || left == b"/#",
            (_, _) => return false,
        };
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        let filter = TopicFilter::new(filter).expect("the filter is well formed");
        filter.matches(&TopicName::new(topic).expect("the topic is well formed"))
    }

    #[test]
    fn filters_match_as_the_specification_shows() {
        for (filter, topic) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("#", "a/b/c"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/broker/uptime"),
            ("+", "finance"),
        ] {
            assert!(matches(filter, topic), "{filter} should take {topic}");
        }
        for (filter, topic) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/broker/uptime"),
            ("+/monitor/Clients", "$SYS/monitor/Clients"),
            ("a/b", "a/b/c"),
            ("a/b/c", "a/b"),
            ("Accounts", "ACCOUNTS"),
        ] {
            assert!(!matches(filter, topic), "{filter} should not take {topic}");
        }
    }

    #[test]
    fn a_shared_filter_takes_what_stands_behind_its_name() {
        let filter = |text| TopicFilter::new(text).expect("well formed");
        let topic = |text| TopicName::new(text).expect("well formed");
        assert_eq!(filter("$share/g//a").shared(), Some(("g", "/a")));
        for not_shared in ["$share/g", "$share//a", "$share/g/", "$share/+/a", "$shared/g/a"] {
            assert_eq!(filter(not_shared).shared(), None, "{not_shared}");
        }
        assert!(filter("$share/g/#").selects(&topic("a/b")));
        assert!(!filter("$share/g/#").selects(&topic("$SYS/b")));
        assert!(!filter("$share/g/#").matches(&topic("a/b")));
        assert!(filter("a/+").selects(&topic("a/b")));
    }

    #[test]
    fn malformed_names_and_filters_say_which_rule_they_break() {
        assert_eq!(TopicName::new(""), Err(TopicError::Empty));
        assert_eq!(TopicName::new("a/+"), Err(TopicError::Wildcard { wildcard: '+' }));
        assert_eq!(TopicName::new("a\0"), Err(TopicError::Null));
        let long = "a".repeat(65_536);
        assert_eq!(TopicName::new(&long), Err(TopicError::TooLong { length: 65_536 }));
        let misplaced = |wildcard| Err(TopicError::MisplacedWildcard { wildcard });
        assert_eq!(TopicFilter::new("a/#/b"), misplaced('#'));
        assert_eq!(TopicFilter::new("a#"), misplaced('#'));
        assert_eq!(TopicFilter::new("a+/b"), misplaced('+'));
        assert!(TopicFilter::new("+/+/#").is_ok());
    }
}
