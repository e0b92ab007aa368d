package gitsource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Sync looks at the remote now, fetches what is new, checks it and puts it into use. It waits for a Sync that is at
// work; several that wait share the next one. The error says that the remote could not be asked or its answer not be
// used: what was in use stays so. A commit that is refused is no error, but in the status.
func (s *Source) Sync(ctx context.Context) (Status, error) {
	s.mu.Lock()
	seen := s.started
	s.mu.Unlock()
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return s.Status(), fmt.Errorf("waiting for the fetch of %s that is at work: %w", s.cfg.URL, ctx.Err())
	}
	defer func() { <-s.turn }()
	if s.last.shared && s.last.seq > seen {
		return s.last.status, s.last.err
	}

	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return Status{}, fmt.Errorf("fetching %s: %w", s.cfg.URL, ErrClosed)
	}
	s.started++
	seq := s.started
	select {
	case <-s.wake: // this fetch begins after the trigger, so it serves it
	default:
	}
	s.status.Fetches++
	s.status.LastAttempt = s.cfg.Now()
	var err error
	if s.damaged {
		err = s.load()
	}
	s.mu.Unlock()

	if err == nil {
		err = s.fetch(ctx)
	}
	err = errors.Join(err, s.tidy())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record(ctx, err)
	s.last = outcome{seq: seq, status: s.snapshot(), err: err, shared: ctx.Err() == nil}
	return s.last.status, err
}

// record notes how a fetch ended, under mu.
func (s *Source) record(ctx context.Context, err error) {
	now := s.cfg.Now()
	if err == nil {
		if s.status.LastError != "" {
			s.log.Info("The config repository can be fetched again", "failing_since", s.status.FailingSince)
		}
		s.status.LastSuccess, s.status.LastError, s.status.FailingSince = now, "", time.Time{}
		return
	}
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return // whoever asked went away, which says nothing about the remote
	}
	s.status.Failures++
	if text := oneLine(err.Error(), maxReason); text != s.status.LastError {
		s.log.Error("The config repository cannot be fetched; what is in use stays so", "error", err)
		s.status.LastError = text
	}
	if s.status.FailingSince.IsZero() {
		s.status.FailingSince = now
	}
}

// fetch does the work of Sync. Only it adds objects, under turn.
func (s *Source) fetch(ctx context.Context) (err error) {
	doing := "fetching the config repository " + s.cfg.URL
	defer func() {
		if p := recover(); p != nil { // go-git's parsers read what a server sends
			s.log.Error("The program failed on what a git server sent", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s: the program failed on what the server sent, see the log: %v", doing, p)
		}
	}()
	limited, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout,
		fmt.Errorf("no end after %s: the server is too slow or does not answer", s.cfg.Timeout))
	defer cancel()

	h, err := s.obtain(limited)
	var tooMuch *limitError
	if errors.As(err, &tooMuch) {
		return s.refuse(Commit{Hash: h.String()}, err)
	}
	if err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w (%w)", doing, context.Cause(limited), err)
		}
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := s.consider(ctx, h); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	s.searchLost(ctx)
	return nil
}

