//! Reads `src/` and checks what the compiler does not: which room leans on which, what a core may not do, and words.
#![allow(clippy::disallowed_methods, reason = "tests touch the machine")]

use std::fs;
use std::path::{Path, PathBuf};

/// The longest a file may be, in lines; one that grows beyond holds two nouns.
const LINES_MAX: usize = 700;

/// Which rooms a room leans on. `app`, `bench`, `demo`, `cli`, `main` and `lib` lean on all. `settings` stands for the settings
/// types of any room: what the operator's file becomes, and no more of it.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("backoff", &[]),
    ("step", &[]),
    ("quiet", &[]),
    ("clock", &["model"]),
    ("mqtt", &["model"]),
    ("field", &["model", "backoff", "clock", "tls"]),
    ("access", &["model"]),
    ("store", &["model", "step"]),
    ("service", &[]),
    ("hub", &["model", "mqtt", "access", "store", "clock", "step", "quiet"]),
    ("tls", &[]),
    ("keep_alive", &[]),
    ("import", &[]),
    ("client", &["model", "mqtt", "tls", "keep_alive"]),
    ("uplink", &["model", "mqtt", "hub", "tls", "keep_alive", "backoff", "step"]),
    ("broker", &["model", "mqtt", "access", "hub", "step", "quiet"]),
    ("payload", &["model", "field", "hub"]),
    ("control", &["model", "field", "hub", "store"]),
    ("commission", &["model", "field", "control"]),
    ("command", &["model", "field", "hub", "payload", "clock", "quiet"]),
    ("console", &["model", "hub"]),
    ("config", &["model", "settings"]),
    ("demo", &["*"]),
    ("bench", &["*"]),
    ("app", &["*"]),
    ("cli", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

/// What a core has no business with: time, waiting, files, locks, the log.
const NOT_IN_A_CORE: &[&str] = &[
    ".await",
    "async fn",
    "Instant::now",
    "SystemTime::now",
    "thread::",
    "tokio::",
    "tracing::",
    "error!(",
    "warn!(",
    "info!(",
    "debug!(",
    "trace!(",
    "println!(",
    "std::fs",
    "fs::read",
    "File::open",
    "Mutex",
    "RwLock",
    "std::env",
    "env::var",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "step::pass",
    "step::is_due",
];

/// Words of one room: the library and the only room that may name it.
const ONE_ROOMS_WORDS: &[(&str, &str)] = &[
    ("rusqlite", "store"),
    ("libc", "clock"),
    ("rsqlite_vfs", "store"),
    ("granit_parser", "config"),
    ("tokio_serial", "field demo"),
    ("regex::", "field"),
    ("crc::", "field"),
    ("tokio_rustls", "tls broker"),
    ("systemd_journal_logger", "service"),
    ("sd_notify", "service"),
    ("tokio_tungstenite", "broker"),
    ("x509_cert", "broker"),
    ("UnixListener", "control broker"),
    ("UnixStream", "control client broker"),
];

/// One file of `src/`.
struct Source {
    /// The path from `src/` on.
    path: PathBuf,
    text: String,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.iter().next().and_then(|part| part.to_str()).expect("a path");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn head(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    fn is_core(&self) -> bool {
        self.head().starts_with("//! core:")
    }

    /// Whether the file holds the tests of the file it lies beside.
    fn is_tests(&self) -> bool {
        self.path.ends_with("tests.rs")
    }

    /// The lines before the tests with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let count = if self.is_tests() { 0 } else { usize::MAX };
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line)).take(count);
        lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]")
    }

    /// The code before the tests, line by line with its number, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .map(|(at, line)| (at, line.find("//").map_or(line, |comment| &line[..comment])))
            .filter(|(_, line)| !line.trim().is_empty())
    }

    fn at(&self, line: usize, what: &str) -> String {
        format!("src/{}:{line}: {what}", self.path.display())
    }
}

fn sources() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    collect(&top, &top, &mut sources);
    assert!(!sources.is_empty(), "src/ has no files");
    sources
}

fn collect(dir: &Path, top: &Path, into: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).expect("a folder of src/") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, top, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            into.push(Source { path: path.strip_prefix(top).expect("below").to_owned(), text });
        }
    }
}

#[track_caller]
fn complain(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// What of ours a line of code names: `crate::store::Row` gives `store` and `Row`. Groups such as
/// `use crate::{model, store}` are taken apart at their first level.
fn names(line: &str) -> Vec<(String, String)> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = Vec::new();
    for (at, root) in line.match_indices("crate::") {
        if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &line[at + root.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let parts = group.split(|c| {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                c == ',' && depth == 0
            });
            found.extend(parts.map(|part| (word(part), String::new())));
        } else {
            let room = word(rest);
            let item = rest[room.len()..].strip_prefix("::").map(|item| match item {
                group if group.starts_with('{') => group.to_owned(),
                item => word(item),
            });
            found.push((room, item.unwrap_or_default()));
        }
    }
    found.retain(|(room, _)| !room.is_empty());
    found
}

/// Statements of the code: `use` lines may be broken, so each is put on one line.
fn statements(source: &Source) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (at, line) in source.code() {
        let line = line.trim();
        match statements.last_mut() {
            Some((_, statement)) if open => statement.push_str(line),
            _ => statements.push((at, line.to_owned())),
        }
        let is_use = statements.last().is_some_and(|(_, s)| {
            s.starts_with("use ") || s.starts_with("pub use ") || s.starts_with("pub(crate) use ")
        });
        open = is_use && !line.ends_with(';');
    }
    statements
}

