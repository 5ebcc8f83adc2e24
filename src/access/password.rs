//! core: passwords as they are kept: mosquitto's two kinds, and argon2id. Comparisons take the same time whatever is equal.

use std::fmt;
use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64, Base64Unpadded, Encoding};
use ring::{digest, pbkdf2};

/// Random bytes for [`PasswordHash::argon2id`].
pub const SALT_BYTES: usize = 16;

// What a hash of ours costs: 19 MiB of memory while it is computed, some 50 ms on a small board (OWASP's first choice for
// argon2id).
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH_BYTES: usize = 32;

// What somebody else's hash may cost at most: a gateway is small, and a login must come to an end.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;
const ITERATIONS_MAX: u32 = 10_000_000;

/// What a password is compared with. `Debug` shows its kind only.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    kind: Kind,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `$6$`: SHA-512 of password and salt.
    Sha512,
    /// `$7$`: PBKDF2 with HMAC-SHA-512.
    Pbkdf2 { iterations: NonZeroU32 },
    /// `$argon2id$v=19$`.
    Argon2id { memory_kib: u32, passes: u32, lanes: u32 },
}

/// What is wrong with the text behind a user name. Shows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Nothing stands there.
    #[error("there is no password behind the name")]
    Absent,
    /// It does not look like a hash.
    #[error("this is no hash of a password")]
    Plain,
    /// A kind of hash that is not known.
    #[error("this kind of hash is not known here")]
    UnknownKind,
    /// A part is missing, one too many, or not what it should be.
    #[error("this hash is damaged: {what}")]
    Damaged {
        /// Which part.
        what: &'static str,
    },
    /// It would hold up everybody else.
    #[error("this hash costs too much: {what} is above {most}")]
    TooCostly {
        /// Which parameter.
        what: &'static str,
        /// The most it may be.
        most: u32,
    },
}

impl HashError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Plain => {
                "passwords never stand in the file as they are: set it with `fieldpost passwd FILE USER`, \
                 or hash the whole file with `mosquitto_passwd -U FILE`"
            }
            Self::Absent | Self::UnknownKind | Self::Damaged { .. } | Self::TooCostly { .. } => {
                "set the password again with `fieldpost passwd FILE USER`"
            }
        }
    }
}

