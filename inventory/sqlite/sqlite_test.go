package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/inventorytest"
	"github.com/project-loda/loda/inventory/memory"
	"github.com/project-loda/loda/inventory/sqlite"
)

func open(t testing.TB, opts ...sqlite.Option) *sqlite.Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "loda.db"), opts...)
}

func openAt(t testing.TB, path string, opts ...sqlite.Option) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func line(format string, args ...any) inventory.Event {
	return inventory.Event{Kind: inventory.KindLog, Message: fmt.Sprintf(format, args...)}
}

func create(t testing.TB, s inventory.MachineStore, serials ...inventory.Serial) {
	t.Helper()
	var ms []inventory.Machine
	for _, sn := range serials {
		ms = append(ms, inventory.Machine{Serial: sn})
	}
	require.NoError(t, s.CreateMachines(t.Context(), ms))
}

func TestSQLiteKeepsTheContractOfAnInventory(t *testing.T) {
	inventorytest.Run(t, func(t *testing.T) inventory.Store { return open(t) })
}

func TestWhatWasStoredIsThereAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	var log bytes.Buffer
	s, err := sqlite.Open(t.Context(), path, sqlite.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	require.Equal(t, path, s.Path())
	require.Contains(t, log.String(), "schema")
	create(t, s, "SN0001")
	l := benchLease(1)
	require.NoError(t, s.SaveLease(t.Context(), l))
	require.NoError(t, s.AppendEvents(t.Context(), line("one"), line("two")))
	require.NoError(t, s.Close())
	_, err = os.Stat(path + "-wal")
	require.ErrorIs(t, err, os.ErrNotExist, "a closed database is one file")

	s = openAt(t, path)
	_, err = s.Machine(t.Context(), "SN0001")
	require.NoError(t, err)
	leases, err := s.Leases(t.Context())
	require.NoError(t, err)
	require.Len(t, leases, 1)
	require.NoError(t, s.AppendEvents(t.Context(), line("three")))
	events, err := s.Events(t.Context(), inventory.EventFilter{})
	require.NoError(t, err)
	require.Len(t, events, 3)
	require.NoError(t, s.Check(t.Context()))
}

func TestEventIDsAreNotReusedAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	s, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, s.AppendEvents(t.Context(), line("one"), line("two")))
	before, err := s.Events(t.Context(), inventory.EventFilter{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	tamper(t, path, "DELETE FROM events")
	s = openAt(t, path)
	require.NoError(t, s.AppendEvents(t.Context(), line("three")))
	after, err := s.Events(t.Context(), inventory.EventFilter{})
	require.NoError(t, err)
	require.Greater(t, after[0].ID, before[1].ID)
}

// tamper changes a database file behind the store's back.
func tamper(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.Exec(statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

func TestTheDatabaseBelongsToItsUserAlone(t *testing.T) {
	s := open(t)
	create(t, s, "SN0001")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(s.Path() + suffix)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), s.Path()+suffix)
	}
}

func TestWritesWaitForTheDisk(t *testing.T) {
	s := open(t)
	for name, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"} {
		got, err := s.Pragma(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
}

func TestAnyFileNameWorks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%20e&f=ü'\".db")
	s := openAt(t, path)
	create(t, s, "SN0001")
	_, err := os.Stat(path)
	require.NoError(t, err)

	t.Chdir(t.TempDir())
	relative := openAt(t, "here.db")
	create(t, relative, "SN0001")
	_, err = os.Stat("here.db")
	require.NoError(t, err)
}

func TestOpenSaysWhatIsWrongWithThePath(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "no", "such", "loda.db")
	_, err := sqlite.Open(t.Context(), missing)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, missing)
	_, err = sqlite.Open(t.Context(), dir)
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "not a regular file")
}

func TestADatabaseOfANewerReleaseIsRefusedAndLeftAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	s, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	tamper(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, 1)")
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = sqlite.Open(t.Context(), path)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "newer release")
	require.ErrorContains(t, err, "4711")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
}

func TestADatabaseOfAnotherProgramIsRefusedAndLeftAsItIs(t *testing.T) {
	for _, statement := range []string{"CREATE TABLE bookmarks (url TEXT)", "PRAGMA application_id = 42"} {
		path := filepath.Join(t.TempDir(), "places.db")
		tamper(t, path, statement)
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = sqlite.Open(t.Context(), path)
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "another program")
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after))
	}
}