#[test]
fn rooms_lean_only_along_the_road() {
    let mut complaints = Vec::new();
    for source in sources() {
        let room = source.room();
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            complaints.push(source.at(1, "this room is not on the map in tests/tidy.rs"));
            continue;
        };
        if allowed.contains(&"*") {
            continue;
        }
        for (at, statement) in statements(&source) {
            for (other, item) in names(&statement) {
                let known = ROOMS.iter().any(|(name, _)| *name == other);
                if !known || other == room || allowed.contains(&other.as_str()) {
                    continue;
                }
                if allowed.contains(&"settings") && is_settings(&other, &item) {
                    continue;
                }
                complaints.push(source.at(at, &format!("{room} does not lean on {other}")));
            }
        }
    }
    complain(&complaints);
}

/// Whether `room` exports `item`, or each of a `{group}`, from a file of settings or from `mqtt`'s words for them.
fn is_settings(room: &str, item: &str) -> bool {
    let settings: String = sources()
        .iter()
        .filter(|source| source.room() == room)
        .filter(|source| source.path.to_string_lossy().contains("settings"))
        .map(|source| source.text.clone())
        .collect();
    let defined = |name: &str| {
        let kinds = ["struct", "enum", "type", "fn", "const", "trait"];
        kinds.iter().any(|kind| {
            settings.match_indices(&format!("pub {kind} {name}")).any(|(at, found)| {
                !settings[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        })
    };
    let group = item.trim_start_matches('{').trim_end_matches(';').trim_end_matches('}');
    let mut items = group.split(',').map(str::trim).filter(|name| !name.is_empty()).peekable();
    let wire_words = room == "mqtt" && item == "Version";
    wire_words || (items.peek().is_some() && items.all(|name| name == "settings" || defined(name)))
}

#[test]
fn the_first_line_of_a_file_says_what_it_is() {
    let mut complaints = Vec::new();
    for source in sources() {
        let name = source.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let head = source.head();
        let page = ["mod.rs", "lib.rs", "main.rs"].contains(&name) || source.room() == "model";
        if source.is_tests() {
            continue;
        }
        let sorted = head.starts_with("//! core: ") || head.starts_with("//! shell: ");
        if !(sorted || page && head.starts_with("//! ")) {
            complaints.push(source.at(1, "the first line is not `//! core: …` or `//! shell: …`"));
        }
    }
    complain(&complaints);
}

#[test]
fn a_core_is_told_everything_and_touches_nothing() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| source.is_core() || source.room() == "model") {
        for (at, line) in source.code() {
            for word in NOT_IN_A_CORE.iter().filter(|word| contains_word(line, word)) {
                complaints.push(source.at(at, &format!("a core has no business with `{word}`")));
            }
        }
    }
    complain(&complaints);
}

/// Whether `line` has `word` without letters before it: `set_warn!(` is not `warn!(`.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        word.starts_with('.') || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn a_library_is_known_in_one_room() {
    let mut complaints = Vec::new();
    for source in sources() {
        for (library, rooms) in ONE_ROOMS_WORDS {
            if rooms.split(' ').any(|room| room == source.room()) {
                continue;
            }
            for (at, _) in source.code().filter(|(_, line)| contains_word(line, library)) {
                complaints.push(source.at(at, &format!("only {rooms} knows {library}")));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn a_file_is_about_one_thing() {
    let too_long = |source: &Source| {
        let lines = source.text.lines().count();
        (lines > LINES_MAX).then(|| source.at(lines, &format!("more than {LINES_MAX} lines")))
    };
    complain(&sources().iter().filter_map(too_long).collect::<Vec<_>>());
}

#[test]
fn words_are_those_of_the_specification_and_say_what_a_thing_is() {
    let mut complaints = Vec::new();
    for source in sources() {
        for part in &source.path {
            let part = part.to_string_lossy();
            let name = part.strip_suffix(".rs").unwrap_or(&part);
            if ["util", "utils", "helper", "helpers", "manager", "common", "misc"].contains(&name) {
                complaints.push(source.at(1, &format!("`{name}` is not the name of anything")));
            }
        }
        // The tests speak other libraries' languages.
        for (at, line) in source.lines() {
            // Quotes of a specification keep its words.
            let ours: String = line.split('"').step_by(2).collect();
            for word in words(&ours).filter(|w| ["slave", "slaves", "master"].contains(&w.as_str()))
            {
                complaints.push(source.at(at, &format!("`{word}`: say unit, device or gateway")));
            }
            for path in ["/work/", "/root/", "/home/"].iter().filter(|path| line.contains(**path)) {
                complaints.push(source.at(at, &format!("`{path}` is somebody's machine")));
            }
        }
    }
    complain(&complaints);
}

/// The words of a line in lower case, taken apart at underscores and capitals: `SlaveId` gives `slave` and `id`.
fn words(line: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in line.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("one is always there").extend(c.to_lowercase());
        }
        before = c;
    }
    words.into_iter().filter(|word| !word.is_empty())
}

#[test]
fn the_checks_themselves_see_what_they_look_for() {
    assert_eq!(names("use crate::store::{Row, Settle};")[0].0, "store");
    let group: Vec<String> = names("use crate::{model::{QoS, Seq}, hub, store::Row};")
        .into_iter()
        .map(|(room, _)| room)
        .collect();
    assert_eq!(group, ["model", "hub", "store"]);
    assert!(names("let x = $crate_name;").is_empty());
    assert!(contains_word("    info!(\"x\")", "info!("));
    assert!(!contains_word("tokio_tracing::x", "tracing::"));
    assert_eq!(
        words("ReadSlaveId master_x").collect::<Vec<_>>(),
        ["read", "slave", "id", "master", "x"]
    );
    assert!(is_settings("store", "QueueSettings"));
    assert!(is_settings("store", "{QueueSettings, WhenFull};"));
    assert!(!is_settings("store", "Queue"));
}