impl PasswordHash {
    /// Reads what `mosquitto_passwd` and `fieldpost passwd` write: `$6$SALT$HASH`, `$7$ITERATIONS$SALT$HASH` or
    /// `$argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH`.
    ///
    /// # Errors
    /// [`HashError`] says what is wrong; a hash that would be too costly to compute is refused as well.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if text.is_empty() {
            return Err(HashError::Absent);
        }
        let mut parts = text.split('$');
        if parts.next() != Some("") {
            return Err(HashError::Plain);
        }
        let parts: Vec<&str> = parts.collect();
        match parts[..] {
            ["6", salt, hash] => Self::of_mosquitto(Kind::Sha512, salt, hash),
            ["7", iterations, salt, hash] => {
                let what = "the number of iterations";
                let count: u32 = iterations.parse().map_err(|_| HashError::Damaged { what })?;
                let iterations = NonZeroU32::new(count).ok_or(HashError::Damaged { what })?;
                at_most(what, count, ITERATIONS_MAX)?;
                Self::of_mosquitto(Kind::Pbkdf2 { iterations }, salt, hash)
            }
            ["argon2id", "v=19", costs, salt, hash] => {
                let kind = argon2id_costs(costs)?;
                let salt = decode::<Base64Unpadded>(salt, "its salt")?;
                let hash = decode::<Base64Unpadded>(hash, "the hash itself")?;
                if !(8..=64).contains(&salt.len()) {
                    return Err(HashError::Damaged { what: "its salt" });
                }
                if !(16..=64).contains(&hash.len()) {
                    return Err(HashError::Damaged { what: "the hash itself" });
                }
                Ok(Self { kind, salt, hash })
            }
            ["6" | "7" | "argon2id", ..] => {
                Err(HashError::Damaged { what: "the number of its parts" })
            }
            // A password may begin with `$` as well as a hash of another kind.
            [_] => Err(HashError::Plain),
            _ => Err(HashError::UnknownKind),
        }
    }

    fn of_mosquitto(kind: Kind, salt: &str, hash: &str) -> Result<Self, HashError> {
        let salt = decode::<Base64>(salt, "its salt")?;
        let hash = decode::<Base64>(hash, "the hash itself")?;
        if salt.is_empty() {
            return Err(HashError::Damaged { what: "its salt" });
        }
        if hash.len() != digest::SHA512_OUTPUT_LEN {
            return Err(HashError::Damaged { what: "the hash itself" });
        }
        Ok(Self { kind, salt, hash })
    }

    /// Hashes a password with argon2id (19 MiB, 2 passes, 1 lane). The salt must be random.
    #[must_use]
    pub fn argon2id(password: &[u8], salt: &[u8; SALT_BYTES]) -> Self {
        let kind = Kind::Argon2id { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES };
        let empty = Self { kind, salt: salt.to_vec(), hash: vec![0; HASH_BYTES] };
        let hash = empty.compute(password).unwrap_or_default();
        debug_assert!(!hash.is_empty(), "these parameters are argon2id's own");
        Self { hash, ..empty }
    }

    /// Whether this is the password. Takes as long for a wrong one as for the right one: tens of milliseconds and up, so
    /// a thread that may wait must do it.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        let Some(computed) = self.compute(password) else { return false };
        let differences = computed.iter().zip(&self.hash).fold(0, |all, (a, b)| all | (a ^ b));
        computed.len() == self.hash.len() && std::hint::black_box(differences) == 0
    }

    /// A hash that no password has and that costs as much as this one to compare with.
    #[must_use]
    pub fn decoy(&self) -> Self {
        // All zeroes would have to be what the hash function gives: nobody finds such a password.
        Self { hash: vec![0; self.hash.len()], ..self.clone() }
    }

    fn compute(&self, password: &[u8]) -> Option<Vec<u8>> {
        let mut hash = vec![0; self.hash.len()];
        match self.kind {
            Kind::Sha512 => {
                let mut context = digest::Context::new(&digest::SHA512);
                context.update(password);
                context.update(&self.salt);
                return Some(context.finish().as_ref().to_vec());
            }
            Kind::Pbkdf2 { iterations } => {
                pbkdf2::derive(
                    pbkdf2::PBKDF2_HMAC_SHA512,
                    iterations,
                    &self.salt,
                    password,
                    &mut hash,
                );
            }
            Kind::Argon2id { memory_kib, passes, lanes } => {
                let params = Params::new(memory_kib, passes, lanes, Some(hash.len())).ok()?;
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                argon2.hash_password_into(password, &self.salt, &mut hash).ok()?;
            }
        }
        Some(hash)
    }
}

