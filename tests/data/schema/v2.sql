-- A database of schema 2 as the version that wrote it left it: an uplink with messages under way at QoS 2, some waiting, some
-- settled and gone, one from before the clock was set; a session that ended; a client's session; a retained message.
-- Never edited: every later version must open it.
PRAGMA application_id = 1179677556;
PRAGMA user_version = 2;
CREATE TABLE flight (
        session   INTEGER NOT NULL,
        seq       INTEGER NOT NULL,
        packet_id INTEGER,
        phase     INTEGER NOT NULL,
        PRIMARY KEY (session, seq)
    ) WITHOUT ROWID;
INSERT INTO "flight" VALUES(1,4,4,2);
INSERT INTO "flight" VALUES(1,6,NULL,3);
INSERT INTO "flight" VALUES(1,9,9,1);
CREATE TABLE inbox (
        session   INTEGER NOT NULL,
        packet_id INTEGER NOT NULL,
        PRIMARY KEY (session, packet_id)
    ) WITHOUT ROWID;
INSERT INTO "inbox" VALUES(3,77);
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
INSERT INTO "message" VALUES(4,1795230600004,NULL,2,'site/1',X'0100000002',NULL,X'72656164696E672034');
INSERT INTO "message" VALUES(5,1795230600005,NULL,2,'site/2',X'0100000002',NULL,X'72656164696E672035');
INSERT INTO "message" VALUES(7,1795230600007,NULL,2,'site/1',X'0100000002',NULL,X'72656164696E672037');
INSERT INTO "message" VALUES(8,1795230600008,NULL,2,'site/2',X'0100000002',NULL,X'72656164696E672038');
INSERT INTO "message" VALUES(9,1795230600009,1795230700000,6,'site/é',X'01000000020300000005',X'010100000001020A000000746578742F706C61696E0307000000616E7377657273040200000000FF050100000061050100000062',X'6E696E65');
INSERT INTO "message" VALUES(10,5000,NULL,0,'site/early',X'0100000002',NULL,X'6265666F72652074686520636C6F636B2077617320736574');
INSERT INTO "message" VALUES(11,1795230600011,NULL,2,'site/empty',X'0100000002',NULL,X'');
CREATE TABLE meta (
        key   TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "meta" VALUES('last_session',3);
INSERT INTO "meta" VALUES('staging',0);
INSERT INTO "meta" VALUES('starts',1);
INSERT INTO "meta" VALUES('store',8262586928425637115);
CREATE TABLE retained (
        topic      TEXT PRIMARY KEY,
        accepted   INTEGER NOT NULL,
        expires    INTEGER,
        flags      INTEGER NOT NULL,
        properties BLOB,
        payload    BLOB NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "retained" VALUES('site/status',1795230600000,NULL,6,NULL,X'6F6E6C696E65');
CREATE TABLE session (
        id         INTEGER PRIMARY KEY,
        uplink     INTEGER NOT NULL,
        name       TEXT NOT NULL,
        cursor     INTEGER NOT NULL,
        expiry     INTEGER NOT NULL,
        away_since INTEGER, ids_first INTEGER, ids_last INTEGER,
        UNIQUE (uplink, name)
    );
INSERT INTO "session" VALUES(1,1,'cloud',3,4294967295,NULL,1,4096);
INSERT INTO "session" VALUES(3,0,'panel',0,3600,1795230600000,NULL,NULL);
CREATE TABLE subscription (
        session         INTEGER NOT NULL,
        filter          TEXT NOT NULL,
        options         INTEGER NOT NULL,
        subscription_id INTEGER,
        PRIMARY KEY (session, filter)
    ) WITHOUT ROWID;
INSERT INTO "subscription" VALUES(3,'site/#',10,5);
