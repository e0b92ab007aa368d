package trust

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// NewSecret returns 256 random bits in URL-safe text. The prefix, if any, is kept in front with a dot: it lets the
// receiver find the record that the secret belongs to without trusting anything.
func NewSecret(prefix string) string {
	var b [32]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	s := base64.RawURLEncoding.EncodeToString(b[:])
	if prefix != "" {
		return prefix + "." + s
	}
	return s
}

// Prefix returns what [NewSecret] was given, or false if there is none.
func Prefix(secret string) (string, bool) {
	prefix, rest, ok := strings.Cut(secret, ".")
	return prefix, ok && prefix != "" && rest != ""
}

// Hash is what may be stored of a secret: its SHA-256 in hexadecimal. Secrets have 256 random bits, so no salt and no
// slow hash is needed.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Matches compares a secret with a stored hash in constant time. An empty hash matches nothing.
func Matches(secret, hash string) bool {
	return hash != "" && subtle.ConstantTimeCompare([]byte(Hash(secret)), []byte(hash)) == 1
}
