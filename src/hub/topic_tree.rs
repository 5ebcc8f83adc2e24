//! core: topic filters in, matches out.

use std::collections::HashMap;

use crate::model::{TopicFilter, TopicName};

/// The most levels a filter in the tree may have; bounds the depth of a walk.
pub const LEVELS_MAX: usize = 128;

/// Filters with who subscribed to them and how. One entry for each pair of filter and key.
#[derive(Debug)]
pub struct TopicTree<K, V> {
    root: Node<K, V>,
}

#[derive(Debug)]
struct Node<K, V> {
    /// The branches of the levels that are no wildcards.
    branches: Branches<K, V>,
    /// The branch of `+`.
    any: Option<Box<Self>>,
    /// The branch of `#`, which has no others.
    rest: Option<Box<Self>>,
    here: Vec<(K, V)>,
}

/// Nodes by their levels. Most have one branch or none, and there may be a node for each of many clients.
#[derive(Debug)]
enum Branches<K, V> {
    Few(Vec<(Box<str>, Node<K, V>)>),
    Many(HashMap<Box<str>, Node<K, V>>),
}

/// The most that are looked through one by one.
const FEW: usize = 4;

impl<K, V> Branches<K, V> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    fn get(&self, level: &str) -> Option<&Node<K, V>> {
        match self {
            Self::Few(few) => few.iter().find(|(have, _)| **have == *level).map(|(_, node)| node),
            Self::Many(many) => many.get(level),
        }
    }

    fn get_mut(&mut self, level: &str) -> Option<&mut Node<K, V>> {
        match self {
            Self::Few(few) => {
                few.iter_mut().find(|(have, _)| **have == *level).map(|(_, node)| node)
            }
            Self::Many(many) => many.get_mut(level),
        }
    }

    fn get_or_insert(&mut self, level: &str) -> &mut Node<K, V> {
        if let Self::Few(few) = self
            && few.len() >= FEW
            && few.iter().all(|(have, _)| **have != *level)
        {
            *self = Self::Many(std::mem::take(few).into_iter().collect());
        }
        match self {
            Self::Few(few) => {
                let place = few.iter().position(|(have, _)| **have == *level);
                let place = place.unwrap_or_else(|| {
                    few.reserve_exact(1);
                    few.push((level.into(), Node::default()));
                    few.len() - 1
                });
                &mut few[place].1
            }
            Self::Many(many) => many.entry(level.into()).or_default(),
        }
    }

    fn remove(&mut self, level: &str) {
        match self {
            Self::Few(few) => few.retain(|(have, _)| **have != *level),
            Self::Many(many) => _ = many.remove(level),
        }
    }
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self { branches: Branches::Few(Vec::new()), any: None, rest: None, here: Vec::new() }
    }
}

impl<K, V> Node<K, V> {
    fn child(&mut self, level: &str) -> Option<&mut Self> {
        match level {
            "+" => self.any.as_deref_mut(),
            "#" => self.rest.as_deref_mut(),
            level => self.branches.get_mut(level),
        }
    }

    fn child_or_new(&mut self, level: &str) -> &mut Self {
        match level {
            "+" => self.any.get_or_insert_default(),
            "#" => self.rest.get_or_insert_default(),
            level => self.branches.get_or_insert(level),
        }
    }

    fn remove_child(&mut self, level: &str) {
        match level {
            "+" => self.any = None,
            "#" => self.rest = None,
            level => self.branches.remove(level),
        }
    }

    fn is_empty(&self) -> bool {
        let has_wildcard = self.any.is_some() || self.rest.is_some();
        self.here.is_empty() && self.branches.is_empty() && !has_wildcard
    }
}

impl<K, V> Default for TopicTree<K, V> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<K: PartialEq, V> TopicTree<K, V> {
    /// Adds or replaces the subscription of `key` to `filter`; gives back the one that was there. A filter of more than
    /// [`LEVELS_MAX`] levels must be refused before.
    pub fn insert(&mut self, filter: &TopicFilter, key: K, value: V) -> Option<V> {
        debug_assert!(filter.levels().count() <= LEVELS_MAX, "refused before");
        let mut node = &mut self.root;
        for level in filter.levels() {
            node = node.child_or_new(level);
        }
        match node.here.iter_mut().find(|(have, _)| *have == key) {
            Some((_, have)) => Some(std::mem::replace(have, value)),
            None => {
                if node.here.is_empty() {
                    // Mostly it stays the only one.
                    node.here.reserve_exact(1);
                }
                node.here.push((key, value));
                None
            }
        }
    }

