package gitsource

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// This is what https and ssh have in common: git's pack protocol, version 0, as gitprotocol-pack(5) describes it. The
// messages are go-git's. Its client is not used, because it takes a pack of any size with objects of any size; because
// it does not ask for thin packs, without which a shallow fetch is never incremental; and because neither a context nor
// a deadline ends its handshake with an ssh server that says nothing.

const (
	maxAdvertisement = 16 << 20
	maxHaves         = 256
	agent            = "loda"
)

// readAdvertisement reads the references that a server has.
func readAdvertisement(r io.Reader) (a advertisement, caps *capability.List, err error) {
	defer func() {
		if p := recover(); p != nil { // it is text from outside
			err = fmt.Errorf("the server's list of references cannot be read: %v", p)
		}
	}()
	limited := &io.LimitedReader{R: r, N: maxAdvertisement}
	refs := packp.NewAdvRefs()
	if err := refs.Decode(limited); err != nil {
		if errors.Is(err, packp.ErrEmptyAdvRefs) {
			return advertisement{}, capability.NewList(), nil
		}
		if limited.N <= 0 {
			return a, nil, fmt.Errorf("the server's list of references is longer than %d MiB", maxAdvertisement>>20)
		}
		return a, nil, fmt.Errorf("the server's list of references cannot be read: %w", sanitized{err})
	}
	a = advertisement{byName: refs.References, peeled: refs.Peeled}
	a.byNumber = refs.Capabilities.Supports(capability.AllowReachableSHA1InWant) ||
		refs.Capabilities.Supports(capability.AllowTipSHA1InWant)
	if refs.Head != nil {
		a.head = *refs.Head
	}
	if f := refs.Capabilities.Get("object-format"); len(f) > 0 && f[0] != "sha1" {
		return a, nil, fmt.Errorf("the repository uses %s digests: only SHA-1 repositories are supported", oneLine(f[0], 20))
	}
	return a, refs.Capabilities, nil
}

// sanitized is an error that holds text of the other side.
type sanitized struct{ error }

func (e sanitized) Error() string { return oneLine(e.error.Error(), 500) }
func (e sanitized) Unwrap() error { return e.error }

// encodeRequest writes a request as the server wants it.
func encodeRequest(req request, caps *capability.List) ([]byte, error) {
	up := packp.NewUploadRequest()
	up.Wants = req.wants
	need := func(c capability.Capability) error {
		if !caps.Supports(c) {
			return fmt.Errorf("the server does not know %q: a git server of 2010 or later is needed", c)
		}
		return up.Capabilities.Set(c)
	}
	if err := need(capability.Sideband64k); err != nil {
		return nil, err
	}
	if req.shallow {
		if err := need(capability.Shallow); err != nil {
			return nil, err
		}
		up.Depth = packp.DepthCommits(1)
	}
	// Without thin-pack, git sends all files each time: of a commit whose parents are cut off, it looks at what we have
	// only to find bases for deltas (`--objects-edge-aggressive` in git 2.39's builtin/pack-objects.c).
	for _, c := range []capability.Capability{capability.ThinPack, capability.OFSDelta, capability.NoProgress} {
		if caps.Supports(c) {
			if err := up.Capabilities.Set(c); err != nil {
				return nil, err
			}
		}
	}
	if caps.Supports(capability.Agent) {
		if err := up.Capabilities.Set(capability.Agent, agent); err != nil {
			return nil, err
		}
	}
	have := req.have[:min(len(req.have), maxHaves)]
	if req.shallow {
		// Without them, a server takes us to have all that older commits consist of, and leaves it out.
		up.Shallows = have
	}
	var b bytes.Buffer
	if err := up.Encode(&b); err != nil {
		return nil, err
	}
	for _, h := range have {
		writePkt(&b, "have "+h.String()+"\n")
	}
	writePkt(&b, "done\n")
	return b.Bytes(), nil
}

func writePkt(b *bytes.Buffer, line string) { fmt.Fprintf(b, "%04x%s", len(line)+4, line) }

// readPkt reads one packet. A flush packet is nil without an error.
func readPkt(r io.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the server sent %q where the length of a packet was expected", head[:])
	case n == 0:
		return nil, nil
	case n < 4 || int(n)-4 > len(buf):
		return nil, fmt.Errorf("the server sent a packet of length %d", n)
	}
	_, err = io.ReadFull(r, buf[:n-4])
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return buf[:n-4], err
}

// readPack reads a server's answer and writes the pack in it.
func readPack(r io.Reader, w io.Writer, limit int64) (int64, error) {
	br := bufio.NewReaderSize(r, 128<<10)
	buf := make([]byte, 65520)
	var got int64
	for lines := 0; ; lines++ {
		p, err := readPkt(br, buf)
		if errors.Is(err, io.EOF) {
			if got == 0 {
				return got, errors.New("the server sent nothing")
			}
			return got, fmt.Errorf("the server stopped after %d bytes: %w", got, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return got, sanitized{err}
		}
		switch {
		case p == nil:
			if got > 0 {
				return got, nil
			}
			// The flush that ends the shallow lines.
		case bytes.HasPrefix(p, []byte("ERR ")):
			return got, fmt.Errorf("the server says: %s", oneLine(string(p[4:]), 500))
		case got == 0 && len(p) > 0 && p[0] > 3:
			// Lines before the pack: shallow, unshallow, ACK, NAK. They say nothing that we do not find out ourselves.
			if lines > 1_000_000 {
				return got, errors.New("the server sends no pack")
			}
		case len(p) > 0 && p[0] == 1:
			got += int64(len(p) - 1)
			if got > limit {
				return got, tooMuch("a fetch takes more than %s: is there a big file in the repository? "+
					"`git ls-tree -r -l HEAD | sort -n -k 4 | tail` shows the biggest", mebibytes(limit))
			}
			if _, err := w.Write(p[1:]); err != nil {
				return got, err
			}
		case len(p) > 0 && p[0] == 2: // progress
		case len(p) > 0 && p[0] == 3:
			return got, fmt.Errorf("the server says: %s", oneLine(string(p[1:]), 500))
		default:
			return got, fmt.Errorf("the server sent %q where a part of the pack was expected", oneLine(string(p), 100))
		}
	}
}

func mebibytes(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// receive takes a server's answer into the copy. The pack is a file meanwhile, because what its deltas refer to may
// stand anywhere in it.
func receive(r io.Reader, into *store, limits Limits) (int64, error) {
	f, err := os.CreateTemp(into.dir, tempPrefix)
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	n, err := readPack(r, f, limits.Pack)
	if err != nil {
		return n, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return n, err
	}
	return n, unpack(f, into, limits)
}
