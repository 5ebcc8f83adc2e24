//! shell: users and rules as they are in force: reads their files, again when they change, and checks passwords on threads
//! that may wait.
#![allow(
    clippy::disallowed_methods,
    reason = "this shell reads files and the clock, and guards what several tasks share"
)]

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::acl::Acl;
use super::acl_file::parse_acl_file;
use super::fault::AccessError;
use super::file_watch::FileWatch;
use super::guesses::{Guesses, PAUSE, Verdict, WRONG_MAX, network};
use super::password::PasswordHash;
use super::settings::{AccessSettings, AclSettings};
use super::users::Users;

/// Passwords that are checked at the same time. Each may take 19 MiB (argon2id as we write it), and a processor.
const CHECKS_MAX: usize = 2;
/// The longest file of users or rules.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Who may enter and who may do what, as it is in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    guesses: Mutex<Guesses>,
    checks: Semaphore,
    /// One check at a time for each address, or network of IPv6: a flood from one of them waits behind itself.
    turns: Mutex<HashMap<Option<IpAddr>, Arc<Semaphore>>>,
}

#[derive(Debug)]
struct State {
    settings: AccessSettings,
    watch: FileWatch,
    in_force: Arc<InForce>,
}

#[derive(Debug)]
struct InForce {
    users: Option<Users>,
    client_id_prefix: Option<Arc<str>>,
    acl: Arc<Acl>,
}

/// What a reload changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// The rules from here on.
    pub acl: Arc<Acl>,
    /// How many users there are; `None` if the settings name no file of them.
    pub users: Option<usize>,
    /// Users that are gone or have another password: who entered as one of them must go.
    pub outdated: Vec<Arc<str>>,
}

/// A user who has given the right password.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user name.
    pub user: Arc<str>,
    hash: Arc<PasswordHash>,
}

/// Why a password opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// There is no such user, or it is another password.
    #[error("bad user name or password")]
    Wrong,
    /// Too many different ones came from this address: not looked at.
    #[error("too many wrong passwords from this address")]
    Paused,
}

impl Gate {
    /// No users and no rules: whoever a listener lets in without a name may do everything.
    #[must_use]
    pub fn open() -> Self {
        let in_force = InForce { users: None, client_id_prefix: None, acl: Arc::new(Acl::open()) };
        Self::with(AccessSettings::default(), FileWatch::new(Vec::new()), in_force)
    }

    /// Reads the files that `settings` name.
    ///
    /// # Errors
    /// [`AccessError`] says which file and line is at fault, and what to do.
    pub fn load(settings: AccessSettings) -> Result<Self, AccessError> {
        let watch = FileWatch::new(files(&settings));
        let in_force = load(&settings)?;
        let (users, rules) = (in_force.users.as_ref().map(Users::len), in_force.acl.count());
        if users.is_some() || rules.is_some() {
            info!(users, rules, "users and rules of the broker are in force");
        }
        if users == Some(0) {
            warn!(
                remedy = "set a password with `fieldpost passwd FILE USER`",
                "nobody can enter with a name: no user stands in the users file"
            );
        }
        Ok(Self::with(settings, watch, in_force))
    }

