package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/project-loda/loda/inventory"
)

const installationColumns = `id, serial, state, reason, profile, attempt, progress, progress_text,
	created_at, updated_at, state_since, deadline, entered, plan`

// isOpen must read as the condition of the index installations_open does, or SQLite does not use the index.
const isOpen = "state NOT IN ('installed', 'canceled')"

func scanInstallation(rows *sql.Rows, i *inventory.Installation) error {
	return rows.Scan(&i.ID, &i.Serial, &i.State, &i.Reason, &i.Profile, &i.Attempt, &i.Progress, &i.ProgressText,
		moment{&i.CreatedAt}, moment{&i.UpdatedAt}, moment{&i.StateSince}, moment{&i.Deadline},
		document[map[inventory.State]time.Time]{&i.Entered}, (*[]byte)(&i.Plan))
}

func installation(ctx context.Context, q querier, id string) (*inventory.Installation, error) {
	i, err := one(ctx, q, scanInstallation, "SELECT "+installationColumns+" FROM installations WHERE id = ?", id)
	if errors.Is(err, inventory.ErrNotFound) {
		err = fmt.Errorf("installation %s: %w", id, err)
	}
	return i, err
}

func openInstallation(ctx context.Context, q querier, serial inventory.Serial) (*inventory.Installation, error) {
	i, err := one(ctx, q, scanInstallation, "SELECT "+installationColumns+" FROM installations WHERE serial = ? AND "+
		isOpen, string(serial))
	if errors.Is(err, inventory.ErrNotFound) {
		err = fmt.Errorf("open installation of machine %s: %w", serial, err)
	}
	return i, err
}

func (s *Store) Installation(ctx context.Context, id string) (*inventory.Installation, error) {
	i, err := installation(ctx, s, id)
	return i, s.fail(ctx, "read an installation", err)
}

func (s *Store) OpenInstallation(ctx context.Context, serial inventory.Serial) (*inventory.Installation, error) {
	i, err := openInstallation(ctx, s, serial)
	return i, s.fail(ctx, "read an installation", err)
}

func (s *Store) Installations(ctx context.Context, f inventory.InstallationFilter) ([]inventory.Installation, error) {
	var w where
	order := "id"
	switch {
	case f.Newest && f.After != "":
		w.and("id < ?", f.After)
		order = "id DESC"
	case f.Newest:
		order = "id DESC"
	default:
		w.and("id > ?", f.After)
	}
	if f.Serial != "" {
		w.and("serial = ?", string(f.Serial))
	}
	if len(f.States) > 0 {
		in(&w, "state", f.States)
	}
	if f.OpenOnly {
		w.and(isOpen)
	}
	is, err := list(ctx, s, scanInstallation, "SELECT "+installationColumns+" FROM installations"+w.String()+
		" ORDER BY "+order+" LIMIT ?", append(w.args, inventory.PageLimit(f.Limit))...)
	return is, s.fail(ctx, "list installations", err)
}

func (s *Store) CreateInstallation(ctx context.Context, inst inventory.Installation, events ...inventory.Event) error {
	now := time.Now()
	inst = inst.Clone()
	if err := inst.Normalize(now); err != nil {
		return fmt.Errorf("installation %s of machine %s: %w", inst.ID, inst.Serial, err)
	}
	events, err := prepare(events, now)
	if err != nil {
		return err
	}
	if s.external != nil {
		if _, err := s.external.Machine(ctx, inst.Serial); err != nil {
			return fmt.Errorf("installation %s: %w", inst.ID, err)
		}
	}
	return s.write(ctx, "create installation "+inst.ID, func(t *tx) error {
		if s.external == nil {
			if _, err := (index{t}).Machine(ctx, inst.Serial); err != nil {
				return fmt.Errorf("installation %s: %w", inst.ID, err)
			}
		}
		if old, err := installation(ctx, t, inst.ID); err == nil {
			return &inventory.ConflictError{What: "installation " + inst.ID, Owner: "machine " + string(old.Serial)}
		} else if !errors.Is(err, inventory.ErrNotFound) {
			return err
		}
		if err := t.checkOpen(ctx, &inst); err != nil {
			return err
		}
		if err := t.putInstallation(&inst); err != nil {
			return err
		}
		return t.appendEvents(events)
	})
}

// checkOpen refuses a second open installation of a machine.
func (t *tx) checkOpen(ctx context.Context, inst *inventory.Installation) error {
	if !inst.State.Open() {
		return nil
	}
	other, err := openInstallation(ctx, t, inst.Serial)
	switch {
	case errors.Is(err, inventory.ErrNotFound):
		return nil
	case err != nil:
		return err
	case other.ID == inst.ID:
		return nil
	}
	return &inventory.ConflictError{What: "machine " + string(inst.Serial), Owner: "open installation " + other.ID}
}

func (t *tx) putInstallation(i *inventory.Installation) error {
	var entered any
	if len(i.Entered) > 0 {
		text, err := json.Marshal(i.Entered)
		if err != nil {
			return err
		}
		entered = string(text)
	}
	_, err := t.exec(`INSERT INTO installations (`+installationColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason, profile = excluded.profile,
			attempt = excluded.attempt, progress = excluded.progress, progress_text = excluded.progress_text,
			created_at = excluded.created_at, updated_at = excluded.updated_at, state_since = excluded.state_since,
			deadline = excluded.deadline, entered = excluded.entered, plan = excluded.plan`,
		i.ID, string(i.Serial), string(i.State), i.Reason, i.Profile, i.Attempt, i.Progress, i.ProgressText,
		micros(i.CreatedAt), micros(i.UpdatedAt), micros(i.StateSince), micros(i.Deadline), entered, blob(i.Plan))
	return err
}

func (s *Store) UpdateInstallation(ctx context.Context, id string,
	change func(*inventory.Installation) ([]inventory.Event, error)) (*inventory.Installation, error) {
	var stored inventory.Installation
	err := s.write(ctx, "update installation "+id, func(t *tx) error {
		inst, err := installation(ctx, t, id)
		if err != nil {
			return err
		}
		before := inst.Clone()
		events, err := change(inst)
		if err != nil {
			return err
		}
		now := time.Now()
		stored = inst.Clone() // change may have kept something of inst
		if err := inventory.NormalizeChange(&before, &stored, now); err != nil {
			return err
		}
		if events, err = prepare(events, now); err != nil {
			return err
		}
		if err := t.checkOpen(ctx, &stored); err != nil {
			return err
		}
		if err := t.putInstallation(&stored); err != nil {
			return err
		}
		return t.appendEvents(events)
	})
	if err != nil {
		return nil, err
	}
	return &stored, nil
}
