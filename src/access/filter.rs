//! core: topic filters against topic filters: what one covers of the other, and what both take. MQTT 5.0 section 4.7.

use crate::model::TopicFilter;

/// Whether every topic that `inner` takes is taken by `outer` as well.
pub(super) fn covers(outer: &TopicFilter, inner: &TopicFilter) -> bool {
    let (outer, inner) = (same_but_short(outer), same_but_short(inner));
    if is_hidden(outer, inner) {
        return false;
    }
    let (mut outer, mut inner) = (outer.split('/'), inner.split('/'));
    loop {
        match (outer.next(), inner.next()) {
            (Some("#"), _) | (None, None) => return true,
            (_, Some("#")) => return false,
            (Some("+"), Some(_)) => {}
            (Some(have), Some(wanted)) if have == wanted => {}
            (_, _) => return false,
        }
    }
}

/// The filter for the topics that both take; `None` if there is no such topic.
pub(super) fn intersection(a: &TopicFilter, b: &TopicFilter) -> Option<TopicFilter> {
    let (a, b) = (same_but_short(a), same_but_short(b));
    if is_hidden(a, b) || is_hidden(b, a) {
        return None;
    }
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    let mut both: Vec<&str> = Vec::new();
    loop {
        match (a.next(), b.next()) {
            // `a/#` takes `a` too.
            (None | Some("#"), None) | (None, Some("#")) => break,
            (None, Some(_)) | (Some(_), None) => return None,
            (Some("#"), Some(level)) => {
                both.push(level);
                both.extend(b);
                break;
            }
            (Some(level), Some("#")) => {
                both.push(level);
                both.extend(a);
                break;
            }
            (Some("+"), Some(level)) | (Some(level), Some("+")) => both.push(level),
            (Some(level), Some(other)) if level == other => both.push(level),
            (Some(_), Some(_)) => return None,
        }
    }
    TopicFilter::new(&both.join("/")).ok()
}

/// Every topic has a first level, so `+/#` is `#`.
fn same_but_short(filter: &TopicFilter) -> &str {
    match filter.as_str() {
        "+/#" => "#",
        text => text,
    }
}

/// Whether `other` takes only topics that begin with `$`, which a wildcard on the first level does not take
/// [MQTT-4.7.2-1].
fn is_hidden(filter: &str, other: &str) -> bool {
    filter.starts_with(['+', '#']) && other.starts_with('$')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every topic of up to four levels out of `a`, `b`, nothing, and on the first one `$`. `z` is in no filter, so it
    /// stands for all other words. The empty text is among them although it is no topic: `/#` takes it, and who covers
    /// that need not know better.
    fn topics() -> Vec<String> {
        let mut texts: Vec<String> = ["a", "b", "", "z", "$", "$z"].map(String::from).to_vec();
        let mut last = texts.clone();
        for _ in 0..3 {
            last = last
                .iter()
                .flat_map(|text| ["a", "b", "", "z"].map(|level| format!("{text}/{level}")))
                .collect();
            texts.extend(last.clone());
        }
        texts
    }

    fn filter() -> impl Strategy<Value = TopicFilter> {
        "([ab$+]?(/[ab+]?){0,2}(/#)?)|#"
            .prop_filter_map("a filter", |text| TopicFilter::new(&text).ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn a_filter_covers_another_if_it_takes_all_its_topics(outer in filter(), inner in filter()) {
            let all = topics().iter().all(|topic| outer.takes(topic) || !inner.takes(topic));
            prop_assert_eq!(covers(&outer, &inner), all, "{} {}", outer, inner);
        }

        #[test]
        fn an_intersection_takes_what_both_take(a in filter(), b in filter()) {
            let both = intersection(&a, &b);
            for topic in topics().iter().filter(|topic| !topic.is_empty()) {
                let taken = both.as_ref().is_some_and(|both| both.takes(topic));
                prop_assert_eq!(taken, a.takes(topic) && b.takes(topic), "{} {} {}", a, b, topic);
            }
        }
    }

    #[test]
    fn a_wildcard_on_the_first_level_is_not_about_topics_with_a_dollar_sign() {
        let filter = |text| TopicFilter::new(text).expect("a filter");
        assert!(!covers(&filter("#"), &filter("$SYS/#")));
        assert_eq!(intersection(&filter("+/broker"), &filter("$SYS/broker")), None);
        assert!(covers(&filter("$SYS/#"), &filter("$SYS/+/load")));
    }
}
