package inventory

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// A Token lets an API client in. Only a hash of the secret is kept.
type Token struct {
	// ID is public and names the token in listings and in audit events.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Role is a role of the API (viewer, operator, admin); stores do not look into it.
	Role string `json:"role"`
	// Hash is the SHA-256 of the secret, in hexadecimal.
	Hash      string    `json:"-"`
	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt is when the token ends; zero: never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

var tokenHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Normalize brings t into the form in which stores keep it: a zero CreatedAt becomes now, times become a [Moment]. A
// token without an ID, or whose Hash is not a SHA-256 in lower-case hexadecimal, is refused.
func (t *Token) Normalize(now time.Time) error {
	if t.ID == "" {
		return errors.New("token has no ID")
	}
	if !tokenHash.MatchString(t.Hash) {
		return fmt.Errorf("the hash of token %s is not a SHA-256 in lower-case hexadecimal", t.ID)
	}
	t.CreatedAt, t.ExpiresAt = orNow(t.CreatedAt, now), Moment(t.ExpiresAt)
	return nil
}

// TokenStore remembers API tokens. Implementations are safe for concurrent use.
type TokenStore interface {
	// CreateToken stores a token; an ID or Hash that exists is a [*ConflictError]. A zero CreatedAt becomes the
	// present.
	CreateToken(ctx context.Context, t Token) error
	// TokenByHash returns the token with that hash, expired or not, or [ErrNotFound].
	TokenByHash(ctx context.Context, hash string) (*Token, error)
	// Tokens returns all tokens ordered by CreatedAt, then ID.
	Tokens(ctx context.Context) ([]Token, error)
	// DeleteToken revokes a token by ID; [ErrNotFound] if there is none.
	DeleteToken(ctx context.Context, id string) error
}
