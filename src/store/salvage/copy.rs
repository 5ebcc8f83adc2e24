//! shell: copies row by row what can be read of a damaged database into an empty one.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Params, Row, params, params_from_iter};

use super::losses::{Lost, lost_to, width};
use super::tables::{TABLES, Table, is_sound};
use crate::model::Seq;
use crate::store::change::{DropReason, StoredMessage};
use crate::store::database::{again, meta};
use crate::store::error::Fault;
use crate::store::migrate;
use crate::store::schema::MIGRATIONS;
use crate::store::segment::{self, Record};
use crate::store::segments::{self, LastRead};

/// How long a client's session of which nothing but the name could be read outlives its connection, in seconds: a day.
/// Its client says so itself when it connects.
const EXPIRY_UNKNOWN: u32 = 24 * 3600;
/// The last packet id a message may have had.
const PACKET_ID_MAX: u16 = u16::MAX - 1;
/// Into how many steps a stretch of unreadable segments is divided, to look for readable ones among them.
const STEPS: u64 = 1 << 14;
/// How far behind the last readable segment others are looked for, if nothing says where they end.
const BEYOND: u64 = 1 << 24;

/// What was copied and what could not be.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// Messages.
    pub(super) messages: u64,
    /// Messages whose sessions are all unknown, so that nobody could get them.
    pub(super) for_nobody: u64,
    /// Where messages stood that cannot be read.
    pub(super) lost: Vec<Lost>,
    /// Whether nothing tells how many more messages stood behind the last one that can be read.
    pub(super) is_end_unknown: bool,
    /// Sessions.
    pub(super) sessions: u64,
    /// Sessions of which only the name could be read: they get again whatever is kept for them.
    pub(super) begun_again: u64,
    /// Tables of which rows cannot be read.
    pub(super) tables: BTreeSet<&'static str>,
    /// Whether the number of starts was found.
    pub(super) has_starts: bool,
    /// Whether it was found which store this is and which of its commits was the last.
    pub(super) has_origin: bool,
    /// The highest session that a message names.
    last_session: u32,
}

/// Opens a damaged database to read it, leaving it as it is. `None` if SQLite finds no database in it.
///
/// # Errors
/// Another process has it open.
pub(super) fn open_damaged(path: &Path) -> rusqlite::Result<Option<Connection>> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        // A file that was cut off is refused as a whole otherwise.
        connection.pragma_update(None, "writable_schema", true)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    match open() {
        Ok(connection) => Ok(Some(connection)),
        Err(cause) if cause.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
            Err(cause)
        }
        Err(_) => Ok(None),
    }
}

/// Copies from the damaged database into the empty one.
///
/// # Errors
/// The empty one cannot be written.
pub(super) fn copy(from: &Connection, to: &Connection, now_ms: u64) -> Result<Copied, Fault> {
    let mut copy = Copy { from, to, copied: Copied::default() };
    for table in TABLES {
        copy.table(table)?;
        if table.name == "session" {
            copy.sessions_by_name()?;
        }
    }
    copy.segments()?;
    copy.messages_of_older_schema()?;
    copy.put_in_order()?;
    copy.count_drops(now_ms)?;
    Ok(copy.copied)
}

struct Copy<'a> {
    from: &'a Connection,
    to: &'a Connection,
    copied: Copied,
}