    /// The subscription of `key` to `filter`.
    pub fn get_mut(&mut self, filter: &TopicFilter, key: &K) -> Option<&mut V> {
        let mut node = &mut self.root;
        for level in filter.levels() {
            node = node.child(level)?;
        }
        node.here.iter_mut().find(|(have, _)| have == key).map(|(_, value)| value)
    }

    /// Takes the subscription of `key` to `filter` away, and the branches that are empty after it.
    pub fn remove(&mut self, filter: &TopicFilter, key: &K) -> Option<V> {
        let levels: Vec<&str> = filter.levels().collect();
        remove_below(&mut self.root, &levels, key)
    }

    /// Calls `found` for every subscription that takes `topic`; a key with several matching filters is found for each.
    pub fn matches<'a>(&'a self, topic: &TopicName, mut found: impl FnMut(&'a K, &'a V)) {
        // [MQTT-4.7.2-1]: a wildcard on the first level does not take topics that begin with `$`.
        let hidden = topic.as_str().starts_with('$');
        walk(&self.root, Some(topic.as_str()), hidden, &mut found);
    }
}

fn remove_below<K: PartialEq, V>(node: &mut Node<K, V>, levels: &[&str], key: &K) -> Option<V> {
    let Some((level, rest)) = levels.split_first() else {
        let index = node.here.iter().position(|(have, _)| have == key)?;
        return Some(node.here.swap_remove(index).1);
    };
    let child = node.child(level)?;
    let removed = remove_below(child, rest, key);
    if child.is_empty() {
        node.remove_child(level);
    }
    removed
}

/// Goes on with what is `left` of a topic; `None` at its end. As deep as the tree, so at most [`LEVELS_MAX`] calls, however
/// many levels the topic has.
fn walk<'a, K, V>(
    node: &'a Node<K, V>,
    left: Option<&str>,
    hidden: bool,
    found: &mut impl FnMut(&'a K, &'a V),
) {
    let mut tell =
        |node: &'a Node<K, V>| node.here.iter().for_each(|(key, value)| found(key, value));
    if !hidden && let Some(rest) = &node.rest {
        tell(rest);
    }
    let Some(left) = left else { return tell(node) };
    if node.branches.is_empty() && node.any.is_none() {
        return;
    }
    let (level, below) = left.split_once('/').map_or((left, None), |(l, below)| (l, Some(below)));
    if !hidden && let Some(any) = &node.any {
        walk(any, below, false, found);
    }
    if let Some(child) = node.branches.get(level) {
        walk(child, below, false, found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).expect("well formed")
    }

    fn found(tree: &TopicTree<u32, u8>, topic: &str) -> Vec<u32> {
        let mut keys = Vec::new();
        tree.matches(&TopicName::new(topic).expect("well formed"), |key, _| keys.push(*key));
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_removed_subscription_leaves_nothing_behind() {
        let mut tree = TopicTree::default();
        assert_eq!(tree.insert(&filter("a/+/c"), 1, 0), None);
        assert_eq!(tree.insert(&filter("a/+/c"), 1, 2), Some(0));
        assert_eq!(tree.insert(&filter("a/#"), 2, 0), None);
        assert_eq!(found(&tree, "a/b/c"), [1, 2]);
        assert_eq!(tree.get_mut(&filter("a/+/c"), &1), Some(&mut 2));
        assert_eq!(tree.get_mut(&filter("a/+"), &1), None);
        assert_eq!(tree.remove(&filter("a/+/c"), &1), Some(2));
        assert_eq!(tree.remove(&filter("a/+/c"), &1), None);
        assert_eq!(tree.remove(&filter("a/#"), &2), Some(0));
        assert!(tree.root.is_empty());
    }

    #[test]
    fn a_topic_of_many_levels_is_walked_no_deeper_than_the_tree() {
        let mut tree = TopicTree::default();
        tree.insert(&filter("#"), 1, 0);
        assert_eq!(found(&tree, &"/".repeat(65_535)), [1]);
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_each_filter_matches_alone(
            filters in prop::collection::vec("[a$+]?(/[ab+]?){0,3}(/#)?|#|\\+", 1..12),
            topic in "[a$b]?(/[ab]?){0,4}",
        ) {
            prop_assume!(!topic.is_empty());
            let topic = TopicName::new(&topic).expect("made without wildcards");
            let filters: Vec<_> = filters.iter().filter_map(|f| TopicFilter::new(f).ok()).collect();
            let mut tree = TopicTree::default();
            for (key, filter) in filters.iter().enumerate() {
                tree.insert(filter, key, ());
            }
            let mut found = Vec::new();
            tree.matches(&topic, |key, ()| found.push(*key));
            found.sort_unstable();
            let expected: Vec<usize> =
                (0..filters.len()).filter(|key| filters[*key].matches(&topic)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
