//! shell: messages that go undelivered: to keep a bound, or with the session they were for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::change::{SessionId, StoredMessage, Target};
use super::database::used_pages;
use super::error::Fault;
use super::segments::{self, LastRead};
use super::thinning::Thinning;
use crate::model::{Seq, Timestamp};

/// After this many segments in a row of which no age is known, nobody looks further for old ones.
const AGELESS_MAX: usize = 64;

/// Messages that went, each with those it was for.
type Dropped = Vec<(Seq, Arc<[Target]>)>;

/// What the queue may hold.
#[derive(Debug)]
pub(super) struct Bounds<'a> {
    /// Messages on the wire, which stay.
    pub(super) keep: &'a BTreeSet<Seq>,
    /// Pages that may be in use; `None` does not look at them.
    pub(super) pages_max: Option<u64>,
    /// What was accepted before goes; a time from before the clock was set says nothing about age.
    pub(super) older_than: Option<Timestamp>,
}

impl Bounds<'_> {
    /// Drops the oldest messages that are not kept, a segment at a time, until the pages are few enough; and those that
    /// are too old.
    pub(super) fn trim(
        &self,
        connection: &Connection,
        last_read: &mut LastRead,
    ) -> Result<Dropped, Fault> {
        let (mut dropped, mut after, mut ageless) = (Vec::new(), Seq(0), 0);
        while let Some(entry) = segments::next(connection, after)? {
            after = entry.last;
            let is_over = match self.pages_max {
                Some(pages_max) => used_pages(connection)? > pages_max,
                None => false,
            };
            // Messages come in order of time, about: only the first segments can be too old.
            let age =
                self.older_than.map(|limit| (entry.accepted.is_set(), entry.accepted < limit));
            match age {
                _ if is_over => {}
                None => break,
                Some((false, _)) if ageless == AGELESS_MAX => break,
                Some((false, _)) => {
                    ageless += 1;
                    continue;
                }
                Some((true, _)) => ageless = 0,
            }
            let messages = last_read.read(connection, entry.first)?;
            let (left, gone): (Vec<&StoredMessage>, Vec<&StoredMessage>) =
                entry.left(&messages).partition(|stored| {
                    self.keep.contains(&stored.seq) || !(is_over || self.is_old(stored))
                });
            if !gone.is_empty() {
                segments::replace(connection, &entry, &left)?;
                dropped.extend(gone.iter().map(|stored| (stored.seq, stored.targets.clone())));
            }
            if !is_over && age == Some((true, false)) {
                break;
            }
        }
        Ok(dropped)
    }

    /// Drops every second reading of each topic, from where the last call ended, until the pages are few enough or a whole
    /// pass has found nothing.
    pub(super) fn thin(
        &self,
        connection: &Connection,
        last_read: &mut LastRead,
        thinning: &mut Thinning,
    ) -> Result<Dropped, Fault> {
        let mut thinned = Vec::new();
        let Some(pages_max) = self.pages_max else { return Ok(thinned) };
        while used_pages(connection)? > pages_max {
            let Some(entry) = segments::next(connection, thinning.after())? else {
                if thinning.begin_again() { continue } else { break }
            };
            let messages = last_read.read(connection, entry.first)?;
            let (gone, left): (Vec<&StoredMessage>, Vec<&StoredMessage>) =
                entry.left(&messages).partition(|stored| thinning.goes(stored, self.keep));
            if !gone.is_empty() {
                thinned.extend(gone.iter().map(|stored| (stored.seq, stored.targets.clone())));
                segments::replace(connection, &entry, &left)?;
                // The row may begin at another place from here on.
                last_read.forget();
            }
            thinning.pass(entry.last);
        }
        Ok(thinned)
    }

    fn is_old(&self, stored: &StoredMessage) -> bool {
        let accepted = stored.message.accepted;
        accepted.is_set() && self.older_than.is_some_and(|limit| accepted < limit)
    }
}

/// Deletes the session's rows, and those messages nobody else waits for.
pub(super) fn end_session(
    connection: &Connection,
    last_read: &mut LastRead,
    ended: SessionId,
) -> Result<(), Fault> {
    let cursor: Option<u64> = connection
        .query_row("SELECT cursor FROM session WHERE id = ?1", [ended.0], |row| row.get(0))
        .optional()?;
    for table in [
        "session WHERE id",
        "subscription WHERE session",
        "flight WHERE session",
        "inbox WHERE session",
        "settled WHERE session",
        "dropped WHERE session",
        "will WHERE session",
    ] {
        connection.execute(&format!("DELETE FROM {table} = ?1"), [ended.0])?;
    }
    let Some(mut after) = cursor.map(Seq) else { return Ok(()) };
    let mut cursors = HashMap::new();
    let mut statement = connection.prepare("SELECT id, cursor FROM session")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        cursors.insert(SessionId(row.get(0)?), Seq(row.get(1)?));
    }
    let mut settled = connection
        .prepare("SELECT 1 FROM settled WHERE session = ?1 AND first <= ?2 AND last >= ?2")?;
    while let Some(entry) = segments::next(connection, after)? {
        let begin = std::mem::replace(&mut after, entry.last);
        let messages = last_read.read(connection, entry.first)?;
        let mut unwanted = Vec::new();
        for StoredMessage { seq, targets, .. } in entry.left(&messages) {
            if *seq <= begin || !targets.iter().any(|target| target.session == ended) {
                continue;
            }
            let mut waited_for = false;
            for SessionId(other) in targets.iter().map(|target| target.session) {
                waited_for |= cursors.get(&SessionId(other)).is_some_and(|cursor| cursor < seq)
                    && !settled.exists(params![other, seq.0])?;
            }
            if !waited_for {
                unwanted.push((*seq, *seq));
            }
        }
        if !unwanted.is_empty() {
            segments::delete_in(connection, last_read, entry, &unwanted)?;
        }
    }
    Ok(())
}
