package gitsource

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Status is what is known about a repository at one moment.
type Status struct {
	URL string `json:"url"`
	Ref Ref    `json:"ref"`
	// Commit is the one in use, nil while there is none. FetchedAt is when it came into use here.
	Commit    *Commit   `json:"commit,omitempty"`
	FetchedAt time.Time `json:"fetched_at,omitzero"`
	// Refused is the commit that the remote has and that is not used.
	Refused *Refusal `json:"refused,omitempty"`
	// LastError says why the last fetch failed, and since when fetches fail. Empty after one that succeeded, also one
	// that found nothing new or a commit to refuse.
	LastError    string    `json:"last_error,omitempty"`
	FailingSince time.Time `json:"failing_since,omitzero"`
	LastAttempt  time.Time `json:"last_attempt,omitzero"`
	LastSuccess  time.Time `json:"last_success,omitzero"`
	NextPoll     time.Time `json:"next_poll,omitzero"`
	// Fetches, Failures and Refusals count since the process started, and only grow. Received is in bytes, of the
	// packs that were transferred.
	Fetches  uint64 `json:"fetches"`
	Failures uint64 `json:"failures"`
	Refusals uint64 `json:"refusals"`
	Received uint64 `json:"received"`
	// Pinned is the number of commits that Keep keeps, Lost those that it was asked to keep and that are not here.
	Pinned int      `json:"pinned"`
	Lost   []string `json:"lost,omitempty"`
}

// Commit is what is told about a commit. Its texts are one line each, without control characters, and cut to 200.
type Commit struct {
	Hash   string `json:"hash"`
	Author string `json:"author,omitempty"`
	Email  string `json:"email,omitempty"`
	// Time is the committer's, Authored the author's.
	Time     time.Time `json:"time,omitzero"`
	Authored time.Time `json:"authored,omitzero"`
	// Message is the first line of the message.
	Message string `json:"message,omitempty"`
}

// Refusal says why a commit is not used. Of a commit that was too big to be fetched, only the hash is known.
type Refusal struct {
	Commit Commit    `json:"commit"`
	Errors []string  `json:"errors"`
	Since  time.Time `json:"since"`
}

func describe(c *object.Commit) Commit {
	first, _, _ := strings.Cut(strings.TrimLeft(c.Message, "\n"), "\n")
	return Commit{
		Hash: c.Hash.String(), Author: oneLine(c.Author.Name, 200), Email: oneLine(c.Author.Email, 200),
		Time: sane(c.Committer.When), Authored: sane(c.Author.When), Message: oneLine(first, 200),
	}
}

// sane keeps times that JSON cannot write from the status: a commit may claim any.
func sane(t time.Time) time.Time {
	t = t.UTC()
	if y := t.Year(); y < 1970 || y > 9999 {
		return time.Time{}
	}
	return t
}

// oneLine makes a text that somebody else wrote fit for a log and a terminal.
func oneLine(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}

const (
	maxReasons = 100
	maxReason  = 2000
)

// reasons takes errors that were joined apart.
func reasons(err error) []string {
	var all []string
	var walk func(error)
	walk = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok && isJoin(err, joined.Unwrap()) {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
			return
		}
		all = append(all, oneLine(err.Error(), maxReason))
	}
	walk(err)
	if n := len(all); n > maxReasons {
		all = append(all[:maxReasons:maxReasons], fmt.Sprintf("and %d more", n-maxReasons))
	}
	return all
}

// isJoin tells errors.Join, whose text is that of its parts, from fmt.Errorf with several %w, whose text is its own.
func isJoin(err error, parts []error) bool {
	return err.Error() == errors.Join(parts...).Error()
}

// state is what a copy remembers besides its references. It may be lost: then the times are.
type state struct {
	URL         string               `json:"url"`
	Commit      string               `json:"commit,omitempty"`
	FetchedAt   time.Time            `json:"fetched_at,omitzero"`
	LastSuccess time.Time            `json:"last_success,omitzero"`
	Refused     *Refusal             `json:"refused,omitempty"`
	Recent      map[string]time.Time `json:"recent,omitempty"`
	Lost        []string             `json:"lost,omitempty"`
}