    /// Reads the files that `settings` name, only to see whether they are right.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn check(settings: &AccessSettings) -> Result<(), AccessError> {
        load(settings).map(drop)
    }

    fn with(settings: AccessSettings, watch: FileWatch, in_force: InForce) -> Self {
        let state = State { settings, watch, in_force: Arc::new(in_force) };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            guesses: Mutex::new(Guesses::new(RandomState::new())),
            checks: Semaphore::new(CHECKS_MAX),
            turns: Mutex::new(HashMap::new()),
        }))
    }

    /// The rules in force.
    #[must_use]
    pub fn acl(&self) -> Arc<Acl> {
        self.in_force().acl.clone()
    }

    /// Whether there are users at all: without them, a user name means nothing.
    #[must_use]
    pub fn has_users(&self) -> bool {
        self.in_force().users.is_some()
    }

    /// What the client id of `user` must begin with.
    #[must_use]
    pub fn client_id_prefix(&self, user: &str) -> Option<String> {
        let in_force = self.in_force();
        in_force.client_id_prefix.as_ref().map(|prefix| prefix.replace("%u", user))
    }

    /// Checks a password. Takes as long for a name that is not known. At most two are computed at the same time, and one
    /// for each address, whoever else waits.
    ///
    /// # Errors
    /// [`LoginError`]: wrong, or not looked at because too many wrong ones came from there.
    pub async fn log_in(
        &self,
        address: Option<IpAddr>,
        user: &str,
        password: &[u8],
    ) -> Result<Login, LoginError> {
        self.judge(address, user, password)?;
        let turn = Turn::take(&self.0, address.map(network));
        let _turn = turn.semaphore.acquire().await;
        let _check = self.0.checks.acquire().await;
        // While it waited, others may have guessed from the same address.
        self.judge(address, user, password)?;
        let (hash, known) = match &self.in_force().users {
            Some(users) => users.find(user),
            None => return Err(LoginError::Wrong),
        };
        let (compared, secret) = (hash.clone(), password.to_vec());
        let is_right = spawn_blocking(move || compared.verify(&secret)).await.unwrap_or(false);
        if known && is_right {
            return Ok(Login { user: Arc::from(user), hash });
        }
        if let Some(address) = address
            && lock(&self.0.guesses).handle_wrong(address, user, password, Instant::now())
        {
            let seconds = PAUSE.as_secs();
            warn!(%address, different = WRONG_MAX, seconds, "too many wrong passwords from one address; no more are looked at for a while");
        }
        Err(LoginError::Wrong)
    }

    fn judge(
        &self,
        address: Option<IpAddr>,
        user: &str,
        password: &[u8],
    ) -> Result<(), LoginError> {
        let Some(address) = address else { return Ok(()) };
        let mut guesses = lock(&self.0.guesses);
        let (verdict, refused) = guesses.judge(address, user, password, Instant::now());
        drop(guesses);
        if let Some(refused) = refused {
            info!(%address, refused, "passwords from this address are looked at again");
        }
        match verdict {
            Verdict::Unknown => Ok(()),
            Verdict::WrongAgain => Err(LoginError::Wrong),
            Verdict::Paused => Err(LoginError::Paused),
        }
    }

    /// Whether the user of a login is still there with the same password.
    #[must_use]
    pub fn still_holds(&self, login: &Login) -> bool {
        let in_force = self.in_force();
        in_force.users.as_ref().is_some_and(|users| users.has(&login.user, &login.hash))
    }

    /// Whether there are files to be looked at.
    #[must_use]
    pub fn has_files(&self) -> bool {
        !lock(&self.0.state).watch.is_empty()
    }

    /// Looks whether a file has changed since it was read, and reads all of them again if so; `None` if none has. Blocks
    /// for as long as the files take.
    ///
    /// # Errors
    /// [`AccessError`]; what was in force stays in force.
    pub fn look(&self) -> Option<Result<Change, AccessError>> {
        let settings = {
            let mut state = lock(&self.0.state);
            state.watch.has_changed().then(|| state.settings.clone())
        };
        settings.map(|settings| self.put_in_force(settings))
    }

    /// Reads the files that `settings` name and puts them in force. Blocks for as long as the files take.
    ///
    /// # Errors
    /// [`AccessError`]; what was in force stays in force, and its files are looked at.
    pub fn put_in_force(&self, settings: AccessSettings) -> Result<Change, AccessError> {
        // Before they are read: a change in between is seen by the next look.
        let watch = FileWatch::new(files(&settings));
        let next = Arc::new(load(&settings)?);
        let before = {
            let mut state = lock(&self.0.state);
            (state.settings, state.watch) = (settings, watch);
            std::mem::replace(&mut state.in_force, next.clone())
        };
        lock(&self.0.guesses).handle_users_changed();
        let outdated = before.users.as_ref().map(|users| users.outdated(next.users.as_ref()));
        let outdated = outdated.unwrap_or_default();
        let users = next.users.as_ref().map(Users::len);
        Ok(Change { acl: next.acl.clone(), users, outdated })
    }

    fn in_force(&self) -> Arc<InForce> {
        lock(&self.0.state).in_force.clone()
    }
}

/// The turn of an address; forgotten when nobody from there waits any more.
struct Turn<'a> {
    shared: &'a Shared,
    address: Option<IpAddr>,
    semaphore: Arc<Semaphore>,
}

impl<'a> Turn<'a> {
    fn take(shared: &'a Shared, address: Option<IpAddr>) -> Self {
        let mut turns = lock(&shared.turns);
        let semaphore = turns.entry(address).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        Self { shared, address, semaphore }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = lock(&self.shared.turns);
        // One in the map and one here.
        if Arc::strong_count(&self.semaphore) <= 2 {
            turns.remove(&self.address);
        }
    }
}

/// Nobody panics while holding one of these; if somebody did, what it guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn files(settings: &AccessSettings) -> Vec<PathBuf> {
    let users = settings.users.iter().flat_map(|users| users.files.iter().cloned());
    let rules = match &settings.acl {
        AclSettings::File(file) => Some(file.clone()),
        AclSettings::Open | AclSettings::Rules(_) => None,
    };
    users.chain(rules).collect()
}

