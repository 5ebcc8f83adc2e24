//! core: the tables, as an append-only list of migrations counted by `user_version`.

/// Marks a database as ours (`application_id`): "FPst".
pub(super) const APPLICATION_ID: i32 = 0x4650_7374;

/// One step each; a database at version `n` has run the first `n`. Steps are only ever added at the end.
///
/// `message` has no second index: one more costs three to four times the bytes written for each row. Who a message is for
/// stands in the row itself (`targets`), how far each session has come in `session.cursor`, and the few messages under
/// way in `flight`; so a payload is stored once however many sessions wait for it.
pub(super) const MIGRATIONS: &[&str] = &[
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
    "
    ALTER TABLE session ADD COLUMN ids_first INTEGER;
    ALTER TABLE session ADD COLUMN ids_last INTEGER;
",
    // What is settled above the cursor is a run of places, one row however long it grows.
    "
    CREATE TABLE settled (
        session INTEGER NOT NULL,
        first   INTEGER NOT NULL,
        last    INTEGER NOT NULL,
        PRIMARY KEY (session, first)
    ) WITHOUT ROWID;
    INSERT INTO settled SELECT session, seq, seq FROM flight WHERE phase = 3;
    DELETE FROM flight WHERE phase = 3;
",
    // What was dropped and the other side has not been told yet.
    "
    CREATE TABLE dropped (
        session INTEGER NOT NULL,
        reason  INTEGER NOT NULL,
        count   INTEGER NOT NULL,
        first   INTEGER NOT NULL,
        last    INTEGER NOT NULL,
        PRIMARY KEY (session, reason)
    ) WITHOUT ROWID;
",
];
