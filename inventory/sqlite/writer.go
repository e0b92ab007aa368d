package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// writer owns the one connection that writes. Writes queue up while the disk is busy with the previous commit, and the
// next commit takes all of them: a group commit, since waiting for the disk is what takes the time.
type writer struct {
	s       *Store
	db      *sql.DB
	queue   chan *write
	between chan func() // for tests: runs when no transaction does
	stopped chan struct{}

	// tx is the connection, nil before it is needed and after it broke. Only run touches it.
	tx *tx
}

// maxGroup bounds the writes of one transaction, and with it what a failed commit takes along.
const maxGroup = 512

func newWriter(s *Store, db *sql.DB) *writer {
	return &writer{s: s, db: db, queue: make(chan *write, maxGroup), between: make(chan func()), stopped: make(chan struct{})}
}

// A write is one caller's share of a transaction. The caller runs it in its own goroutine when it is its turn: what a
// change function of a user does there (panic, runtime.Goexit) hits the user and not the writer, and nothing of the
// caller runs after it has returned.
type write struct {
	turn chan *tx      // the writer lends its transaction
	ran  chan error    // the caller gives it back, with the result
	gone chan struct{} // the caller waits no longer
	done chan error    // committed or not
}

// errUnwound stands for a write whose caller panicked.
var errUnwound = errors.New("the change did not return")

// write runs do in a transaction, possibly together with other writes, and returns when the result is on disk. do may
// run more than once. If it returns an error nothing of it is stored. Reads within do go through t.
func (s *Store) write(ctx context.Context, doing string, do func(t *tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &write{turn: make(chan *tx), ran: make(chan error), gone: make(chan struct{}), done: make(chan error, 1)}
	if err := s.send(ctx, w); err != nil {
		return err
	}
	for {
		select {
		case t := <-w.turn:
			w.run(t, do)
		case err := <-w.done:
			return s.fail(ctx, doing, err)
		case <-ctx.Done():
			select {
			case err := <-w.done:
				return s.fail(ctx, doing, err) // just in time
			default:
			}
			close(w.gone)
			return fmt.Errorf("sqlite: %s: %s: %w", s.path, doing, ctx.Err())
		}
	}
}

func (s *Store) send(ctx context.Context, w *write) error {
	s.sending.RLock()
	defer s.sending.RUnlock()
	if s.closed {
		return ErrClosed
	}
	select {
	case s.writer.queue <- w:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *write) run(t *tx, do func(t *tx) error) {
	err := errUnwound
	defer func() {
		if err == errUnwound {
			close(w.gone)
		}
		w.ran <- err
	}()
	err = do(t)
}

// run commits groups of writes until the queue ends, and folds the log of leases in between.
func (w *writer) run() {
	defer close(w.stopped)
	idle := time.NewTimer(foldIdle)
	defer idle.Stop()
	for {
		select {
		case first, ok := <-w.queue:
			if !ok {
				return
			}
			w.commit(w.collect(first))
			if x := w.index(); x != nil && (x.logged > maxLogged || len(x.folding) > 0) {
				_, _ = w.fold(foldBetween) // what fails now is tried again
			}
			idle.Reset(foldIdle)
		case do := <-w.between:
			do()
		case <-idle.C:
			if w.index() == nil {
				continue // nothing was saved since
			}
			pause := foldIdle
			if more, err := w.fold(foldAtOnce); err == nil && more {
				pause = 0
			} else if err == nil {
				continue
			}
			idle.Reset(pause)
		}
	}
}

// index is what is known of leases, if anything is.
func (w *writer) index() *leaseIndex {
	if w.tx == nil {
		return nil
	}
	return w.tx.index
}

func (w *writer) collect(first *write) []*write {
	group := []*write{first}
	for len(group) < maxGroup {
		select {
		case next, ok := <-w.queue:
			if !ok {
				return group
			}
			group = append(group, next)
		default:
			return group
		}
	}
	return group
}

// commit stores a group in one transaction and tells each of its writes how it ended. If the group did not find space,
// each write gets a transaction of its own: a lease still fits where a long list of events does not.
func (w *writer) commit(group []*write) {
	results, err := w.transact(group)
	if len(group) > 1 && code(err) == sqlite3.SQLITE_FULL {
		for _, one := range group {
			w.commit([]*write{one})
		}
		return
	}
	for i, one := range group {
		if err != nil {
			one.done <- err
		} else {
			one.done <- results[i]
		}
	}
}

// transact returns the result of each write, or an error if none was stored.
func (w *writer) transact(group []*write) (results []error, err error) {
	t, err := w.begin()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.rollback()
		}
	}()
	results = make([]error, len(group))
	stored := false
	for i, one := range group {
		if _, err := t.exec("SAVEPOINT one"); err != nil {
			return nil, err
		}
		changes := t.changes()
		select {
		case one.turn <- t:
			results[i] = <-one.ran
		case <-one.gone:
			results[i] = context.Canceled // nobody reads it
		}
		if fatal(results[i]) {
			return nil, results[i]
		}
		if results[i] != nil {
			if _, err := t.exec("ROLLBACK TO one"); err != nil {
				return nil, err
			}
			if t.index != nil {
				t.index.revert(changes)
			}
		} else {
			stored = true
		}
		if _, err := t.exec("RELEASE one"); err != nil {
			return nil, err
		}
	}
	if !stored {
		w.rollback()
		return results, nil
	}
	if _, err := t.exec("COMMIT"); err != nil {
		return nil, err
	}
	if t.index != nil {
		t.index.undo = nil
	}
	if t.machines {
		t.machines = false
		w.s.machines.Add(1)
	}
	return results, nil
}