func (s *Source) statePath() string { return filepath.Join(s.cfg.Dir, "state.json") }

// save is called under mu.
func (s *Source) save() error {
	st := state{
		URL: s.cfg.URL, FetchedAt: s.status.FetchedAt, LastSuccess: s.status.LastSuccess, Refused: s.status.Refused,
		Recent: map[string]time.Time{}, Lost: s.snapshot().Lost,
	}
	if s.status.Commit != nil {
		st.Commit = s.status.Commit.Hash
	}
	for h, since := range s.recent {
		st.Recent[h.String()] = since
	}
	raw, err := json.MarshalIndent(st, "", "\t")
	if err != nil {
		return fmt.Errorf("describing the local copy: %w", err)
	}
	if err := writeFile(s.statePath(), append(raw, '\n')); err != nil {
		return err
	}
	return s.store.setShallow(slices.Collect(maps.Keys(s.roots())))
}

func (s *Source) readState() state {
	var st state
	raw, err := os.ReadFile(s.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return st
	}
	if err == nil {
		err = json.Unmarshal(raw, &st)
	}
	if err != nil {
		s.log.Warn("The notes about the local copy cannot be read: times start anew", "file", s.statePath(), "error", err)
		return state{}
	}
	return st
}

// load reads the copy, and repairs it if need be. It is called by Open, and by Sync under mu and turn.
func (s *Source) load() error {
	st := s.readState()
	repo := filepath.Join(s.cfg.Dir, "repo.git")
	store, err := openStore(repo)
	var found kept
	if err == nil {
		found, err = store.roots()
	}
	var whole map[plumbing.Hash]bool
	if err == nil {
		whole, err = store.verify(found, s.cfg.Limits.Blob)
	}
	var lost []plumbing.Hash
	if errors.Is(err, errDamaged) || errors.Is(err, errAbsent) {
		store, found, lost, err = s.rebuild(repo, st, err)
	} else if err == nil {
		// What a fetch had written when the power was cut may be damaged and is named by nothing yet. It goes before the
		// next fetch takes it for granted.
		_, err = store.sweep(whole)
	}
	if err != nil {
		return err
	}

	s.store, s.trees = store, map[plumbing.Hash]*treeFS{}
	s.status.Commit, s.status.Refused, s.refused = nil, nil, found.refused
	s.status.FetchedAt, s.status.LastSuccess = time.Time{}, st.LastSuccess
	if !found.current.IsZero() {
		c, err := store.commit(found.current)
		if err != nil {
			return err
		}
		d := describe(c)
		s.status.Commit = &d
		if st.Commit == d.Hash {
			s.status.FetchedAt = st.FetchedAt
		}
		if st.URL != "" && st.URL != s.cfg.URL {
			s.log.Warn("The repository has another address now; the commit that came from the old one stays in use until "+
				"the new one has been fetched", "old", oneLine(st.URL, 200), "commit", d.Hash)
		}
	}
	if st.Refused != nil && plumbing.NewHash(st.Refused.Commit.Hash) == found.refused {
		s.status.Refused = st.Refused
	}
	s.pinned, s.recent = map[plumbing.Hash]bool{}, map[plumbing.Hash]time.Time{}
	for _, h := range found.pinned {
		s.pinned[h] = true
	}
	for _, h := range found.recent {
		since, ok := st.Recent[h.String()]
		if !ok || since.After(s.cfg.Now()) {
			since = s.cfg.Now()
		}
		s.recent[h] = since
	}
	for _, h := range lost {
		s.lost[h] = true
	}
	for _, h := range st.Lost {
		if plumbing.IsHash(h) && !s.pinned[plumbing.NewHash(h)] {
			s.lost[plumbing.NewHash(h)] = true
		}
	}
	s.untidy, s.damaged = false, false
	return s.save()
}

