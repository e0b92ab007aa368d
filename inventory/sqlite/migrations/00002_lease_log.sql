-- +goose Up

-- What was saved since the table leases was written last, in the order of id; see leaselog.go.
CREATE TABLE lease_log (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    entries BLOB NOT NULL
) STRICT;

-- +goose Down

DROP TABLE lease_log;
