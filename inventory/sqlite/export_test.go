package sqlite

import "context"

// Pragma reads a setting of the connection that writes.
func (s *Store) Pragma(ctx context.Context, name string) (v string, err error) {
	err = s.write(ctx, "read a pragma", func(t *tx) error {
		rows, err := t.query(ctx, "PRAGMA "+name)
		if err != nil {
			return err
		}
		defer rows.Close()
		rows.Next()
		return rows.Scan(&v)
	})
	return v, err
}

// Plan explains how SQLite reads what query asks for.
func (s *Store) Plan(ctx context.Context, query string, args ...any) (lines []string, err error) {
	rows, err := s.query(ctx, "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var line string
		if err := rows.Scan(&id, &parent, &unused, &line); err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, rows.Err()
}
