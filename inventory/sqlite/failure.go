package sqlite

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/project-loda/loda/inventory"
)

// fail turns an error of the database into one that says which file, and what to do. Errors that did not come from
// SQLite pass as they are.
func (s *Store) fail(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil && (errors.Is(err, ended) || code(err) == sqlite3.SQLITE_INTERRUPT) {
		return fmt.Errorf("sqlite: %s: %s: %w", s.path, doing, ended)
	}
	switch code(err) {
	case 0:
		return err
	case sqlite3.SQLITE_FULL:
		return s.full(doing, err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		// Growing the -shm file on a full disk comes back as an I/O error.
		if noSpace(s.path) {
			return s.full(doing, err)
		}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return s.damaged(err)
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("sqlite: %s: %s: another process has been writing for %s: %w", s.path, doing, busyTimeout, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fmt.Errorf("sqlite: %s: %s: the file and its directory must be writable for this user: %w",
			s.path, doing, err)
	}
	return fmt.Errorf("sqlite: %s: %s: %w", s.path, doing, err)
}

func (s *Store) full(doing string, err error) error {
	return fmt.Errorf("sqlite: %s: %s: %w (%v); nothing was stored, free some space", s.path, doing,
		inventory.ErrFull, err)
}

func (s *Store) damaged(err error) error {
	return fmt.Errorf("sqlite: %s is damaged or not an SQLite database: %w; stop, keep a copy of the file with its -wal "+
		"and -shm, and restore a backup", s.path, err)
}

// code is SQLite's primary result code, or 0 if err did not come from SQLite.
func code(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

// fatal reports whether err is one of the database rather than of one statement: SQLite may have rolled the whole
// transaction back (https://www.sqlite.org/lang_transaction.html, "response to errors within a transaction").
func fatal(err error) bool {
	c := code(err)
	return c != 0 && c != sqlite3.SQLITE_CONSTRAINT
}
