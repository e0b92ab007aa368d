package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/project-loda/loda/inventory"
)

const tokenColumns = "id, hash, name, role, created_at, expires_at"

func scanToken(rows *sql.Rows, t *inventory.Token) error {
	return rows.Scan(&t.ID, &t.Hash, &t.Name, &t.Role, moment{&t.CreatedAt}, moment{&t.ExpiresAt})
}

func (s *Store) CreateToken(ctx context.Context, token inventory.Token) error {
	if err := token.Normalize(time.Now()); err != nil {
		return err
	}
	return s.write(ctx, "create token "+token.ID, func(t *tx) error {
		old, err := one(ctx, t, scanToken, "SELECT "+tokenColumns+
			" FROM tokens WHERE id = ? OR hash = ? ORDER BY id = ? DESC",
			token.ID, token.Hash, token.ID)
		switch {
		case errors.Is(err, inventory.ErrNotFound):
		case err != nil:
			return err
		case old.ID == token.ID:
			return &inventory.ConflictError{What: "token ID " + token.ID, Owner: fmt.Sprintf("token %q", old.Name)}
		default:
			return &inventory.ConflictError{What: "the secret of token " + token.ID, Owner: "token " + old.ID}
		}
		_, err = t.exec("INSERT INTO tokens ("+tokenColumns+") VALUES (?, ?, ?, ?, ?, ?)", token.ID, token.Hash, token.Name,
			token.Role, micros(token.CreatedAt), micros(token.ExpiresAt))
		return err
	})
}

func (s *Store) TokenByHash(ctx context.Context, hash string) (*inventory.Token, error) {
	t, err := one(ctx, s, scanToken, "SELECT "+tokenColumns+" FROM tokens WHERE hash = ?", hash)
	if errors.Is(err, inventory.ErrNotFound) {
		err = fmt.Errorf("token: %w", err)
	}
	return t, s.fail(ctx, "read a token", err)
}

func (s *Store) Tokens(ctx context.Context) ([]inventory.Token, error) {
	ts, err := list(ctx, s, scanToken, "SELECT "+tokenColumns+" FROM tokens ORDER BY created_at, id")
	return ts, s.fail(ctx, "list tokens", err)
}

func (s *Store) DeleteToken(ctx context.Context, id string) error {
	return s.write(ctx, "delete token "+id, func(t *tx) error {
		res, err := t.exec("DELETE FROM tokens WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("token %s: %w", id, inventory.ErrNotFound))
		}
		return nil
	})
}
