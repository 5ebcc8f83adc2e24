//! shell: which boot of the machine this is, and where the messages of it begin.
#![allow(clippy::disallowed_methods, reason = "this shell asks the system which boot this is")]

use rusqlite::{Connection, params};

use super::meta;
use crate::model::Seq;

/// Where the service's unit says it: its own `/proc` shows processes only.
const VARIABLE: &str = "FIELDPOST_BOOT_ID";
/// Where the kernel says it.
const KERNEL_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// A number of this boot: the same for every process of it, another one after the next. If nobody says which boot this is
/// it is one no other process has.
pub(super) fn id() -> u64 {
    let text = std::env::var(VARIABLE).ok().or_else(|| std::fs::read_to_string(KERNEL_FILE).ok());
    // Written with hyphens or without.
    let digits = text.iter().flat_map(|text| text.bytes()).filter(u8::is_ascii_hexdigit);
    let (mut count, mut sum) = (0, 0xcbf2_9ce4_8422_2325_u64);
    for byte in digits {
        count += 1;
        sum = (sum ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3);
    }
    if count > 0 { sum } else { fastrand::u64(..) }
}

/// Notes that the boot `id` uses this store, whose last place is `last_seq`; gives the first place of this boot.
pub(super) fn note(connection: &Connection, id: u64, last_seq: Seq) -> rusqlite::Result<Seq> {
    // SQLite's integers have a sign.
    let id = id & (u64::MAX >> 1);
    let next = last_seq.next();
    let noted = Seq(meta(connection, "boot_first")?);
    // Places go back when the last session that held them ends: then nothing of this boot is left above.
    let first = if meta(connection, "boot")? == id { noted.min(next) } else { next };
    connection.execute(
        "INSERT OR REPLACE INTO meta VALUES ('boot', ?1), ('boot_first', ?2)",
        params![id, first.0],
    )?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Connection {
        let mut connection = Connection::open_in_memory().expect("memory");
        crate::store::migrate::migrate(&mut connection, 0).expect("a schema");
        connection
    }

    #[test]
    fn the_places_of_a_boot_begin_behind_those_of_the_one_before() {
        let store = store();
        let note = |id, last| note(&store, id, Seq(last)).expect("it is written");
        assert_eq!(note(u64::MAX, 0), Seq(1));
        assert_eq!(note(u64::MAX, 40), Seq(1), "the same boot, another process");
        assert_eq!(note(7, 40), Seq(41));
        assert_eq!(note(7, 90), Seq(41));
        assert_eq!(note(7, 30), Seq(31), "all that was above is gone");
        assert_eq!(note(u64::MAX, 30), Seq(31));
    }

    #[test]
    fn two_looks_at_the_same_boot_give_the_same_number() {
        assert_eq!(id(), id());
    }
}
