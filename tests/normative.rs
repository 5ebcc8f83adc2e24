//! `tests/normative/checklist.md` names every normative statement of MQTT 3.1.1 and of MQTT 5.0 once, and each with a test
//! that there is.
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests touch the machine")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

const CHECKLIST: &str = "tests/normative/checklist.md";

/// A section with the first and the last number of its statements.
type Section = (&'static str, u8, u8);

/// Appendix B of MQTT 3.1.1, OASIS Standard, 29 October 2014.
#[rustfmt::skip]
const V311: &[Section] = &[
    ("1.5.3", 1, 3), ("2.2.2", 1, 2), ("2.3.1", 1, 7), ("3.1.0", 1, 2), ("3.1.2", 1, 24), ("3.1.3", 1, 11),
    ("3.1.4", 1, 5), ("3.2.0", 1, 1), ("3.2.2", 1, 6), ("3.3.1", 1, 12), ("3.3.2", 1, 3), ("3.3.4", 1, 1),
    ("3.3.5", 1, 2), ("3.6.1", 1, 1), ("3.8.1", 1, 1), ("3.8.3", 1, 4), ("3.8.4", 1, 6), ("3.9.3", 1, 2),
    ("3.10.1", 1, 1), ("3.10.3", 1, 2), ("3.10.4", 1, 6), ("3.12.4", 1, 1), ("3.14.1", 1, 1), ("3.14.4", 1, 3),
    ("4.1.0", 1, 2), ("4.3.1", 1, 1), ("4.3.2", 1, 2), ("4.3.3", 1, 2), ("4.4.0", 1, 1), ("4.5.0", 1, 2),
    ("4.6.0", 1, 6), ("4.7.1", 1, 3), ("4.7.2", 1, 1), ("4.7.3", 1, 4), ("4.8.0", 1, 2), ("6.0.0", 1, 4),
    ("7.0.0", 1, 2), ("7.1.1", 1, 1), ("7.1.2", 1, 1),
];

/// Appendix B of MQTT 5.0, OASIS Standard, 7 March 2019; 4.2-1 as section 4.2 numbers it.
#[rustfmt::skip]
const V5: &[Section] = &[
    ("1.5.4", 1, 3), ("1.5.5", 1, 1), ("1.5.7", 1, 1), ("2.1.3", 1, 1), ("2.2.1", 2, 6), ("2.2.2", 1, 1),
    ("3.1.0", 1, 2), ("3.1.2", 1, 30), ("3.1.3", 1, 12), ("3.1.4", 1, 6), ("3.2.0", 1, 2), ("3.2.2", 1, 22),
    ("3.3.1", 1, 13), ("3.3.2", 1, 20), ("3.3.4", 1, 10), ("3.4.2", 1, 3), ("3.5.2", 1, 3), ("3.6.1", 1, 1),
    ("3.6.2", 1, 3), ("3.7.2", 1, 3), ("3.8.1", 1, 1), ("3.8.3", 1, 5), ("3.8.4", 1, 8), ("3.9.2", 1, 2),
    ("3.9.3", 1, 2), ("3.10.1", 1, 1), ("3.10.3", 1, 2), ("3.10.4", 1, 6), ("3.11.2", 1, 2), ("3.11.3", 1, 2),
    ("3.12.4", 1, 1), ("3.14.0", 1, 1), ("3.14.1", 1, 1), ("3.14.2", 1, 4), ("3.14.4", 1, 3), ("3.15.1", 1, 1),
    ("3.15.2", 1, 3), ("4.1.0", 1, 2), ("4.2", 1, 1), ("4.3.1", 1, 1), ("4.3.2", 1, 5), ("4.3.3", 1, 13),
    ("4.4.0", 1, 2), ("4.5.0", 1, 2), ("4.6.0", 1, 6), ("4.7.0", 1, 1), ("4.7.1", 1, 2), ("4.7.2", 1, 1),
    ("4.7.3", 1, 4), ("4.8.2", 1, 6), ("4.9.0", 1, 3), ("4.12.0", 1, 7), ("4.12.1", 1, 2), ("4.13.1", 1, 1),
    ("4.13.2", 1, 1), ("6.0.0", 1, 4),
];

/// Why a statement may stand without a test. The last two say more behind a colon.
const CLIENT_ONLY: &str = "client only";
const WITH_REASON: [&str; 2] = ["not testable: ", "does not apply: "];

/// One row of the checklist.
struct Row<'a> {
    statement: &'a str,
    in_short: &'a str,
    shown_by: &'a str,
}