// kept is what the references of a copy say.
type kept struct {
	current, refused plumbing.Hash
	pinned, recent   []plumbing.Hash
}

func (s *store) roots() (kept, error) {
	var k kept
	var errs [4]error
	k.current, errs[0] = s.ref(refCurrent)
	k.refused, errs[1] = s.ref(refRefused)
	k.pinned, errs[2] = s.refs(dirPinned)
	k.recent, errs[3] = s.refs(dirRecent)
	return k, errors.Join(errs[:]...)
}

// verify reads all that is kept, and returns it.
func (s *store) verify(k kept, maxBlob int64) (map[plumbing.Hash]bool, error) {
	seen := map[plumbing.Hash]bool{}
	for _, h := range append([]plumbing.Hash{k.current, k.refused}, append(k.pinned, k.recent...)...) {
		if h.IsZero() {
			continue
		}
		// A limit that was lowered since does not make a file damaged.
		if err := s.each(h, seen, true, max(maxBlob, maxNode)); err != nil {
			return nil, fmt.Errorf("commit %s: %w", h, err)
		}
	}
	return seen, nil
}

// rebuild sets a damaged copy aside and takes over what is whole in it. It returns the pinned commits that are not.
func (s *Source) rebuild(repo string, st state, cause error) (*store, kept, []plumbing.Hash, error) {
	aside := filepath.Join(s.cfg.Dir, "damaged")
	if err := os.RemoveAll(aside); err != nil { // one is enough to look at, and cannot fill the disk
		return nil, kept{}, nil, err
	}
	if err := os.Rename(repo, aside); err != nil {
		return nil, kept{}, nil, fmt.Errorf("setting the damaged copy aside: %w", err)
	}
	fresh, err := openStore(repo)
	if err != nil {
		return nil, kept{}, nil, err
	}
	old := &store{dir: aside}
	take := func(ref string, h plumbing.Hash) bool {
		seen := map[plumbing.Hash]bool{}
		limit := max(s.cfg.Limits.Blob, maxNode)
		if h.IsZero() || old.each(h, seen, true, limit) != nil {
			return false
		}
		for o := range seen {
			t, content, err := old.get(o, limit)
			if err == nil {
				_, err = fresh.put(t, content)
			}
			if err != nil {
				return false
			}
		}
		return fresh.flush() == nil && fresh.setRef(ref, h) == nil
	}

	var k kept
	var lost []plumbing.Hash
	current, _ := old.ref(refCurrent)
	if current.IsZero() && plumbing.IsHash(st.Commit) {
		current = plumbing.NewHash(st.Commit)
	}
	if take(refCurrent, current) {
		k.current = current
	}
	for _, h := range old.names(dirPinned) {
		if take(filepath.Join(dirPinned, h.String()), h) {
			k.pinned = append(k.pinned, h)
		} else {
			lost = append(lost, h)
		}
	}
	for _, h := range old.names(dirRecent) {
		if take(filepath.Join(dirRecent, h.String()), h) {
			k.recent = append(k.recent, h)
		}
	}
	s.log.Error("The local copy of the config repository was damaged. It was set aside, what is whole was taken over, "+
		"and the rest is fetched anew", "error", cause, "aside", aside, "current_kept", !k.current.IsZero(),
		"pinned_kept", len(k.pinned), "pinned_lost", len(lost))
	return fresh, k, lost, nil
}

// names returns the commits that file names in dir stand for, whatever the files hold.
func (s *store) names(dir string) []plumbing.Hash {
	files, _ := os.ReadDir(filepath.Join(s.dir, dir)) // what cannot be read is lost
	var all []plumbing.Hash
	for _, f := range files {
		if plumbing.IsHash(f.Name()) {
			all = append(all, plumbing.NewHash(f.Name()))
		}
	}
	return all
}