fn argon2id_costs(text: &str) -> Result<Kind, HashError> {
    let damaged = HashError::Damaged { what: "its costs" };
    let mut costs = text.split(',');
    let mut cost = |name: &str| -> Result<u32, HashError> {
        let text = costs.next().and_then(|cost| cost.strip_prefix(name)).ok_or(damaged)?;
        text.parse().map_err(|_| damaged)
    };
    let (memory_kib, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
    if costs.next().is_some() {
        return Err(damaged);
    }
    at_most("m", memory_kib, MEMORY_KIB_MAX)?;
    at_most("t", passes, PASSES_MAX)?;
    at_most("p", lanes, LANES_MAX)?;
    // The function's own least (RFC 9106 section 3.1).
    if lanes == 0 || passes == 0 || memory_kib < 8 * lanes {
        return Err(damaged);
    }
    Ok(Kind::Argon2id { memory_kib, passes, lanes })
}

fn at_most(what: &'static str, value: u32, most: u32) -> Result<(), HashError> {
    if value > most { Err(HashError::TooCostly { what, most }) } else { Ok(()) }
}

fn decode<E: Encoding>(text: &str, what: &'static str) -> Result<Vec<u8>, HashError> {
    E::decode_vec(text).map_err(|_| HashError::Damaged { what })
}

impl fmt::Display for PasswordHash {
    /// As it stands in a users file behind `NAME:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, salt, hash } = self;
        let padded = |bytes: &[u8]| Base64::encode_string(bytes);
        let bare = |bytes: &[u8]| Base64Unpadded::encode_string(bytes);
        match kind {
            Kind::Sha512 => write!(f, "$6${}${}", padded(salt), padded(hash)),
            Kind::Pbkdf2 { iterations } => {
                write!(f, "$7${iterations}${}${}", padded(salt), padded(hash))
            }
            Kind::Argon2id { memory_kib, passes, lanes } => {
                let costs = format!("m={memory_kib},t={passes},p={lanes}");
                write!(f, "$argon2id$v=19${costs}${}${}", bare(salt), bare(hash))
            }
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({:?}, ***)", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Written by `mosquitto_passwd` 2.0.11 (`-H sha512`, and as it does by itself) for the password `pa:ss$ w`.
    const SHA512: &str = "$6$BAA73+MUiII0ZXKE$yvyiGuGwgMkWvw7tL7x9oi8ySCdNaqgwpgOONQmtBtaVmGIIFXtpN5MRG+ZKGJd6vStJW+Cvn+M8Sw/0eL+yiQ==";
    const PBKDF2: &str = "$7$101$DaMPi+FKueDWPAtn$wtPOsM8pA/ETW97ZjemoRutdnsEJHJsTFCoLRMSkGFtaEs+E6PSo0SolfW5H68WL1IdL5CRaRPWRY6pxSqrFxQ==";
    // The reference implementation's own test (`test.c` of phc-winner-argon2): t=2, m=2^16, p=1, "password", "somesalt".
    const ARGON2ID: &str =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    #[test]
    fn passwords_of_every_kind_are_known_again() {
        for (text, password) in [(SHA512, "pa:ss$ w"), (PBKDF2, "pa:ss$ w"), (ARGON2ID, "password")]
        {
            let hash = PasswordHash::parse(text).expect(text);
            assert!(hash.verify(password.as_bytes()), "{text}");
            assert!(!hash.verify(b"") && !hash.verify(b"pa:ss"), "{text}");
            assert!(!hash.decoy().verify(password.as_bytes()));
            assert_eq!(hash.to_string(), text);
            assert!(!format!("{hash:?}").contains("CTFhFd"));
        }
        let ours = PasswordHash::argon2id(b"secret", &[7; SALT_BYTES]);
        let again = PasswordHash::parse(&ours.to_string()).expect("what we write we read");
        assert!(again == ours && again.verify(b"secret") && !again.verify(b"Secret"));
    }

    #[test]
    fn what_is_no_hash_is_never_a_password() {
        use HashError::{Absent, Plain, TooCostly, UnknownKind};
        let damaged = |what| HashError::Damaged { what };
        let parts = damaged("the number of its parts");
        let (salt, hash) = (damaged("its salt"), damaged("the hash itself"));
        for (text, error) in [
            ("", Absent),
            ("secret", Plain),
            ("$", Plain),
            ("$ecret", Plain),
            ("$5$a$b", UnknownKind),
            ("$2b$12$abc", UnknownKind),
            ("$6$", parts),
            ("$6$QUFB", parts),
            ("$6$$", salt),
            ("$6$QUFB$", hash),
            ("$6$QUFB$QUFB", hash),
            ("$6$QU-B$QUFB", salt),
            ("$7$101$QUFB", parts),
            ("$7$0$QUFB$QUFB", damaged("the number of iterations")),
            ("$7$x$QUFB$QUFB", damaged("the number of iterations")),
            (
                "$7$4000000000$QUFB$QUFB",
                TooCostly { what: "the number of iterations", most: 10_000_000 },
            ),
            ("$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8", parts),
            ("$argon2id$v=19$m=64,t=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8", damaged("its costs")),
            (
                "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFh",
                TooCostly { what: "m", most: 262_144 },
            ),
            (
                "$argon2id$v=19$m=64,t=1,p=9$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8",
                damaged("its costs"),
            ),
            ("$argon2id$v=19$m=64,t=1,p=1$c29t$CTFhFdXPJO1aFaMaO6Mm5c8", salt),
            ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFh", hash),
        ] {
            assert_eq!(PasswordHash::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_hash_or_an_error(text in "(\\$(6|7|argon2id)\\$)?\\PC{0,80}") {
            let _ = PasswordHash::parse(&text);
        }
    }
}
