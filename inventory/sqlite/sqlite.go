// Package sqlite keeps an inventory in one SQLite file: the database of a site of its own. It needs no server and no C
// compiler (the driver is modernc.org/sqlite).
//
//	store, err := sqlite.Open(ctx, "/var/lib/loda/loda.db")
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//
// What a method has stored when it returns nil survives kill -9 and a power cut: the database runs in WAL mode with
// synchronous=FULL, and every write waits for the disk. Many writes at once share one transaction and one wait, so a
// rack that powers on at once gets its leases as fast as one machine does.
//
// When the disk is full, writes fail with [inventory.ErrFull] and reads go on; once there is space, writes work again
// without a restart.
//
// The file belongs to its user alone (mode 0600): it holds what machines and people said. Beside it live -wal and -shm
// files, which belong to the database: copy none of them while the store is open, call [Store.Backup]. It must lie on a
// local file system.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
)

// Store is an [inventory.Store] in a SQLite file. Make one with [Open].
type Store struct {
	path     string
	log      *slog.Logger
	external inventory.MachineStore

	readers *sql.DB
	// statements are those of prepared, by their text.
	statements sync.Map
	writer     *writer

	// sending is held for reading while a write is handed to the writer, so that Close can end the queue.
	sending sync.RWMutex
	closed  bool

	// machines is what MachinesVersion returns, looked when it was last made sure of, in Unix nanoseconds.
	machines atomic.Uint64
	looked   atomic.Int64
}

var (
	_ inventory.Store            = (*Store)(nil)
	_ inventory.MachineIndex     = (*Store)(nil)
	_ inventory.MachineVersioner = (*Store)(nil)
	_ dhcp.LeaseBatchStore       = (*Store)(nil)
)

// ErrClosed is returned, possibly wrapped, by every method after [Store.Close].
var ErrClosed = errors.New("the inventory is closed")

// An Option changes how [Open] opens.
type Option func(*Store)

// WithMachines says that the machines live in another store, such as a CMDB: CreateInstallation asks ms whether a
// machine exists. The store's own machine methods go on working on its own, empty, table; whoever composes an
// [inventory.Store] takes ms for those.
func WithMachines(ms inventory.MachineStore) Option { return func(s *Store) { s.external = ms } }

// WithLogger says where to report what an operator should know and no error says: migrations. The default is silence.
func WithLogger(l *slog.Logger) Option {
	return func(s *Store) {
		if l != nil {
			s.log = l
		}
	}
}

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks the file as Loda's (PRAGMA application_id): the letters LODA.
const applicationID = 0x4c4f4441

// busyTimeout is how long a write waits for another process that writes.
const busyTimeout = 10 * time.Second

// Open opens the database file, or makes it (mode 0600; the directory must exist), and brings its schema up to date. A
// file of a newer Loda, of another program, or a damaged one is refused and left as it is. The store runs one
// goroutine, which [Store.Close] ends. ctx is for opening only.
func Open(ctx context.Context, path string, opts ...Option) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	s := &Store{path: abs, log: slog.New(slog.DiscardHandler)}
	for _, o := range opts {
		o(s)
	}
	if err := create(abs); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	go s.writer.run()
	return s, nil
}

// create makes an empty file that only its owner may read. SQLite gives -wal and -shm the same mode. An existing file
// is not opened here: closing it again would drop the POSIX locks of another store of this process.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		info, err := os.Stat(path)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", path)
		}
		return err
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// The name must survive a power cut as well as the contents.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func (s *Store) open(ctx context.Context) (err error) {
	unlock, err := lock(ctx, s.path)
	if err != nil {
		return fmt.Errorf("sqlite: open %s: %w", s.path, err)
	}
	defer unlock()
	if err := s.recognize(ctx); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(s.path, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"journal_size_limit(67108864)", "cache_size(-16384)"))
	if err != nil {
		return s.fail(ctx, "open", err)
	}
	db.SetMaxOpenConns(1)
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return s.fail(ctx, "open", err)
	}
	if mode != "wal" {
		return fmt.Errorf("sqlite: %s: cannot keep a write-ahead log there (journal mode %q); use a local file system",
			s.path, mode)
	}
	if err := s.migrate(ctx, db); err != nil {
		return err
	}
	s.readers, err = sql.Open("sqlite", dsn(s.path, "query_only(1)", "cache_size(-4096)"))
	if err != nil {
		return s.fail(ctx, "open", err)
	}
	n := max(4, runtime.GOMAXPROCS(0))
	s.readers.SetMaxOpenConns(n)
	s.readers.SetMaxIdleConns(n)
	if err := s.readers.PingContext(ctx); err != nil {
		s.readers.Close()
		return s.fail(ctx, "open", err)
	}
	s.writer = newWriter(s, db)
	return nil
}

