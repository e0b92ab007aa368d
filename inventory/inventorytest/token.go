package inventorytest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
)

// RunTokens tests a store of API tokens.
func RunTokens(t *testing.T, open func(t *testing.T) inventory.TokenStore) {
	check(t, open, []statement[inventory.TokenStore]{
		{"a token is found by its hash as it was created", tokenRoundTrip},
		{"an unknown hash is not found", tokenNotFound},
		{"an expired token is still found", tokenExpired},
		{"an ID or a hash is given once", tokenConflict},
		{"a token without ID or with half a hash is refused", tokenInvalid},
		{"tokens are listed in the order of their creation", tokenOrder},
		{"a revoked token is gone and its ID free", tokenDelete},
		{"a context that has ended stores and returns nothing", tokenContext},
	})
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func token(id string) inventory.Token {
	return inventory.Token{ID: id, Name: "of " + id, Role: "viewer", Hash: hash(id), CreatedAt: moment(1),
		ExpiresAt: moment(2)}
}

func tokenRoundTrip(t *testing.T, s inventory.TokenStore) {
	a := token("a")
	b := inventory.Token{ID: "b", Hash: hash("b")}
	require.NoError(t, s.CreateToken(t.Context(), a))
	require.NoError(t, s.CreateToken(t.Context(), b))
	got, err := s.TokenByHash(t.Context(), a.Hash)
	require.NoError(t, err)
	require.Equal(t, a, *got)
	got, err = s.TokenByHash(t.Context(), b.Hash)
	require.NoError(t, err)
	recent(t, got.CreatedAt)
	require.True(t, got.ExpiresAt.IsZero())
	b.CreatedAt = got.CreatedAt
	require.Equal(t, b, *got)
}

func tokenNotFound(t *testing.T, s inventory.TokenStore) {
	require.NoError(t, s.CreateToken(t.Context(), token("a")))
	for _, h := range []string{hash("b"), "", "a", hash("a")[:63]} {
		_, err := s.TokenByHash(t.Context(), h)
		require.ErrorIs(t, err, inventory.ErrNotFound)
	}
	require.ErrorIs(t, s.DeleteToken(t.Context(), "b"), inventory.ErrNotFound)
}

func tokenExpired(t *testing.T, s inventory.TokenStore) {
	old := token("a")
	old.ExpiresAt = inventory.Moment(time.Now().Add(-time.Hour))
	require.NoError(t, s.CreateToken(t.Context(), old))
	got, err := s.TokenByHash(t.Context(), old.Hash)
	require.NoError(t, err)
	require.Equal(t, old, *got)
}

func tokenConflict(t *testing.T, s inventory.TokenStore) {
	require.NoError(t, s.CreateToken(t.Context(), token("a")))
	sameID := token("b")
	sameID.ID = "a"
	conflict(t, s.CreateToken(t.Context(), sameID), "a")
	sameHash := token("b")
	sameHash.Hash = token("a").Hash
	err := s.CreateToken(t.Context(), sameHash)
	conflict(t, err, "b")
	require.NotContains(t, err.Error(), sameHash.Hash, "an error does not print what is kept secret")
	all, err := s.Tokens(t.Context())
	require.NoError(t, err)
	require.Equal(t, []inventory.Token{token("a")}, all)
}

func tokenInvalid(t *testing.T, s inventory.TokenStore) {
	for _, bad := range []inventory.Token{{Hash: hash("a")}, {ID: "a"}, {ID: "a", Hash: hash("a")[:60]},
		{ID: "a", Hash: "the secret itself"}} {
		require.Error(t, s.CreateToken(t.Context(), bad))
	}
	all, err := s.Tokens(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
}

func tokenOrder(t *testing.T, s inventory.TokenStore) {
	for i, id := range []string{"c", "a", "d", "b"} {
		tok := token(id)
		tok.CreatedAt = moment(10 - i/2)
		require.NoError(t, s.CreateToken(t.Context(), tok))
	}
	all, err := s.Tokens(t.Context())
	require.NoError(t, err)
	var order []string
	for _, tok := range all {
		order = append(order, tok.ID)
	}
	require.Equal(t, []string{"b", "d", "a", "c"}, order)
}

func tokenDelete(t *testing.T, s inventory.TokenStore) {
	require.NoError(t, s.CreateToken(t.Context(), token("a")))
	require.NoError(t, s.CreateToken(t.Context(), token("b")))
	require.NoError(t, s.DeleteToken(t.Context(), "a"))
	_, err := s.TokenByHash(t.Context(), hash("a"))
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.ErrorIs(t, s.DeleteToken(t.Context(), "a"), inventory.ErrNotFound)
	require.NoError(t, s.CreateToken(t.Context(), token("a")))
	all, err := s.Tokens(t.Context())
	require.NoError(t, err)
	require.Equal(t, []inventory.Token{token("a"), token("b")}, all)
}

func tokenContext(t *testing.T, s inventory.TokenStore) {
	require.NoError(t, s.CreateToken(t.Context(), token("a")))
	require.ErrorIs(t, s.CreateToken(ended(), token("b")), context.Canceled)
	_, err := s.TokenByHash(ended(), hash("a"))
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Tokens(ended())
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.DeleteToken(ended(), "a"), context.Canceled)
	all, err := s.Tokens(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
}
