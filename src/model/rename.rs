//! The name a topic gets on the other side of a bridge.

use std::fmt;
use std::sync::Arc;

use super::topic::{TopicError, TopicFilter, TopicName};

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// A brace begins something that stands for nothing.
    #[error("`{text}` is no placeholder")]
    Unknown {
        /// From the brace on.
        text: String,
    },
    /// `{3}` where the filter has two `+`.
    #[error("`{{{number}}}` stands for what the {number}. `+` took, and the filter has {count}")]
    NoLevel {
        /// Which.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// `{#}` where the filter has no `#`.
    #[error("`{{#}}` stands for what `#` took, and the filter has none")]
    NoHash,
    /// `{rest}` where the filter has no wildcard.
    #[error("`{{rest}}` stands for what the wildcards took, and the filter has none")]
    NoRest,
    /// The result is no topic.
    #[error("{0}")]
    Topic(#[from] TopicError),
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(Arc<str>),
    /// What the `+` on this level took.
    Level(usize),
    /// The topic from this level on.
    From(usize),
    /// The topic behind its first bytes.
    Behind(usize),
}

/// A template for the topics that one filter takes. Cheap to clone.
///
/// `{1}` to `{9}` stand for what the first to ninth `+` took, `{#}` for what `#` took, `{rest}` for the topic from the
/// first wildcard on, `{topic}` for the whole of it.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicRename {
    /// As written.
    text: Arc<str>,
    parts: Arc<[Part]>,
}

impl TopicRename {
    /// Reads a template for what `filter` takes.
    ///
    /// ```
    /// use fieldpost::model::{TopicFilter, TopicName, TopicRename};
    /// let rename = TopicRename::new("x/{2}/{1}/{#}", &TopicFilter::new("lan/+/+/#")?)?;
    /// let topic = rename.apply(&TopicName::new("lan/hall/lamp/on/2")?)?;
    /// assert_eq!(topic.as_str(), "x/lamp/hall/on/2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RenameError`]: a placeholder that stands for nothing here, or a result that is no topic name.
    pub fn new(text: &str, filter: &TopicFilter) -> Result<Self, RenameError> {
        let levels: Vec<&str> = filter.levels().collect();
        let plus: Vec<usize> = (0..levels.len()).filter(|at| levels[*at] == "+").collect();
        let hash = levels.iter().position(|level| *level == "#");
        let wildcard = levels.iter().position(|level| matches!(*level, "+" | "#"));
        let mut parts = Vec::new();
        let mut left = text;
        while let Some(brace) = left.find(['{', '}']) {
            let (before, from) = left.split_at(brace);
            let end = from.find('}').filter(|end| *end > 0);
            let name = end.and_then(|end| from.get(1..end)).unwrap_or_default();
            let number = name.parse().ok().filter(|number: &usize| (1..=9).contains(number));
            let part = match (name, number) {
                ("topic", _) => Part::Behind(0),
                ("rest", _) => Part::From(wildcard.ok_or(RenameError::NoRest)?),
                ("#", _) => Part::From(hash.ok_or(RenameError::NoHash)?),
                (_, Some(number)) => {
                    let missing = RenameError::NoLevel { number, count: plus.len() };
                    Part::Level(*plus.get(number - 1).ok_or(missing)?)
                }
                _ => return Err(RenameError::Unknown { text: from.chars().take(20).collect() }),
            };
            parts.extend((!before.is_empty()).then(|| Part::Text(before.into())));
            parts.push(part);
            left = from.get(name.len() + 2..).unwrap_or_default();
        }
        parts.extend((!left.is_empty()).then(|| Part::Text(left.into())));
        Self { text: text.into(), parts: parts.into() }.checked(filter)
    }

    /// Puts `to` in the place of `from`, with which every topic that `filter` takes begins, as bridges of mosquitto do
    /// with their prefixes.
    ///
    /// # Errors
    /// [`RenameError::Topic`]: the result is no topic name.
    pub fn prefix(from: &str, to: &str, filter: &TopicFilter) -> Result<Self, RenameError> {
        let text = (!to.is_empty()).then(|| Part::Text(to.into()));
        let parts = text.into_iter().chain([Part::Behind(from.len())]).collect();
        let shown = format!("{to}{{topic without {from}}}");
        Self { text: shown.into(), parts }.checked(filter)
    }

    fn checked(self, filter: &TopicFilter) -> Result<Self, RenameError> {
        self.apply(&sample(filter)?)?;
        Ok(self)
    }

    /// The name `topic` gets, which the template's filter takes. Where a placeholder at the end stands for nothing, as
    /// `{rest}` when `a/#` takes `a`, the slash before it goes as well.
    ///
    /// # Errors
    /// [`TopicError`]: the result is empty or too long.
    pub fn apply(&self, topic: &TopicName) -> Result<TopicName, TopicError> {
        let topic = topic.as_str();
        let mut name = String::with_capacity(topic.len() + self.text.len());
        for part in &*self.parts {
            let text = match part {
                Part::Text(text) => text,
                Part::Level(level) => topic.split('/').nth(*level).unwrap_or_default(),
                Part::From(level) => {
                    let skipped: usize =
                        topic.split('/').take(*level).map(|level| level.len() + 1).sum();
                    let rest = topic.get(skipped..);
                    if rest.is_none() && name.ends_with('/') {
                        name.pop();
                    }
                    rest.unwrap_or_default()
                }
                Part::Behind(bytes) => {
                    let rest = topic.get(*bytes..);
                    if rest.is_none() && name.ends_with('/') {
                        name.pop();
                    }
                    rest.unwrap_or_default()
                }
            };
            name.push_str(text);
        }
        TopicName::new(&name)
    }