fn load(settings: &AccessSettings) -> Result<InForce, AccessError> {
    let users = match &settings.users {
        Some(users) => Some(load_users(&users.files)?),
        None => None,
    };
    let acl = match &settings.acl {
        AclSettings::Open => Acl::open(),
        AclSettings::Rules(rules) => Acl::new(rules.clone()),
        AclSettings::File(file) => {
            let faults = |faults| AccessError::Faults { file: file.clone(), faults };
            Acl::new(parse_acl_file(&read(file)?).map_err(faults)?)
        }
    };
    let client_id_prefix = settings.users.as_ref().and_then(|users| users.client_id_prefix.clone());
    Ok(InForce { users, client_id_prefix, acl: Arc::new(acl) })
}

fn load_users(files: &[PathBuf]) -> Result<Users, AccessError> {
    let mut all: Vec<(Arc<str>, PasswordHash)> = Vec::new();
    let mut places: HashMap<Arc<str>, &PathBuf> = HashMap::new();
    for file in files {
        let faults = |faults| AccessError::Faults { file: file.clone(), faults };
        for (name, hash) in Users::parse(&read(file)?).map_err(faults)? {
            if let Some(first) = places.insert(name.clone(), file) {
                let (file, first, user) = (file.clone(), first.clone(), name.to_string());
                return Err(AccessError::InTwoFiles { file, first, user });
            }
            all.push((name, hash));
        }
    }
    Ok(Users::new(all))
}

fn read(file: &Path) -> Result<String, AccessError> {
    let unreadable = |cause| AccessError::Unreadable { file: file.to_owned(), cause };
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let mut text = String::new();
    opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(AccessError::TooLong { file: file.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{SALT_BYTES, UsersSettings};

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn line(name: &str, password: &str) -> String {
        format!("{name}:{}\n", PasswordHash::argon2id(password.as_bytes(), &[7; SALT_BYTES]))
    }

    fn settings(file: &Path) -> AccessSettings {
        let users = UsersSettings { files: vec![file.to_owned()], client_id_prefix: None };
        AccessSettings { users: Some(users), acl: AclSettings::Open }
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_user_opens() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("users");
        std::fs::write(&file, line("ann", "secret")).expect("a file");
        let gate = Gate::load(settings(&file)).expect("it is right");
        let login = gate.log_in(HERE, "ann", b"secret").await.expect("she may enter");
        assert!(gate.still_holds(&login));
        for (user, password) in [("ann", "Secret"), ("ann", ""), ("bob", "secret"), ("", "")] {
            let wrong = gate.log_in(HERE, user, password.as_bytes()).await;
            assert_eq!(wrong.map(|_| ()), Err(LoginError::Wrong), "{user}");
        }
        assert!(lock(&gate.0.turns).is_empty());
    }

    #[tokio::test]
    async fn a_file_that_fails_to_load_leaves_in_force_what_was() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("users");
        std::fs::write(&file, line("ann", "secret")).expect("a file");
        let gate = Gate::load(settings(&file)).expect("it is right");
        let login = gate.log_in(HERE, "ann", b"secret").await.expect("she may enter");
        for text in ["ann\n", "ann:\n", "ann:secret\n", "\u{0}"] {
            std::fs::write(&file, text).expect("a file");
            let error = gate.put_in_force(settings(&file)).expect_err("a fault").to_string();
            assert!(error.starts_with(&format!("{}:1: ", file.display())), "{error}");
            assert!(gate.still_holds(&login));
        }
        std::fs::remove_file(&file).expect("it was there");
        assert!(gate.put_in_force(settings(&file)).is_err() && gate.still_holds(&login));
        std::fs::write(&file, line("bob", "secret")).expect("a file");
        let change = gate.put_in_force(settings(&file)).expect("it is right again");
        assert_eq!(change.outdated, [Arc::from("ann")]);
        assert!(!gate.still_holds(&login));
    }

    #[test]
    fn a_user_who_stands_in_two_files_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = ["a", "b"].map(|name| dir.path().join(name));
        files.iter().for_each(|file| std::fs::write(file, line("ann", "x")).expect("a file"));
        let users = UsersSettings { files: files.to_vec(), client_id_prefix: None };
        let settings = AccessSettings { users: Some(users), acl: AclSettings::Open };
        let error = Gate::load(settings).expect_err("twice").to_string();
        assert!(error.contains("`ann` stands in") && error.contains("remove one"), "{error}");
    }
}
