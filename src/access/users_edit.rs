//! core: a users file with one user set or taken out, and every other line as it was.

use super::password::PasswordHash;
use super::users::{UserLine, check_name, read_line};

/// Why a users file is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The name cannot stand in such a file.
    #[error("`{name}` cannot be the name of a user: {why}")]
    Name {
        /// Which.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody has the name.
    #[error("there is no user `{name}` in the file")]
    Unknown {
        /// Which.
        name: String,
    },
}

/// Sets the password of `name`, or takes the user out if there is none to set. A line of this user that cannot be read is
/// replaced as well. Gives the text of the file.
///
/// # Errors
/// [`EditError`]: the name cannot be one, or nobody has it who could be taken out.
pub fn edit_users(
    text: &str,
    name: &str,
    password: Option<&PasswordHash>,
) -> Result<String, EditError> {
    check_name(name).map_err(|why| EditError::Name { name: name.to_owned(), why })?;
    let mut set = password.map(|hash| format!("{name}:{hash}\n"));
    let (mut edited, mut found) = (String::with_capacity(text.len()), false);
    for line in text.split_inclusive('\n') {
        if is_of(line.trim_end_matches(['\n', '\r']), name) {
            found = true;
            edited.extend(set.take());
            continue;
        }
        edited.push_str(line);
        if !line.ends_with('\n') {
            edited.push('\n');
        }
    }
    if !found && password.is_none() {
        return Err(EditError::Unknown { name: name.to_owned() });
    }
    edited.extend(set);
    Ok(edited)
}

fn is_of(line: &str, name: &str) -> bool {
    match read_line(line) {
        Ok(UserLine::User(user, _)) => user == name,
        Ok(UserLine::Nothing) => false,
        Err(_) => line.split(':').next() == Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{SALT_BYTES, Users};

    #[test]
    fn one_user_changes_and_every_other_line_stays() {
        let hash = PasswordHash::argon2id(b"x", &[1; SALT_BYTES]);
        let other = PasswordHash::argon2id(b"y", &[2; SALT_BYTES]);
        let text = format!("# ours\n\nann:{hash}\nbob:plain\r\ncarl:{hash}");
        let set = |text: &str, name, password| edit_users(text, name, password).expect(name);
        let edited = set(&text, "bob", Some(&other));
        assert_eq!(edited, format!("# ours\n\nann:{hash}\nbob:{other}\ncarl:{hash}\n"));
        let edited = set(&edited, "dora", Some(&other));
        assert!(edited.ends_with(&format!("carl:{hash}\ndora:{other}\n")), "{edited}");
        let edited = set(&set(&edited, "ann", None), "carl", None);
        assert_eq!(edited, format!("# ours\n\nbob:{other}\ndora:{other}\n"));
        assert_eq!(Users::parse(&edited).map(|users| users.len()), Ok(2));
        assert_eq!(set("", "ann", Some(&hash)), format!("ann:{hash}\n"));
    }

    #[test]
    fn a_name_that_cannot_be_one_or_is_not_there_is_an_error() {
        let unknown = EditError::Unknown { name: "eve".to_owned() };
        assert_eq!(edit_users("", "eve", None), Err(unknown));
        for name in ["", "a:b", "#a", "a\n"] {
            assert!(matches!(edit_users("", name, None), Err(EditError::Name { .. })), "{name:?}");
        }
    }
}