// begin takes the write lock, on a new connection if the last one broke.
func (w *writer) begin() (*tx, error) {
	if w.tx == nil {
		conn, err := w.db.Conn(context.Background())
		if err != nil {
			return nil, err
		}
		w.tx = &tx{conn: conn, prepared: map[string]*sql.Stmt{}}
	}
	if _, err := w.tx.exec("BEGIN IMMEDIATE"); err != nil {
		w.drop()
		return nil, err
	}
	if err := w.look(); err != nil {
		w.rollback()
		return nil, err
	}
	return w.tx, nil
}

// look forgets what is kept in memory of the database if another process has written to it.
func (w *writer) look() error {
	st, err := w.tx.stmt("PRAGMA data_version")
	if err != nil {
		return err
	}
	var version int64
	if err := st.QueryRow().Scan(&version); err != nil {
		return err
	}
	if version != w.tx.version {
		w.tx.version, w.tx.index = version, nil
		w.s.machines.Add(1)
	}
	w.s.looked.Store(time.Now().UnixNano())
	return nil
}

// rollback ends a transaction that must not be stored. SQLite has often rolled back by itself after an error of the
// disk and then reports that there is no transaction; a new connection is a clean slate in any case.
func (w *writer) rollback() {
	w.tx.machines = false
	if w.tx.index != nil {
		w.tx.index.revert(0)
	}
	if _, err := w.tx.exec("ROLLBACK"); err != nil {
		w.drop()
	}
}

// drop closes the connection.
func (w *writer) drop() {
	w.tx.finalize()
	// ErrBadConn keeps database/sql from handing out the connection again.
	_ = w.tx.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.tx.conn.Close()
	w.tx = nil
}

// close is for after run.
func (w *writer) close() error {
	if w.tx != nil {
		w.tx.finalize()
		_ = w.tx.conn.Close()
		w.tx = nil
	}
	return w.db.Close()
}

// tx is the writer's connection in a transaction. It keeps its statements prepared, so queries are constants.
type tx struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
	// index is nil before it is needed, and after another process wrote.
	index *leaseIndex
	// version is SQLite's data_version: it changes when another connection has written.
	version int64
	// machines says that the transaction changed who is known.
	machines bool
}

// changes counts what the transaction has changed in the index.
func (t *tx) changes() int {
	if t.index == nil {
		return 0
	}
	return len(t.index.undo)
}

func (t *tx) stmt(query string) (*sql.Stmt, error) {
	if st, ok := t.prepared[query]; ok {
		return st, nil
	}
	st, err := t.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	t.prepared[query] = st
	return st, nil
}

func (t *tx) finalize() {
	for _, st := range t.prepared {
		_ = st.Close()
	}
}

// exec and query take no context of the caller: to interrupt a statement would take down the whole group.
func (t *tx) exec(query string, args ...any) (sql.Result, error) {
	st, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return st.Exec(args...)
}

func (t *tx) query(_ context.Context, query string, args ...any) (*sql.Rows, error) {
	st, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return st.Query(args...)
}