impl Copy<'_> {
    /// Hands every row that can be read to `take`, up to the first that cannot; whether that was all.
    fn scan(
        &mut self,
        sql: &str,
        params: impl Params,
        mut take: impl FnMut(&mut Self, &Row<'_>) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        let Ok(mut statement) = self.from.prepare(sql) else { return Ok(false) };
        let Ok(mut rows) = statement.query(params) else { return Ok(false) };
        loop {
            match rows.next() {
                Ok(Some(row)) => take(self, row)?,
                Ok(None) => return Ok(true),
                Err(_) => return Ok(false),
            }
        }
    }

    /// The columns that a table has in the damaged database; none if there is no such table.
    fn columns(&mut self, table: &str) -> Result<Vec<String>, Fault> {
        let mut columns = Vec::new();
        self.scan("SELECT name FROM pragma_table_info(?1)", [table], |_, row| {
            columns.extend(row.get::<_, String>(0));
            Ok(())
        })?;
        Ok(columns)
    }

    /// Whether the damaged database was written by an earlier version.
    fn is_older(&self) -> bool {
        let version = self.from.pragma_query_value(None, "user_version", |row| row.get(0));
        version.is_ok_and(|version: usize| version < MIGRATIONS.len())
    }

    /// Copies a table from its beginning on, and from its end back if something in between cannot be read.
    fn table(&mut self, table: &Table) -> Result<(), Fault> {
        let there = self.columns(table.name)?;
        let columns: Vec<_> =
            table.columns.iter().filter(|(name, _)| there.iter().any(|had| had == name)).collect();
        if columns.is_empty() {
            if !self.is_older() {
                self.copied.tables.insert(table.name);
            }
            return Ok(());
        }
        let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let places = vec!["?"; columns.len()].join(", ");
        let to = self.to;
        let mut insert = to.prepare(&format!(
            "INSERT OR IGNORE INTO {} ({names}) VALUES ({places})",
            table.name
        ))?;
        for direction in ["ASC", "DESC"] {
            let order =
                table.key.iter().map(|key| format!("{key} {direction}")).collect::<Vec<_>>();
            let order = order.join(", ");
            let sql = format!("SELECT {names} FROM {} ORDER BY {order}", table.name);
            let is_whole = self.scan(&sql, [], |copy, row| {
                let mut values: Vec<Value> = Vec::with_capacity(columns.len());
                for (index, (_, kind)) in columns.iter().enumerate() {
                    values.extend(row.get_ref(index).ok().and_then(|value| kind.take(value)));
                }
                if values.len() == columns.len() && is_sound(table, &values) {
                    insert.execute(params_from_iter(values))?;
                } else {
                    copy.copied.tables.insert(table.name);
                }
                Ok(())
            })?;
            if is_whole {
                return Ok(());
            }
            self.copied.tables.insert(table.name);
        }
        Ok(())
    }

    /// The names of sessions stand a second time, in the index that keeps them apart. One whose row is lost begins at the
    /// beginning of the queue: better twice than never. Every packet id of it may be open.
    fn sessions_by_name(&mut self) -> Result<(), Fault> {
        if !self.copied.tables.contains("session") {
            return Ok(());
        }
        let to = self.to;
        let mut insert = to.prepare(
            "INSERT OR IGNORE INTO session (id, uplink, name, cursor, expiry, ids_first, ids_last) \
             VALUES (?1, ?2, ?3, 0, ?4, 1, ?5)",
        )?;
        for direction in ["ASC", "DESC"] {
            let sql = format!(
                "SELECT id, uplink, name FROM session INDEXED BY sqlite_autoindex_session_1 \
                 ORDER BY uplink {direction}, name {direction}"
            );
            self.scan(&sql, [], |copy, row| {
                let found = (row.get::<_, u32>(0), row.get::<_, bool>(1), row.get::<_, String>(2));
                if let (Ok(id), Ok(uplink), Ok(name)) = found {
                    let expiry = if uplink { u32::MAX } else { EXPIRY_UNKNOWN };
                    let row = params![id, uplink, name, expiry, PACKET_ID_MAX];
                    copy.copied.begun_again += insert.execute(row)? as u64;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Copies segments: from the beginning on, and where one cannot be read, whatever lies behind it.
    fn segments(&mut self) -> Result<(), Fault> {
        if self.columns("segment")?.is_empty() {
            if !self.is_older() {
                self.copied.tables.insert("segment");
                self.lose(Seq(1), self.last_place()?);
            }
            return Ok(());
        }
        // Places that could not be read.
        let mut unread: BTreeSet<u64> = BTreeSet::new();
        let mut stretches = vec![(0, None)];
        let mut step = 1;
        while let Some((from, to)) = stretches.pop() {
            let Some(bad) = self.segments_between(from, to)? else { continue };
            unread.insert(bad);
            let end = match to {
                Some(end) => end,
                None => {
                    let end = self.end_of_segments(bad)?;
                    step = (end.saturating_sub(bad) / STEPS).max(1);
                    end
                }
            };
            if end.saturating_sub(bad) > step {
                let middle = bad + (end - bad) / 2;
                stretches.push((middle, Some(end)));
                stretches.push((bad, Some(middle)));
            }
        }
        if !unread.is_empty() {
            self.copied.tables.insert("segment");
            self.lose_around(&unread)?;
        }
        Ok(())
    }

    /// Copies the segments that begin from `from` on and before `to`; gives where it cannot go on.
    fn segments_between(&mut self, from: u64, to: Option<u64>) -> Result<Option<u64>, Fault> {
        let mut next = from;
        let range = params![from, to.unwrap_or(u64::MAX >> 1)];
        let is_whole = self.scan(
            "SELECT first, last, count, accepted, content FROM segment \
             WHERE first >= ?1 AND first < ?2 ORDER BY first",
            range,
            |copy, row| {
                if let Ok(first) = row.get::<_, u64>(0) {
                    next = first + 1;
                    copy.segment(Seq(first), row)?;
                }
                Ok(())
            },
        )?;
        Ok((!is_whole).then_some(next))
    }

    fn segment(&mut self, first: Seq, row: &Row<'_>) -> Result<(), Fault> {
        let last: Seq = Seq(row.get(1).unwrap_or(first.0));
        let count: u64 = row.get(2).unwrap_or(1);
        let content = row.get_ref(4).ok().and_then(|content| content.as_blob().ok());
        let messages = content.and_then(|content| segment::read(first, content).ok());
        let Some(messages) = messages.filter(|messages| !messages.is_empty()) else {
            // What the row says of itself is believed as far as it can be true.
            let width = width(first, last).clamp(1, segment::SPAN_MAX);
            let (last, count) = (Seq(first.0 + width - 1), count.clamp(1, width));
            self.copied.tables.insert("segment");
            self.copied.lost.push(Lost { first, last, count });
            return Ok(());
        };
        self.keep(&messages)
    }

    /// Keeps messages that nobody has kept yet and that are for anybody.
    fn keep(&mut self, messages: &[StoredMessage]) -> Result<(), Fault> {
        let (to, mut last_read) = (self.to, LastRead::default());
        let mut known = to.prepare_cached("SELECT 1 FROM session WHERE id = ?1")?;
        let mut kept = Vec::with_capacity(messages.len());
        let ends = messages.first().zip(messages.last());
        // Pages of two times may stand side by side in what a torn log has left.
        let may_overlap = match ends {
            Some((first, last)) => to
                .prepare_cached("SELECT 1 FROM segment WHERE first <= ?2 AND last >= ?1")?
                .exists(params![first.seq.0, last.seq.0])?,
            None => return Ok(()),
        };
        for stored in messages {
            let mut is_known = false;
            for target in stored.targets.iter() {
                self.copied.last_session = self.copied.last_session.max(target.session.0);
                is_known = is_known || known.exists([target.session.0])?;
            }
            if !is_known {
                self.copied.for_nobody += 1;
            } else if !may_overlap || segments::message(to, &mut last_read, stored.seq)?.is_none() {
                kept.push(stored);
            }
        }
        segments::insert(to, kept.into_iter().map(Record::from))
    }

    /// Rows of `message`, which an earlier version kept one by one.
    fn messages_of_older_schema(&mut self) -> Result<(), Fault> {
        if self.columns("message")?.is_empty() {
            return Ok(());
        }
        for direction in ["ASC", "DESC"] {
            let sql = migrate::every_message(direction);
            let is_whole = self.scan(&sql, [], |copy, row| {
                if let Ok(stored) = migrate::read_message(row) {
                    return copy.keep(&[stored]);
                }
                if let Ok(seq) = row.get(0).map(Seq) {
                    copy.copied.lost.push(Lost { first: seq, last: seq, count: 1 });
                }
                Ok(())
            })?;
            if is_whole {
                return Ok(());
            }
            self.copied.tables.insert("message");
        }
        Ok(())
    }

    /// The place after which no segment begins, as far as anybody knows.
    fn end_of_segments(&mut self, from: u64) -> Result<u64, Fault> {
        let mut last = None;
        self.scan("SELECT first FROM segment ORDER BY first DESC LIMIT 1", [], |_, row| {
            last = row.get::<_, u64>(0).ok();
            Ok(())
        })?;
        Ok(match last {
            Some(last) => last + 1,
            None => from.saturating_add(BEYOND).max(self.last_place()?.0.saturating_add(1)),
        })
    }

    /// The last place that the small tables speak of.
    fn last_place(&self) -> Result<Seq, Fault> {
        let last: Option<u64> = self.to.query_row(
            "SELECT max(place) FROM (SELECT max(cursor) AS place FROM session \
             UNION ALL SELECT max(seq) FROM flight UNION ALL SELECT max(last) FROM settled)",
            [],
            |row| row.get(0),
        )?;
        Ok(Seq(last.unwrap_or(0)))
    }

    /// Notes as lost what lies between the segments that were kept, where something could not be read.
    fn lose_around(&mut self, unread: &BTreeSet<u64>) -> Result<(), Fault> {
        let (mut first, mut gaps) = (1, Vec::new());
        let to = self.to;
        let mut statement = to.prepare("SELECT first, last FROM segment ORDER BY first")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (begin, end): (u64, u64) = (row.get(0)?, row.get(1)?);
            if unread.range(first..=begin).next().is_some() && begin > first {
                gaps.push((Seq(first), Seq(begin - 1)));
            }
            first = end + 1;
        }
        if unread.range(first..).next().is_some() {
            let end = self.last_place()?;
            self.copied.is_end_unknown = end < Seq(first);
            gaps.push((Seq(first), end.max(Seq(first))));
        }
        for (first, last) in gaps {
            // The rows may say of themselves what they hold although their content cannot be read.
            let mut rows = Vec::new();
            let is_whole = self.scan(
                "SELECT first, last, count FROM segment WHERE first BETWEEN ?1 AND ?2",
                params![first.0, last.0],
                |_, row| {
                    let row = (row.get(0).map(Seq), row.get(1).map(Seq), row.get(2));
                    if let (Ok(first), Ok(last), Ok(count)) = row {
                        rows.push(Lost { first, last, count });
                    }
                    Ok(())
                },
            )?;
            if is_whole {
                let known = |lost: &Lost| self.copied.lost.iter().any(|at| at.first == lost.first);
                rows.retain(|lost| !known(lost));
                self.copied.lost.extend(rows);
            } else {
                self.lose(first, last);
            }
        }
        Ok(())
    }

    fn lose(&mut self, first: Seq, last: Seq) {
        if first <= last {
            self.copied.lost.push(Lost { first, last, count: width(first, last) });
        }
    }

    /// What speaks of a session or a message that is not there goes: it would be taken for that of another one to come.
    fn put_in_order(&mut self) -> Result<(), Fault> {
        let to = self.to;
        to.execute_batch(
            "INSERT OR IGNORE INTO settled SELECT session, seq, seq FROM flight WHERE phase = 3;
             DELETE FROM flight WHERE phase = 3 OR packet_id IS NULL;
             DELETE FROM gone WHERE first NOT IN (SELECT first FROM segment)",
        )?;
        for table in ["subscription", "flight", "inbox", "settled", "dropped"] {
            to.execute(
                &format!("DELETE FROM {table} WHERE session NOT IN (SELECT id FROM session)"),
                [],
            )?;
        }
        again::end_flights_without_message(to)?;
        self.delete_again()?;
        self.copied.sessions =
            to.query_row("SELECT count(*) FROM session", [], |row| row.get(0))?;
        let last: Option<u32> =
            to.query_row("SELECT max(id) FROM session", [], |row| row.get(0))?;
        to.execute(
            "INSERT INTO meta VALUES ('last_session', ?1) \
             ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
            [last.unwrap_or(0).max(self.copied.last_session)],
        )?;
        self.copied.has_starts = meta(to, "starts")? > 0;
        self.copied.has_origin = meta(to, "store")? > 0
            && to
                .prepare("SELECT 1 FROM meta WHERE key = 'generation'")?
                .exists([])
                .map(|has| has || !self.copied.tables.contains("meta"))?;
        let mut walk = segments::Walk::new(to)?;
        for entry in walk.after(Seq(0))? {
            self.copied.messages += entry?.count_left();
        }
        Ok(())
    }

    /// Where it is lost which messages are gone, those that everybody has settled go again: nobody would delete them.
    fn delete_again(&self) -> Result<(), Fault> {
        if !self.copied.tables.contains("gone") {
            return Ok(());
        }
        let (to, mut after, mut last_read) = (self.to, Seq(0), LastRead::default());
        while let Some(entry) = segments::next(to, after)? {
            after = entry.last;
            let mut unwanted = Vec::new();
            for stored in entry.left(&last_read.read(to, entry.first)?) {
                if !again::is_waited_for(to, stored.seq, &stored.targets)? {
                    unwanted.push((stored.seq, stored.seq));
                }
            }
            if !unwanted.is_empty() {
                segments::delete_in(to, &mut last_read, entry, &unwanted)?;
            }
        }
        Ok(())
    }

    /// Counts for each uplink what it will not get, so that it is told.
    fn count_drops(&self, now_ms: u64) -> Result<(), Fault> {
        let to = self.to;
        let mut sessions = to.prepare("SELECT id, cursor FROM session WHERE uplink = 1")?;
        let sessions = sessions
            .query_map([], |row| Ok((row.get::<_, u32>(0)?, Seq(row.get(1)?))))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let mut runs = to.prepare("SELECT first, last FROM settled WHERE session = ?1")?;
        for (id, cursor) in sessions {
            let settled = runs
                .query_map([id], |row| Ok((Seq(row.get(0)?), Seq(row.get(1)?))))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let missed = lost_to(&self.copied.lost, cursor, &settled);
            if missed > 0 {
                to.execute(
                    "INSERT INTO dropped VALUES (?1, ?2, ?3, ?4, ?4) \
                     ON CONFLICT DO UPDATE SET count = count + excluded.count, last = excluded.last",
                    params![id, DropReason::Damaged as u8, missed, now_ms],
                )?;
            }
        }
        Ok(())
    }
}