/// The rows under a heading of the second level.
fn rows<'a>(checklist: &'a str, heading: &str) -> Vec<Row<'a>> {
    let section = checklist.split("\n## ").find_map(|section| section.strip_prefix(heading));
    let section = section.unwrap_or_else(|| panic!("{CHECKLIST} has no section {heading}"));
    let mut rows = Vec::new();
    for line in section.lines().filter(|line| line.starts_with("| MQTT-")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [statement, in_short, shown_by] = cells[..] else { panic!("not three cells: {line}") };
        rows.push(Row { statement, in_short, shown_by });
    }
    rows
}

fn checklist() -> String {
    fs::read_to_string(CHECKLIST).expect("the checklist")
}

fn all(checklist: &str) -> Vec<Row<'_>> {
    let mut all = rows(checklist, "MQTT 3.1.1");
    all.extend(rows(checklist, "MQTT 5.0"));
    all
}

#[test]
fn every_normative_statement_is_named_once() {
    let checklist = checklist();
    for (heading, sections, count) in [("MQTT 3.1.1", V311, 141), ("MQTT 5.0", V5, 251)] {
        let mut expected = BTreeSet::new();
        for &(section, first, last) in sections {
            expected.extend((first..=last).map(|number| format!("MQTT-{section}-{number}")));
        }
        assert_eq!(expected.len(), count, "{heading}");
        let mut named: BTreeMap<&str, u32> = BTreeMap::new();
        for row in rows(&checklist, heading) {
            *named.entry(row.statement).or_default() += 1;
            assert!(!row.in_short.is_empty(), "{heading}: {} says nothing", row.statement);
        }
        let missing: Vec<_> =
            expected.iter().filter(|statement| !named.contains_key(statement.as_str())).collect();
        let wrong: Vec<_> = named
            .iter()
            .filter(|(name, times)| !expected.contains(**name) || **times > 1)
            .collect();
        assert!(missing.is_empty() && wrong.is_empty(), "{heading}: {missing:?}, {wrong:?}");
    }
}

/// Whether `source` has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let (mut is_test, head) = (false, format!("fn {name}("));
    for line in source.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.contains("fn ") {
            if is_test && line.starts_with(&head) {
                return true;
            }
            is_test = false;
        }
    }
    false
}

#[test]
fn each_statement_has_a_test_that_there_is_or_a_reason_for_none() {
    let checklist = checklist();
    let mut sources: HashMap<&str, String> = HashMap::new();
    let mut wrong = Vec::new();
    for Row { statement, shown_by, .. } in all(&checklist) {
        let reason = WITH_REASON.iter().find_map(|prefix| shown_by.strip_prefix(prefix));
        if shown_by == CLIENT_ONLY || reason.is_some_and(|reason| !reason.is_empty()) {
            continue;
        }
        for named in shown_by.split(", ") {
            let test = named.strip_prefix('`').and_then(|test| test.strip_suffix('`'));
            let Some((path, name)) = test.and_then(|test| test.split_once("::")) else {
                wrong.push(format!("{statement}: {named:?} is neither a test nor a reason"));
                continue;
            };
            let source =
                sources.entry(path).or_insert_with(|| fs::read_to_string(path).unwrap_or_default());
            if !has_test(source, name) {
                wrong.push(format!("{statement}: {path} has no test {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
