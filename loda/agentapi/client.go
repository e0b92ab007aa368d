package agentapi

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// The calls, for whoever serves them. Every body is JSON, every error problem+json (RFC 9457) with a detail for people.
//
//	POST PathSession   SessionRequest  → 200 Session; 401 or 403: the token is no good
//	GET  PathAction?wait=SECONDS       → 200 Action; 204: none within that time, ask again
//	POST PathProgress  Progress        → 204
//	POST PathResult    Result          → 204, also for a result that is known already
//	POST PathLog       []LogLine       → 204
//
// All but the first carry the session's secret in the Authorization header. 401 says that the session is over: the
// machine has to netboot again. 429 and 503 may carry Retry-After.

// ErrSessionLost is returned when the server does not know the session (any more).
var ErrSessionLost = errors.New("the server ended this session")

// ErrTokenRefused is returned by [Client.Exchange] when the boot token is used, expired or another machine's.
var ErrTokenRefused = errors.New("the server refused the boot token")

// A StatusError is an answer other than success.
type StatusError struct {
	Status int
	// Detail is what the server said about it, or the beginning of what it sent.
	Detail string
	// RetryAfter is how long the server wants to be left alone; 0: it did not say.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("HTTP status %d", e.Status)
	}
	return fmt.Sprintf("%s (HTTP status %d)", e.Detail, e.Status)
}

// Temporary reports whether the same request may succeed later without anybody's doing.
func (e *StatusError) Temporary() bool {
	return e.Status >= 500 || e.Status == 408 || e.Status == 425 || e.Status == 429
}

// ClientConfig says whom to talk to.
type ClientConfig struct {
	// Servers are base URLs, tried in turn; all of them https.
	Servers []string
	// Roots are the certificate authorities to trust; required, the system's are never used.
	Roots *x509.CertPool
	// Timeout bounds every call but the long poll, which gets [MaxWait] on top; 0 means 15 seconds.
	Timeout time.Duration
	// Now is the clock that certificates are verified by; nil means time.Now.
	Now func() time.Time
	// Dial replaces the dialer, for tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client is the agent's side of the protocol. It does not repeat calls: that is the agent's business. It is safe for
// concurrent use once it has a session.
type Client struct{}
