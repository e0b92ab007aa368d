package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/project-loda/loda/inventory"
)

// querier is a [Store] that reads, or a tx.
type querier interface {
	query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// list runs a query and reads each row with scan.
func list[T any](ctx context.Context, q querier, scan func(*sql.Rows, *T) error, query string,
	args ...any) ([]T, error) {
	rows, err := q.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// one is list for a key: nil and [inventory.ErrNotFound] where there is no row.
func one[T any](ctx context.Context, q querier, scan func(*sql.Rows, *T) error, query string, args ...any) (*T, error) {
	all, err := list(ctx, q, scan, query, args...)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, inventory.ErrNotFound
	}
	return &all[0], nil
}

// moment is a time as a column keeps it.
type moment struct{ t *time.Time }

func (m moment) Scan(v any) error {
	var n sql.NullInt64
	if err := n.Scan(v); err != nil {
		return err
	}
	*m.t = time.Time{}
	if n.Valid {
		*m.t = time.UnixMicro(n.Int64).UTC()
	}
	return nil
}

func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// text is a string column that is NULL for an empty string.
type text[S ~string] struct{ s *S }

func (x text[S]) Scan(v any) error {
	var n sql.NullString
	if err := n.Scan(v); err != nil {
		return err
	}
	*x.s = S(n.String)
	return nil
}

func orNull[S ~string](s S) any {
	if s == "" {
		return nil
	}
	return string(s)
}

// document is a JSON column that is NULL for an empty value.
type document[T any] struct{ v *T }

func (d document[T]) Scan(v any) error {
	var n sql.NullString
	if err := n.Scan(v); err != nil || !n.Valid {
		return err
	}
	return json.Unmarshal([]byte(n.String), d.v)
}

// blob keeps a document as it is, nil for none.
func blob(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	return []byte(raw)
}