func TestAFileThatIsNoDatabaseIsRefusedAndLeftAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	garbage := bytes.Repeat([]byte("this is not a database. "), 1000)
	require.NoError(t, os.WriteFile(path, garbage, 0o600))
	_, err := sqlite.Open(t.Context(), path)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "damaged or not an SQLite database")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, garbage, after)
}

func TestADamagedDatabaseIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	s, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	for i := range 50 {
		require.NoError(t, s.AppendEvents(t.Context(), line("%d %s", i, bytes.Repeat([]byte("x"), 4000))))
	}
	require.NoError(t, s.Check(t.Context()))
	require.NoError(t, s.Close())

	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := len(data) / 2; i < len(data)-4096; i++ {
		data[i] = 0xa5
	}
	require.NoError(t, os.WriteFile(path, data, 0o600))
	s = openAt(t, path)
	err = s.Check(t.Context())
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "damaged")
	require.ErrorContains(t, err, "restore a backup")
	_, err = s.Events(t.Context(), inventory.EventFilter{Limit: 1000})
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "damaged")
}

func TestABackupIsACopyOfTheMoment(t *testing.T) {
	s := open(t)
	create(t, s, "SN0001")
	backup := filepath.Join(t.TempDir(), "it's a backup.db")
	require.NoError(t, s.Backup(t.Context(), backup))
	create(t, s, "SN0002")
	info, err := os.Stat(backup)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	copied := openAt(t, backup)
	ms, err := copied.Machines(t.Context(), inventory.MachineFilter{})
	require.NoError(t, err)
	require.Len(t, ms, 1)
	require.NoError(t, copied.Check(t.Context()))

	err = s.Backup(t.Context(), backup)
	require.ErrorIs(t, err, os.ErrExist, "a backup overwrites nothing")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	next := filepath.Join(t.TempDir(), "next.db")
	require.ErrorIs(t, s.Backup(cancelled, next), context.Canceled)
	_, err = os.Stat(next)
	require.ErrorIs(t, err, os.ErrNotExist, "half a backup is none")
}

func TestCloseWaitsForWhatWasBegunAndRefusesTheRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	s, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	var stored atomic.Int64
	var writers sync.WaitGroup
	for range 32 {
		writers.Go(func() {
			for {
				err := s.AppendEvents(context.Background(), line("x"))
				if errors.Is(err, sqlite.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				stored.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return stored.Load() > 500 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Close())
	writers.Wait()
	require.NoError(t, s.Close(), "closing twice is harmless")

	var n int64
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.QueryRow("SELECT count(*) FROM events").Scan(&n))
	require.Equal(t, stored.Load(), n, "what was acknowledged is there, what was refused is not")
}

func TestAClosedStoreSaysSo(t *testing.T) {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "loda.db"))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	ctx := t.Context()
	_, err = s.Machine(ctx, "SN0001")
	require.ErrorIs(t, err, sqlite.ErrClosed)
	_, err = s.Events(ctx, inventory.EventFilter{})
	require.ErrorIs(t, err, sqlite.ErrClosed)
	_, err = s.Leases(ctx)
	require.ErrorIs(t, err, sqlite.ErrClosed)
	require.ErrorIs(t, s.SaveLease(ctx, benchLease(1)), sqlite.ErrClosed)
	require.ErrorIs(t, s.DeleteLease(ctx, "rack", net.HardwareAddr{2, 0, 0, 0, 0, 1}), sqlite.ErrClosed)
	require.ErrorIs(t, s.Check(ctx), sqlite.ErrClosed)
}