    /// The name of a topic that `filter` takes, each wildcard having taken `x`.
    ///
    /// # Errors
    /// [`TopicError`]: as [`Self::apply`].
    pub fn example(&self, filter: &TopicFilter) -> Result<TopicName, TopicError> {
        self.apply(&sample(filter)?)
    }

    /// A filter that takes every name this template gives to what `filter` takes, and perhaps others.
    #[must_use]
    pub fn image(&self, filter: &TopicFilter) -> TopicFilter {
        let mut text = String::new();
        for part in &*self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Level(_) => text.push('+'),
                // Without a prefix to take away, what the filter says of the topic is known.
                Part::Behind(bytes) if filter.as_str().is_char_boundary(*bytes) => {
                    text.push_str(filter.as_str().get(*bytes..).unwrap_or("#"));
                }
                Part::From(level) => {
                    let rest: Vec<&str> = filter.levels().skip(*level).collect();
                    text.push_str(&rest.join("/"));
                }
                Part::Behind(_) => text.push('#'),
            }
        }
        // A level that a wildcard is only a part of may hold anything.
        let mut levels = Vec::new();
        for level in text.split('/') {
            if level.contains('#') {
                levels.push("#");
                break;
            }
            levels.push(if level.contains('+') { "+" } else { level });
        }
        TopicFilter::new(&levels.join("/")).unwrap_or_else(|_| filter.clone())
    }
}

impl fmt::Display for TopicRename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TopicRename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

/// A topic that `filter` takes.
fn sample(filter: &TopicFilter) -> Result<TopicName, TopicError> {
    let levels: Vec<&str> =
        filter.levels().map(|level| if matches!(level, "+" | "#") { "x" } else { level }).collect();
    TopicName::new(&levels.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).expect("well formed")
    }

    fn renamed(pattern: &str, template: &str, topic: &str) -> String {
        let rename = TopicRename::new(template, &filter(pattern)).expect("a template");
        rename.apply(&TopicName::new(topic).unwrap()).expect("a topic").as_str().to_owned()
    }

    #[test]
    fn the_rest_of_a_topic_moves_under_another_name() {
        for (pattern, template, topic, expected) in [
            ("lan/alarms/#", "sites/x/{rest}", "lan/alarms/door/2", "sites/x/door/2"),
            ("lan/alarms/#", "sites/x/{rest}", "lan/alarms", "sites/x"),
            ("lan/+/temp", "sites/x/{rest}", "lan/hall/temp", "sites/x/hall/temp"),
            ("lan/+/temp", "sites/x/{1}", "lan/hall/temp", "sites/x/hall"),
            ("+/+/c/#", "{2}/{1}/{#}/end", "a/b/c/d/e", "b/a/d/e/end"),
            ("+/+/c/#", "{2}-{1}/{#}", "a/b/c", "b-a"),
            ("a/#", "x/{topic}", "a/b", "x/a/b"),
            ("a/+", "x/{1}", "a/", "x/"),
            ("#", "x/{rest}", "/a", "x//a"),
            ("a", "b", "a", "b"),
        ] {
            assert_eq!(renamed(pattern, template, topic), expected, "{pattern} {template}");
        }
    }

    #[test]
    fn a_prefix_is_replaced_as_a_bridge_of_mosquitto_does() {
        let moved = |from: &str, to: &str, pattern: &str, topic: &str| {
            let rename = TopicRename::prefix(from, to, &filter(pattern)).expect("a topic");
            rename.apply(&TopicName::new(topic).unwrap()).expect("a topic").as_str().to_owned()
        };
        assert_eq!(moved("lan/", "sites/x/", "lan/#", "lan/a/b"), "sites/x/a/b");
        assert_eq!(moved("", "sites/x/", "a/+", "a/b"), "sites/x/a/b");
        assert_eq!(moved("lan/", "", "lan/+", "lan/b"), "b");
        assert_eq!(moved("lan/", "sites/", "lan/#", "lan"), "sites");
    }

    #[test]
    fn a_template_that_cannot_be_filled_says_why() {
        let error = |pattern: &str, template: &str| {
            TopicRename::new(template, &filter(pattern)).expect_err("cannot be filled")
        };
        assert_eq!(error("a/b", "c/{rest}"), RenameError::NoRest);
        assert_eq!(error("a/+", "c/{#}"), RenameError::NoHash);
        assert_eq!(error("a/+", "c/{2}"), RenameError::NoLevel { number: 2, count: 1 });
        for text in ["{device}", "{0}", "{", "{}", "}"] {
            let template = format!("c/{text}");
            assert_eq!(error("a/+", &template), RenameError::Unknown { text: text.into() });
        }
        assert!(matches!(error("a/+", "c/#"), RenameError::Topic(TopicError::Wildcard { .. })));
        let long = "a".repeat(65_535);
        assert!(matches!(
            error("a/#", &format!("{long}/{{rest}}")),
            RenameError::Topic(TopicError::TooLong { .. })
        ));
    }

    #[test]
    fn the_image_takes_every_name_that_is_given() {
        for (pattern, template, topic, image) in [
            ("lan/#", "sites/{rest}", "lan/a/b", "sites/#"),
            ("lan/+/x", "sites/{rest}", "lan/a/x", "sites/+/x"),
            ("lan/+/x", "sites/n-{1}/y", "lan/a/x", "sites/+/y"),
            ("a/#", "{#}/b", "a/c/d", "#"),
            ("a/+", "b/{topic}", "a/c", "b/a/+"),
        ] {
            let rename = TopicRename::new(template, &filter(pattern)).unwrap();
            let found = rename.image(&filter(pattern));
            assert_eq!(found, filter(image), "{pattern} {template}");
            let name = rename.apply(&TopicName::new(topic).unwrap()).unwrap();
            assert!(found.matches(&name), "{found} {name}");
        }
    }
}
