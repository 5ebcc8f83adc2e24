-- A database of schema 1 as the first version left it: an uplink with a message under way, one waiting, one settled out of
-- order; a client's session; a retained message. Never edited: every later version must open it.
PRAGMA application_id = 1179677556;
PRAGMA user_version = 1;
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
INSERT INTO meta VALUES ('starts', 7), ('last_session', 9);
INSERT INTO session VALUES (1, 1, 'cloud', 10, 4294967295, NULL), (9, 0, 'panel', 12, 3600, 1795230600000);
INSERT INTO subscription VALUES (9, 'site/#', 10, 5);
INSERT INTO message VALUES
    (11, 1795230600001, NULL, 2, 'site/a', x'0100000002', NULL, x'6f6e65'),
    (12, 1795230600002, NULL, 2, 'site/b', x'0100000002', NULL, x'74776f'),
    (14, 1795230600003, 1795230700003, 6, 'site/c', x'01000000050900000001', x'020100000078050100000061050100000062', x'7468726565');
INSERT INTO flight VALUES (1, 11, 3, 2), (1, 13, NULL, 3), (1, 14, 4, 1);
INSERT INTO inbox VALUES (9, 77);
INSERT INTO retained VALUES ('site/status', 1795230600000, NULL, 6, NULL, x'6f6e6c696e65');
