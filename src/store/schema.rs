//! core: the tables, as an append-only list of migrations counted by `user_version`.

/// Marks a database as ours (`application_id`): "FPst".
pub(super) const APPLICATION_ID: i32 = 0x4650_7374;

/// One step of a migration.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Statements.
    Sql(&'static str),
    /// Puts every row of `message` into segments.
    MessagesIntoSegments,
}

/// A database at version `n` has run the first `n`, each with all its steps in one transaction. Migrations are only ever
/// added at the end.
///
/// A run of messages is one row (`segment`): a row for each would cost more time than its payload takes to be written,
/// and every page of it goes to the disk twice. There is no second index. Who a message is for stands beside it in the
/// content, how far each session has come in `session.cursor`, and the few messages under way in `flight`; so a payload
/// is stored once however many sessions wait for it. A message that is deleted before the others of its segment has its
/// bit in `gone`; the segment goes with its last message.
pub(super) const MIGRATIONS: &[&[Step]] = &[
    &[Step::Sql(
        "
        CREATE TABLE meta (
            key   TEXT PRIMARY KEY,
            value INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE message (
            seq        INTEGER PRIMARY KEY,
            accepted   INTEGER NOT NULL,
            expires    INTEGER,
            flags      INTEGER NOT NULL,
            topic      TEXT NOT NULL,
            targets    BLOB NOT NULL,
            properties BLOB,
            payload    BLOB NOT NULL
        );
        CREATE TABLE session (
            id         INTEGER PRIMARY KEY,
            uplink     INTEGER NOT NULL,
            name       TEXT NOT NULL,
            cursor     INTEGER NOT NULL,
            expiry     INTEGER NOT NULL,
            away_since INTEGER,
            UNIQUE (uplink, name)
        );
        CREATE TABLE subscription (
            session         INTEGER NOT NULL,
            filter          TEXT NOT NULL,
            options         INTEGER NOT NULL,
            subscription_id INTEGER,
            PRIMARY KEY (session, filter)
        ) WITHOUT ROWID;
        CREATE TABLE flight (
            session   INTEGER NOT NULL,
            seq       INTEGER NOT NULL,
            packet_id INTEGER,
            phase     INTEGER NOT NULL,
            PRIMARY KEY (session, seq)
        ) WITHOUT ROWID;
        CREATE TABLE inbox (
            session   INTEGER NOT NULL,
            packet_id INTEGER NOT NULL,
            PRIMARY KEY (session, packet_id)
        ) WITHOUT ROWID;
        CREATE TABLE retained (
            topic      TEXT PRIMARY KEY,
            accepted   INTEGER NOT NULL,
            expires    INTEGER,
            flags      INTEGER NOT NULL,
            properties BLOB,
            payload    BLOB NOT NULL
        ) WITHOUT ROWID;
    ",
    )],
    &[Step::Sql(
        "
        ALTER TABLE session ADD COLUMN ids_first INTEGER;
        ALTER TABLE session ADD COLUMN ids_last INTEGER;
    ",
    )],
    &[
        Step::Sql(
            "
        CREATE TABLE segment (
            first    INTEGER PRIMARY KEY,
            last     INTEGER NOT NULL,
            count    INTEGER NOT NULL,
            accepted INTEGER NOT NULL,
            content  BLOB NOT NULL
        );
        CREATE TABLE gone (
            first INTEGER PRIMARY KEY,
            bits  BLOB NOT NULL
        );
    ",
        ),
        Step::MessagesIntoSegments,
        Step::Sql("DROP TABLE message"),
    ],
    // What is settled above the cursor is a run of places, one row however long it grows. What was dropped is counted until
    // the other side has been told.
    &[Step::Sql(
        "
        CREATE TABLE settled (
            session INTEGER NOT NULL,
            first   INTEGER NOT NULL,
            last    INTEGER NOT NULL,
            PRIMARY KEY (session, first)
        ) WITHOUT ROWID;
        INSERT INTO settled SELECT session, seq, seq FROM flight WHERE phase = 3;
        DELETE FROM flight WHERE phase = 3;
        CREATE TABLE dropped (
            session INTEGER NOT NULL,
            reason  INTEGER NOT NULL,
            count   INTEGER NOT NULL,
            first   INTEGER NOT NULL,
            last    INTEGER NOT NULL,
            PRIMARY KEY (session, reason)
        ) WITHOUT ROWID;
    ",
    )],
    // Whether ids between `ids_first` and `ids_last` may be open without a trace here outlives the start that found out.
    &[Step::Sql("ALTER TABLE session ADD COLUMN ids_lost INTEGER NOT NULL DEFAULT 0;")],
    // Also of sessions that have no row of their own: their wills are due at the next start.
    &[Step::Sql(
        "
        CREATE TABLE will (
            session    INTEGER PRIMARY KEY,
            delay      INTEGER NOT NULL,
            lifetime   INTEGER,
            flags      INTEGER NOT NULL,
            topic      TEXT NOT NULL,
            properties BLOB,
            payload    BLOB NOT NULL
        );
    ",
    )],
    // Messages may tell of several points, or in the operator's words: records say more than an older version can read.
    &[Step::Sql("")],
];
