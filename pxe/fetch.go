package pxe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pin/tftp/v3"
)

// Fetched is a file that was fetched from a boot server, as a machine would.
type Fetched struct {
	URL string `json:"url"`
	// Bytes, SHA256 (hexadecimal digits) and Duration (nanoseconds in JSON) are of the whole file.
	Bytes    int64         `json:"bytes"`
	SHA256   string        `json:"sha256"`
	Duration time.Duration `json:"duration_ns"`
}

// fetchPatience is how long a boot server may be silent.
const fetchPatience = 3 * time.Second

// Fetch loads a file from a boot server and throws it away, to find out whether a machine could: tftp://HOST[:PORT]/NAME,
// in blocks of 1428 bytes as firmware does and block by block, or http://. It ends when ctx does, and when the server is
// silent for some seconds; the error then says what to look at.
func Fetch(ctx context.Context, address string) (*Fetched, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	f := &Fetched{URL: address}
	sum := &counted{Hash: sha256.New()}
	began := time.Now()
	switch u.Scheme {
	case "tftp":
		err = fetchTFTP(ctx, u, sum)
	case "http":
		err = fetchHTTP(ctx, u, sum)
	default:
		return nil, fmt.Errorf("%s: only tftp:// and http:// are boot servers", address)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	f.Bytes, f.SHA256, f.Duration = sum.n, hex.EncodeToString(sum.Sum(nil)), time.Since(began)
	return f, nil
}

func fetchTFTP(ctx context.Context, u *url.URL, sum *counted) error {
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "69")
	}
	c, err := tftp.NewClient(host)
	if err != nil {
		return err
	}
	c.SetTimeout(fetchPatience / 3)
	c.SetRetries(3)
	c.SetBlockSize(1428)
	sum.ctx = ctx // the library has no other way to be ended
	w, err := c.Receive(strings.TrimPrefix(u.Path, "/"), "octet")
	if err == nil {
		_, err = w.WriteTo(sum)
	}
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer: is UDP let through, to port %s and back from any port? %w", u.Port(), err)
	}
	return err
}

func fetchHTTP(ctx context.Context, u *url.URL, sum *counted) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: fetchPatience}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, ResponseHeaderTimeout: fetchPatience,
		DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return errors.Unwrap(err) // the outer one repeats the URL
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	_, err = io.Copy(sum, resp.Body)
	return err
}

// counted is a digest that knows how much went into it, and takes no more when ctx is done.
type counted struct {
	hash.Hash
	n   int64
	ctx context.Context
}

func (c *counted) Write(p []byte) (int, error) {
	if c.ctx != nil && c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	c.n += int64(len(p))
	return c.Hash.Write(p)
}
