-- +goose Up

-- Times are microseconds since 1970, NULL where there is none.

CREATE TABLE machines (
    serial       TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL,
    source       TEXT    NOT NULL CHECK (source IN ('imported', 'discovered')),
    profile      TEXT    NOT NULL,
    rack         TEXT    NOT NULL,
    labels       TEXT, -- JSON
    macs         TEXT    NOT NULL, -- sorted, with spaces; machine_macs keeps them unique
    uuid         TEXT    NOT NULL,
    address      TEXT    UNIQUE,
    vendor       TEXT    NOT NULL,
    product      TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    last_seen_at INTEGER,
    search       TEXT    NOT NULL, -- inventory.Machine.SearchText
    facts        BLOB -- JSON; last, since it is long and a search need not read it
) STRICT;
CREATE INDEX machines_source ON machines (source, serial);
CREATE INDEX machines_profile ON machines (profile, serial);
CREATE INDEX machines_rack ON machines (rack, serial);

CREATE TABLE machine_macs (
    mac    TEXT NOT NULL PRIMARY KEY,
    serial TEXT NOT NULL REFERENCES machines (serial) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX machine_macs_serial ON machine_macs (serial);

-- No foreign key to machines: an installation outlives its machine, and machines may live in another store.
CREATE TABLE installations (
    id            TEXT    NOT NULL PRIMARY KEY,
    serial        TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    profile       TEXT    NOT NULL,
    attempt       INTEGER NOT NULL,
    progress      REAL    NOT NULL,
    progress_text TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    state_since   INTEGER NOT NULL,
    deadline      INTEGER,
    entered       TEXT, -- JSON: state → time
    plan          BLOB  -- JSON
) STRICT;
CREATE INDEX installations_serial ON installations (serial, id);
CREATE INDEX installations_state ON installations (state, id);
CREATE UNIQUE INDEX installations_open ON installations (serial) WHERE state NOT IN ('installed', 'canceled');

CREATE TABLE events (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    time         INTEGER NOT NULL,
    serial       TEXT,
    mac          TEXT,
    installation TEXT,
    kind         TEXT    NOT NULL,
    message      TEXT    NOT NULL,
    data         BLOB -- JSON
) STRICT;
-- Each of these ends with the row's id, so that a page is read in order.
CREATE INDEX events_serial ON events (serial) WHERE serial IS NOT NULL;
CREATE INDEX events_mac ON events (mac) WHERE mac IS NOT NULL;
CREATE INDEX events_installation ON events (installation) WHERE installation IS NOT NULL;
CREATE INDEX events_kind ON events (kind);

CREATE TABLE leases (
    subnet     TEXT    NOT NULL,
    mac        TEXT    NOT NULL,
    addr       TEXT    NOT NULL UNIQUE,
    hostname   TEXT    NOT NULL,
    granted_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    declined   INTEGER NOT NULL,
    PRIMARY KEY (subnet, mac)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id         TEXT    NOT NULL PRIMARY KEY,
    hash       TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;

-- +goose Down

DROP TABLE tokens;
DROP TABLE leases;
DROP TABLE events;
DROP TABLE installations;
DROP TABLE machine_macs;
DROP TABLE machines;