func dsn(path string, pragmas ...string) string {
	q := url.Values{"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())}, pragmas...)}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// recognize refuses what this program must not write to, on a connection that cannot: the file stays as it is.
func (s *Store) recognize(ctx context.Context) error {
	db, err := sql.Open("sqlite", dsn(s.path, "query_only(1)"))
	if err != nil {
		return s.fail(ctx, "open", err)
	}
	defer db.Close()
	var id, tables, versions int
	err = db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), count(*),
		count(*) FILTER (WHERE name = 'goose_db_version') FROM sqlite_schema`).Scan(&id, &tables, &versions)
	if err != nil {
		return s.fail(ctx, "open", err)
	}
	if id != applicationID && (id != 0 || tables > 0) {
		return fmt.Errorf("sqlite: %s is a database of another program (application ID %#x); name another file",
			s.path, id)
	}
	if versions == 0 {
		return nil
	}
	var current int64
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied").
		Scan(&current)
	if err != nil {
		return s.fail(ctx, "read the schema's version", err)
	}
	provider, err := migrator(db)
	if err != nil {
		return err
	}
	sources := provider.ListSources()
	if newest := sources[len(sources)-1].Version; current > newest {
		return fmt.Errorf("sqlite: %s was written by a newer release (its schema is version %d, this program knows up "+
			"to %d): run that release, or restore a backup from before the upgrade", s.path, current, newest)
	}
	return nil
}

func migrator(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, fmt.Errorf("sqlite: migrations: %w", err)
	}
	return provider, nil
}

// migrate brings the schema up to date.
func (s *Store) migrate(ctx context.Context, db *sql.DB) error {
	var id int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return s.fail(ctx, "open", err)
	}
	if id != applicationID {
		if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return s.fail(ctx, "open", err)
		}
	}
	provider, err := migrator(db)
	if err != nil {
		return err
	}
	done, err := provider.Up(ctx)
	if err != nil {
		return s.fail(ctx, "bring the schema up to date", err)
	}
	if len(done) > 0 {
		s.log.InfoContext(ctx, "the schema of the database is up to date", "file", s.path,
			"version", done[len(done)-1].Source.Version)
	}
	return nil
}

// Path is the absolute path of the database file.
func (s *Store) Path() string { return s.path }

// Close waits for the writes that were begun, then closes the file. Later calls of any method fail with [ErrClosed].
func (s *Store) Close() error {
	s.sending.Lock()
	if s.closed {
		s.sending.Unlock()
		return nil
	}
	s.closed = true
	close(s.writer.queue)
	s.sending.Unlock()
	<-s.writer.stopped
	s.statements.Range(func(_, st any) bool { _ = st.(*sql.Stmt).Close(); return true })
	// The writer goes last: it moves what the write-ahead log still holds into the database file.
	return errors.Join(s.readers.Close(), s.writer.close())
}

// Check reads the whole database and returns what is wrong with it. It takes seconds on a large one; reads and writes
// go on meanwhile.
func (s *Store) Check(ctx context.Context) error {
	rows, err := s.query(ctx, "PRAGMA integrity_check(20)")
	if err != nil {
		return s.fail(ctx, "check", err)
	}
	defer rows.Close()
	var bad []error
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return s.fail(ctx, "check", err)
		}
		if line != "ok" {
			bad = append(bad, errors.New(line))
		}
	}
	if err := rows.Err(); err != nil {
		return s.fail(ctx, "check", err)
	}
	if bad != nil {
		return s.damaged(errors.Join(bad...))
	}
	return nil
}

// Backup writes a copy of the database, as of now, to a new file with mode 0600. Reads and writes go on meanwhile. The
// copy is on disk when Backup returns nil; after an error there is no file.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("sqlite: backup of %s: %w", s.path, err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(path)
		}
	}()
	if s.isClosed() {
		return ErrClosed
	}
	db, err := sql.Open("sqlite", dsn(s.path)) // the readers may not write, not even to another file
	if err != nil {
		return s.fail(ctx, "back up to "+path, err)
	}
	defer db.Close()
	// VACUUM INTO accepts an existing file if it is empty.
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return s.fail(ctx, "back up to "+path, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sqlite: backup of %s: %w", s.path, err)
	}
	return nil
}

func (s *Store) isClosed() bool {
	s.sending.RLock()
	defer s.sending.RUnlock()
	return s.closed
}

// query runs one statement on a connection that only reads.
func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s.isClosed() {
		return nil, ErrClosed
	}
	return s.readers.QueryContext(ctx, query, args...)
}

// prepared is the store for queries that are asked all the time: to prepare one takes longer than to answer it. Their
// texts are constants.
type prepared struct{ *Store }

func (s prepared) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s.isClosed() {
		return nil, ErrClosed
	}
	st, ok := s.statements.Load(query)
	if !ok {
		made, err := s.readers.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		if st, ok = s.statements.LoadOrStore(query, made); ok {
			_ = made.Close()
		}
	}
	return st.(*sql.Stmt).QueryContext(ctx, args...)
}