func TestADeadlineIsKeptWhileAnotherWriteHoldsTheDatabase(t *testing.T) {
	s := open(t)
	create(t, s, "SN0001")
	holding, release := make(chan struct{}), make(chan struct{})
	var holder sync.WaitGroup
	holder.Go(func() {
		_, err := s.UpdateMachine(context.Background(), "SN0001", func(m *inventory.Machine) error {
			close(holding)
			<-release
			m.Name = "held"
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-holding
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	started := time.Now()
	err := s.AppendEvents(ctx, line("too late"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(started), 5*time.Second)
	_, err = s.Machine(t.Context(), "SN0001")
	require.NoError(t, err, "reads do not wait for writes")
	close(release)
	holder.Wait()
	require.NoError(t, s.AppendEvents(t.Context(), line("in time")))
	events, err := s.Events(t.Context(), inventory.EventFilter{})
	require.NoError(t, err)
	require.Len(t, events, 1, "a write whose caller left before its turn is not stored")
}

func TestAChangeThatPanicsHurtsItsCallerAlone(t *testing.T) {
	s := open(t)
	create(t, s, "SN0001")
	require.PanicsWithValue(t, "boom", func() {
		_, _ = s.UpdateMachine(t.Context(), "SN0001", func(m *inventory.Machine) error {
			m.Name = "half"
			panic("boom")
		})
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		leave := func(*inventory.Machine) error { runtime.Goexit(); return nil }
		_, _ = s.UpdateMachine(context.Background(), "SN0001", leave)
	}()
	<-done
	m, err := s.Machine(t.Context(), "SN0001")
	require.NoError(t, err)
	require.Empty(t, m.Name)
	_, err = s.UpdateMachine(t.Context(), "SN0001", func(m *inventory.Machine) error { m.Name = "whole"; return nil })
	require.NoError(t, err)
}

func TestOneBadWriteOfAGroupLeavesTheOthersAlone(t *testing.T) {
	s := open(t)
	create(t, s, "SN0001")
	no := errors.New("no")
	var wg sync.WaitGroup
	const n = 300
	for i := range n {
		wg.Go(func() {
			defer func() { _ = recover() }()
			_, err := s.UpdateMachine(context.Background(), "SN0001", func(m *inventory.Machine) error {
				if m.Labels == nil {
					m.Labels = map[string]string{}
				}
				m.Labels[fmt.Sprint(i)] = "x"
				switch i % 3 {
				case 1:
					return no
				case 2:
					panic("boom")
				}
				return nil
			})
			if i%3 == 0 && err != nil || i%3 == 1 && !errors.Is(err, no) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	m, err := s.Machine(t.Context(), "SN0001")
	require.NoError(t, err)
	require.Len(t, m.Labels, n/3)
	require.NoError(t, s.Check(t.Context()))
}

func TestTwoProcessesMayWriteOneDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	stores := []*sqlite.Store{openAt(t, path), openAt(t, path)}
	var wg sync.WaitGroup
	const each = 100
	for _, s := range stores {
		for range 4 {
			wg.Go(func() {
				for range each / 4 {
					if err := s.AppendEvents(context.Background(), line("x")); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	for _, s := range stores {
		events, err := s.Events(t.Context(), inventory.EventFilter{Limit: 1000})
		require.NoError(t, err)
		require.Len(t, events, 2*each)
	}
}

func TestMachinesMayLiveInAnotherStore(t *testing.T) {
	cmdb := memory.New()
	create(t, cmdb, "SN0001")
	s := open(t, sqlite.WithMachines(cmdb))
	require.NoError(t, s.CreateInstallation(t.Context(),
		inventory.Installation{ID: "i1", Serial: "SN0001", State: inventory.Queued}))
	err := s.CreateInstallation(t.Context(),
		inventory.Installation{ID: "i2", Serial: "SN0002", State: inventory.Queued})
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

// A page must cost what the page holds and not what the site has collected in a year.
func TestPagesAreReadThroughIndices(t *testing.T) {
	s := open(t)
	for _, c := range []struct{ index, query string }{
		{"events_serial", "SELECT id FROM events WHERE id > ? AND serial = ? ORDER BY id LIMIT 100"},
		{"events_mac", "SELECT id FROM events WHERE id > ? AND mac = ? ORDER BY id DESC LIMIT 100"},
		{"events_installation", "SELECT id FROM events WHERE id > ? AND installation = ? ORDER BY id LIMIT 100"},
		{"events_kind", "SELECT id FROM events WHERE id > ? AND kind = ? ORDER BY id DESC LIMIT 100"},
		{"machines_rack", "SELECT * FROM machines WHERE serial > ? AND rack = ? ORDER BY serial LIMIT 100"},
		{"installations_open", "SELECT * FROM installations WHERE serial = ? AND state NOT IN ('installed', 'canceled')"},
		{"installations_serial", "SELECT * FROM installations WHERE id > ? AND serial = ? ORDER BY id LIMIT 100"},
	} {
		plan, err := s.Plan(t.Context(), c.query, make([]any, strings.Count(c.query, "?"))...)
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(plan), c.index, c.query)
		require.NotContains(t, fmt.Sprint(plan), "TEMP B-TREE", c.query)
	}
}

func TestSeveralMayOpenANewDatabaseAtOnce(t *testing.T) {
	for range 5 {
		path := filepath.Join(t.TempDir(), "loda.db")
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				s, err := sqlite.Open(context.Background(), path)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.AppendEvents(context.Background(), line("%d", i)); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		events, err := openAt(t, path).Events(t.Context(), inventory.EventFilter{})
		require.NoError(t, err)
		require.Len(t, events, 6)
	}
}
