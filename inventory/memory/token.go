package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/project-loda/loda/inventory"
)

func (s *Store) CreateToken(ctx context.Context, t inventory.Token) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.Normalize(time.Now()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.tokens {
		if old.ID == t.ID || old.Hash == t.Hash {
			return tokenConflict(&t, &old)
		}
	}
	s.tokens[t.ID] = t
	return nil
}

func tokenConflict(t, old *inventory.Token) error {
	if old.ID == t.ID {
		return &inventory.ConflictError{What: "token ID " + t.ID, Owner: fmt.Sprintf("token %q", old.Name)}
	}
	return &inventory.ConflictError{What: "the secret of token " + t.ID, Owner: "token " + old.ID}
}

func (s *Store) TokenByHash(ctx context.Context, hash string) (*inventory.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, t := range s.tokens {
		if t.Hash == hash {
			return &t, nil
		}
	}
	return nil, fmt.Errorf("token: %w", inventory.ErrNotFound)
}

func (s *Store) Tokens(ctx context.Context) ([]inventory.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []inventory.Token
	for _, t := range s.tokens {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b inventory.Token) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

func (s *Store) DeleteToken(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.tokens[id]; !ok {
		return fmt.Errorf("token %s: %w", id, inventory.ErrNotFound)
	}
	delete(s.tokens, id)
	return nil
}