// obtain returns the commit that the remote has now, and sees to it that it is in the copy. With a limitError it
// returns the commit that is beyond it.
func (s *Source) obtain(ctx context.Context) (plumbing.Hash, error) {
	sess, err := s.remote.open(ctx)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer sess.close()
	want, err := resolve(s.cfg.Ref, sess.refs())
	if err != nil {
		return plumbing.ZeroHash, err
	}
	s.mu.Lock()
	roots, have, store := s.roots(), s.haves(), s.store
	again := s.checked && s.status.Refused != nil && s.status.Refused.Commit.Hash == want.commit.String()
	s.untidy = s.untidy || !roots[want.commit]
	s.mu.Unlock()
	if roots[want.commit] || again {
		return want.commit, nil
	}

	req := request{wants: []plumbing.Hash{want.object}, have: have, shallow: true}
	if s.cfg.Ref.Commit != "" {
		if req, err = sess.refs().find(want.commit, have); err != nil {
			return want.commit, err
		}
	}
	n, err := sess.fetch(ctx, req, store)
	s.mu.Lock()
	s.status.Received += uint64(n)
	s.mu.Unlock()
	if err != nil {
		return want.commit, err
	}
	h, err := store.peel(want.object)
	if errors.Is(err, errAbsent) && s.cfg.Ref.Commit != "" {
		return h, fmt.Errorf("no branch or tag of the repository leads to commit %s", h)
	}
	if err != nil {
		return h, fmt.Errorf("what %s names cannot be used: %w", s.cfg.Ref, err)
	}
	// A server that leaves out what it believes to be here would be noticed in the middle of an installation.
	if err := store.each(h, map[plumbing.Hash]bool{}, false, 0); err != nil {
		return h, fmt.Errorf("the server sent commit %s incompletely: %w", h, err)
	}
	return h, nil
}

// consider decides about the commit that the remote has.
func (s *Source) consider(ctx context.Context, h plumbing.Hash) error {
	s.mu.Lock()
	store, log := s.store, s.log
	current := s.status.Commit != nil && s.status.Commit.Hash == h.String()
	known := s.checked && s.status.Refused != nil && s.status.Refused.Commit.Hash == h.String()
	s.mu.Unlock()
	if known {
		return nil
	}
	if current {
		return s.forgiveRefused(h)
	}
	c, err := store.commit(h)
	if err != nil {
		return err
	}
	commit := describe(c)
	tree, err := newTreeFS(store, h, s.cfg.Limits.Blob, s.noticeDamage)
	if err != nil {
		return err
	}
	if err := s.check(ctx, commit, tree); err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) || errors.Is(err, errDamaged) || errors.Is(err, errAbsent) {
			return fmt.Errorf("checking commit %s: %w", h, err)
		}
		return s.refuse(commit, err)
	}
	if err := s.adopt(h, commit); err != nil {
		return err
	}
	log.Info("Another commit of the config repository is in use", "commit", commit.Hash, "author", commit.Author,
		"time", commit.Time, "message", commit.Message)
	if s.cfg.Changed != nil {
		s.cfg.Changed(commit)
	}
	return nil
}

func (s *Source) check(ctx context.Context, c Commit, tree fs.FS) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// A commit that ends the program would do so again at each start.
			s.log.Error("The check of a commit failed in the program itself", "commit", c.Hash, "panic", p,
				"stack", string(debug.Stack()))
			err = fmt.Errorf("the check failed in the program itself, see the log: %v", p)
		}
	}()
	if err := Inspect(tree, s.cfg.Limits); err != nil {
		return err
	}
	if s.cfg.Check == nil {
		return nil
	}
	return s.cfg.Check(ctx, c, tree)
}

// flush may take long on a busy disk, so nobody waits for it under mu. Only Sync replaces the store.
func (s *Source) flush() error {
	s.mu.Lock()
	store := s.store
	s.mu.Unlock()
	return store.flush()
}

