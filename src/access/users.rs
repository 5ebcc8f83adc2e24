//! core: the users of password files: who they are, and what their passwords are compared with.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::fault::Fault;
use super::password::{PasswordHash, SALT_BYTES};

/// The users of all files.
#[derive(Debug, Clone)]
pub struct Users {
    entries: HashMap<Arc<str>, Arc<PasswordHash>>,
    /// What a name that is not known is compared with, so that it takes as long.
    decoy: Arc<PasswordHash>,
}

/// One line of a users file: where the name ends and what stands behind it.
pub(super) enum UserLine<'t> {
    /// A comment or nothing.
    Nothing,
    /// A user.
    User(&'t str, PasswordHash),
}

impl Users {
    /// Takes the users of one or more files; each stands there once.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (Arc<str>, PasswordHash)>) -> Self {
        let mut decoy = None;
        let entries = entries.into_iter().map(|(name, hash)| {
            decoy.get_or_insert_with(|| hash.decoy());
            (name, Arc::new(hash))
        });
        let entries = entries.collect();
        let decoy = decoy.unwrap_or_else(|| PasswordHash::argon2id(b"", &[0; SALT_BYTES]).decoy());
        Self { entries, decoy: Arc::new(decoy) }
    }

    /// Reads the text of a users file: `NAME:HASH` on each line, comments begin with `#`. An empty file has nobody.
    ///
    /// # Errors
    /// Every line that is not that. None of them becomes a user.
    pub fn parse(text: &str) -> Result<Vec<(Arc<str>, PasswordHash)>, Vec<Fault>> {
        let (mut users, mut faults) = (Vec::new(), Vec::new());
        let mut lines: HashMap<&str, usize> = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let mut fault =
                |message, remedy| faults.push(Fault { line: line_number, message, remedy });
            match read_line(line) {
                Ok(UserLine::Nothing) => {}
                Ok(UserLine::User(name, hash)) => match lines.entry(name) {
                    Entry::Occupied(first) => {
                        let message =
                            format!("the user `{name}` stands on line {} already", first.get());
                        fault(message, "remove one of the two");
                    }
                    Entry::Vacant(place) => {
                        place.insert(line_number);
                        users.push((Arc::from(name), hash));
                    }
                },
                Err((message, remedy)) => fault(message, remedy),
            }
        }
        if faults.is_empty() { Ok(users) } else { Err(faults) }
    }

    /// What the password of `name` is compared with, and whether there is such a user at all: if not, it is something
    /// that no password matches.
    #[must_use]
    pub fn find(&self, name: &str) -> (Arc<PasswordHash>, bool) {
        match self.entries.get(name) {
            Some(hash) => (hash.clone(), true),
            None => (self.decoy.clone(), false),
        }
    }

    /// Whether `name` is a user with this very hash.
    #[must_use]
    pub fn has(&self, name: &str, hash: &PasswordHash) -> bool {
        self.entries.get(name).is_some_and(|have| **have == *hash)
    }

    /// Those of `self` that are gone in `next` or have another password there.
    #[must_use]
    pub fn outdated(&self, next: Option<&Self>) -> Vec<Arc<str>> {
        let stays = |name: &str, hash| next.is_some_and(|next| next.has(name, hash));
        let entries = self.entries.iter().filter(|(name, hash)| !stays(name, hash));
        entries.map(|(name, _)| name.clone()).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Reads one line of a users file.
pub(super) fn read_line(line: &str) -> Result<UserLine<'_>, (String, &'static str)> {
    const FORM: &str = "a line is `NAME:HASH`: set the password with `fieldpost passwd FILE USER`";
    let line = line.trim_end_matches('\r');
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(UserLine::Nothing);
    }
    let Some((name, hash)) = line.split_once(':') else {
        return Err(("there is no `:` behind a name".to_owned(), FORM));
    };
    check_name(name).map_err(|message| (message.to_owned(), FORM))?;
    match PasswordHash::parse(hash) {
        Ok(hash) => Ok(UserLine::User(name, hash)),
        Err(error) => Err((format!("user `{name}`: {error}"), error.remedy())),
    }
}

/// What a name that may stand in a users file looks like.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("there is no name before the `:`");
    }
    if name.starts_with('#') {
        return Err("a name must not begin with `#`, which begins a comment");
    }
    if name.chars().any(|c| c.is_control() || c == ':') {
        return Err("a name must not hold control characters or `:`");
    }
    if name.len() > usize::from(u16::MAX) {
        return Err("a name has at most 65535 bytes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$7$101$DaMPi+FKueDWPAtn$wtPOsM8pA/ETW97ZjemoRutdnsEJHJsTFCoLRMSkGFtaEs+E6PSo0SolfW5H68WL1IdL5CRaRPWRY6pxSqrFxQ==";

    fn hash(password: &str) -> PasswordHash {
        PasswordHash::argon2id(password.as_bytes(), &[1; SALT_BYTES])
    }

    #[test]
    fn a_file_has_its_users_and_nobody_else() {
        let text = format!("# users\r\nann:{HASH}\r\n\n  \nbob smith:{HASH}\n");
        let users = Users::new(Users::parse(&text).expect("it is right"));
        assert_eq!(users.len(), 2);
        for name in ["ann", "bob smith"] {
            let (hash, known) = users.find(name);
            assert!(known && hash.verify(b"pa:ss$ w"), "{name}");
        }
        for name in ["", "Ann", "ann ", "# users"] {
            let (hash, known) = users.find(name);
            assert!(!known && !hash.verify(b"pa:ss$ w"), "{name}");
        }
    }

    #[test]
    fn an_empty_file_is_nobody() {
        let users = Users::new(Users::parse("").expect("it is right"));
        assert!(users.is_empty());
        let (hash, known) = users.find("");
        assert!(!known && !hash.verify(b""));
    }

    #[test]
    fn a_line_with_a_fault_never_becomes_a_user() {
        let text = format!(
            "ann\nbob:\n:{HASH}\ncarl:secret\ndora:{HASH}\ndora:{HASH}\neve:{HASH}:x\n\
             fred:{HASH} \ngina :{HASH}\nh\u{7}:{HASH}\n"
        );
        let faults = Users::parse(&text).expect_err("faults");
        let lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6, 7, 8, 10]);
        assert_eq!(
            faults[1].to_string(),
            "2: user `bob`: there is no password behind the name; \
             set the password again with `fieldpost passwd FILE USER`"
        );
        assert!(faults[3].to_string().contains("mosquitto_passwd -U FILE"), "{}", faults[3]);
        assert!(!faults[3].to_string().contains("secret"), "{}", faults[3]);
        assert!(faults[4].to_string().contains("line 5 already"), "{}", faults[4]);
    }

    #[test]
    fn users_that_are_gone_or_changed_are_outdated() {
        let all = |list: &[(&str, &str)]| {
            Users::new(list.iter().map(|(name, password)| (Arc::from(*name), hash(password))))
        };
        let before = all(&[("ann", "1"), ("bob", "1"), ("carl", "1")]);
        let mut gone = before.outdated(Some(&all(&[("ann", "1"), ("bob", "2"), ("dora", "1")])));
        gone.sort();
        assert_eq!(gone, ["bob", "carl"].map(Arc::from));
        assert_eq!(before.outdated(None).len(), 3);
    }
}
