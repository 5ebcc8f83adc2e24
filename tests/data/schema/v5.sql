-- A database of schema 5 as the version that wrote it left it: an uplink with a message under way that others have passed and a
-- run of settled ones, a client's session with a subscription, a retained message. Never edited: every later version must open it.
PRAGMA application_id = 1179677556;
PRAGMA user_version = 5;
CREATE TABLE dropped (
            session INTEGER NOT NULL,
            reason  INTEGER NOT NULL,
            count   INTEGER NOT NULL,
            first   INTEGER NOT NULL,
            last    INTEGER NOT NULL,
            PRIMARY KEY (session, reason)
        ) WITHOUT ROWID;
CREATE TABLE flight (
            session   INTEGER NOT NULL,
            seq       INTEGER NOT NULL,
            packet_id INTEGER,
            phase     INTEGER NOT NULL,
            PRIMARY KEY (session, seq)
        ) WITHOUT ROWID;
INSERT INTO "flight" VALUES(1,1,4,4);
CREATE TABLE gone (
            first INTEGER PRIMARY KEY,
            bits  BLOB NOT NULL
        );
CREATE TABLE inbox (
            session   INTEGER NOT NULL,
            packet_id INTEGER NOT NULL,
            PRIMARY KEY (session, packet_id)
        ) WITHOUT ROWID;
INSERT INTO "inbox" VALUES(2,77);
CREATE TABLE meta (
            key   TEXT PRIMARY KEY,
            value INTEGER NOT NULL
        ) WITHOUT ROWID;
INSERT INTO "meta" VALUES('boot',6771419130972414387);
INSERT INTO "meta" VALUES('boot_first',1);
INSERT INTO "meta" VALUES('last_session',2);
INSERT INTO "meta" VALUES('staging',0);
INSERT INTO "meta" VALUES('starts',1);
INSERT INTO "meta" VALUES('store',5960043752917535173);
CREATE TABLE retained (
            topic      TEXT PRIMARY KEY,
            accepted   INTEGER NOT NULL,
            expires    INTEGER,
            flags      INTEGER NOT NULL,
            properties BLOB,
            payload    BLOB NOT NULL
        ) WITHOUT ROWID;
INSERT INTO "retained" VALUES('site/status',1795230600000,NULL,6,NULL,X'6F6E6C696E65');
CREATE TABLE segment (
            first    INTEGER PRIMARY KEY,
            last     INTEGER NOT NULL,
            count    INTEGER NOT NULL,
            accepted INTEGER NOT NULL,
            content  BLOB NOT NULL
        );
INSERT INTO "segment" VALUES(1,3,3,1795230600000,X'0297000000EF8C354BA5C87C1A320101000100400A0000000C00210202050050400B15FCA11000D109000000736974652F70756D702200203101230000020010052B000004000F2F0009303201032C000F63001560000100000033');
CREATE TABLE session (
            id         INTEGER PRIMARY KEY,
            uplink     INTEGER NOT NULL,
            name       TEXT NOT NULL,
            cursor     INTEGER NOT NULL,
            expiry     INTEGER NOT NULL,
            away_since INTEGER, ids_first INTEGER, ids_last INTEGER, ids_lost INTEGER NOT NULL DEFAULT 0,
            UNIQUE (uplink, name)
        );
INSERT INTO "session" VALUES(1,1,'cloud',0,4294967295,NULL,1,8193,0);
INSERT INTO "session" VALUES(2,0,'panel',0,4294967295,1795230600000,NULL,NULL,0);
CREATE TABLE settled (
            session INTEGER NOT NULL,
            first   INTEGER NOT NULL,
            last    INTEGER NOT NULL,
            PRIMARY KEY (session, first)
        ) WITHOUT ROWID;
INSERT INTO "settled" VALUES(1,3,3);
CREATE TABLE subscription (
            session         INTEGER NOT NULL,
            filter          TEXT NOT NULL,
            options         INTEGER NOT NULL,
            subscription_id INTEGER,
            PRIMARY KEY (session, filter)
        ) WITHOUT ROWID;
INSERT INTO "subscription" VALUES(2,'site/#',10,5);