// adopt puts a commit into use.
func (s *Source) adopt(h plumbing.Hash, c Commit) error {
	if err := s.flush(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if s.status.Commit != nil {
		if err := s.retire(plumbing.NewHash(s.status.Commit.Hash), now); err != nil {
			return err
		}
	}
	if err := s.store.setRef(refCurrent, h); err != nil {
		return err
	}
	s.status.Commit, s.status.FetchedAt = &c, now
	if err := s.dropRefused(); err != nil {
		return err
	}
	return s.save()
}

// forgiveRefused notes that the remote is back at the commit in use.
func (s *Source) forgiveRefused(h plumbing.Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Refused == nil && s.refused.IsZero() {
		return nil
	}
	s.log.Info("The config repository is back at the commit in use; the refused one is gone", "commit", h.String())
	if err := s.dropRefused(); err != nil {
		return err
	}
	return s.save()
}

func (s *Source) dropRefused() error {
	s.status.Refused, s.refused, s.checked, s.untidy = nil, plumbing.ZeroHash, false, true
	return s.store.removeRef(refRefused)
}

// refuse notes why a commit is not used. It is kept for people to look at, unless it was too big.
func (s *Source) refuse(c Commit, cause error) error {
	if err := s.flush(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := plumbing.NewHash(c.Hash)
	since := s.cfg.Now()
	if s.status.Refused != nil && s.status.Refused.Commit.Hash == c.Hash {
		since = s.status.Refused.Since // a restart does not make it younger
	}
	if err := s.dropRefused(); err != nil {
		return err
	}
	s.status.Refused = &Refusal{Commit: c, Errors: reasons(cause), Since: since}
	s.status.Refusals++
	s.checked = true
	inUse := "none"
	if s.status.Commit != nil {
		inUse = s.status.Commit.Hash
	}
	s.log.Error("A commit of the config repository is refused; the last good one stays in use", "refused", c.Hash,
		"author", c.Author, "message", c.Message, "in_use", inUse, "errors", s.status.Refused.Errors)
	var tooMuch *limitError
	if !errors.As(cause, &tooMuch) {
		if err := s.store.setRef(refRefused, h); err != nil {
			return err
		}
		s.refused = h
	}
	return s.save()
}

// searchLost asks the remote, once for each, for pinned commits that the copy lost. Not all servers give commits by
// their number.
func (s *Source) searchLost(ctx context.Context) {
	s.mu.Lock()
	var search []plumbing.Hash
	for h := range s.lost {
		if !s.searched[h] {
			s.searched[h] = true
			search = append(search, h)
		}
	}
	store, have := s.store, s.haves()
	s.untidy = s.untidy || len(search) > 0
	s.mu.Unlock()
	for _, h := range search {
		if err := s.recall(ctx, h, store, have); err != nil {
			s.log.Error("A commit that an installation was planned with is lost", "commit", h.String(), "error", err)
			continue
		}
		s.log.Info("A commit that was missing in the local copy was fetched again", "commit", h.String())
	}
}

func (s *Source) recall(ctx context.Context, h plumbing.Hash, store *store, have []plumbing.Hash) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	sess, err := s.remote.open(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	req, err := sess.refs().find(h, have)
	if err != nil {
		return err
	}
	n, err := sess.fetch(ctx, req, store)
	if err == nil {
		err = store.each(h, map[plumbing.Hash]bool{}, false, 0)
	}
	if err == nil {
		err = store.flush()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Received += uint64(n)
	if err == nil {
		err = store.setRef(filepath.Join(dirPinned, h.String()), h)
	}
	if err != nil {
		return err
	}
	s.pinned[h] = true
	delete(s.lost, h)
	return s.save()
}

// tidy removes what nobody needs any more. Under turn, so no fetch is at work.
func (s *Source) tidy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	expired := s.cfg.Now().Add(-s.cfg.Grace)
	dropped := false
	for h, since := range s.recent {
		if since.After(expired) {
			continue
		}
		if err := s.store.removeRef(filepath.Join(dirRecent, h.String())); err != nil {
			return fmt.Errorf("letting go of commit %s: %w", h, err)
		}
		delete(s.recent, h)
		delete(s.trees, h)
		dropped = true
	}
	if !s.untidy && !dropped {
		return nil
	}
	keep := map[plumbing.Hash]bool{}
	for h := range s.roots() {
		if err := s.store.each(h, keep, false, 0); err != nil {
			s.damaged = true
			return fmt.Errorf("tidying the local copy: commit %s: %w", h, err)
		}
	}
	if _, err := s.store.sweep(keep); err != nil {
		return fmt.Errorf("tidying the local copy: %w", err)
	}
	s.untidy = false
	if dropped {
		return s.save()
	}
	return nil
}
