package gitsource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// remote is where a repository comes from.
type remote interface {
	// open connects and learns which references there are. An empty repository has none.
	open(ctx context.Context) (session, error)
}

// session is one conversation with a remote. It fetches at most once.
type session interface {
	refs() advertisement
	// fetch adds what was asked for, and does not have to be complete when it fails. It returns the bytes received.
	fetch(ctx context.Context, req request, into *store) (int64, error)
	close()
}

// advertisement is what a remote has.
type advertisement struct {
	head   plumbing.Hash            // zero: none
	byName map[string]plumbing.Hash // full names
	peeled map[string]plumbing.Hash // of annotated tags, the commit
	// byNumber: it gives commits that no reference names.
	byNumber bool
}

// maxTips bounds how many references are asked for at once.
const maxTips = 1000

// find returns the request for one commit by its number. From a remote that does not give it so, it asks for the whole
// history, in which it may be.
func (a advertisement) find(h plumbing.Hash, have []plumbing.Hash) (request, error) {
	tips := map[plumbing.Hash]bool{}
	for name, tip := range a.byName {
		if strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/") {
			tips[tip] = true
		}
	}
	if a.byNumber || tips[h] {
		return request{wants: []plumbing.Hash{h}, have: have, shallow: true}, nil
	}
	if len(tips) == 0 || len(tips) > maxTips {
		return request{}, fmt.Errorf("the server does not give commits by number, and there are %d branches and tags to "+
			"look for %s in: make a tag for it, or set uploadpack.allowReachableSHA1InWant on the server", len(tips), h)
	}
	return request{wants: slices.Collect(maps.Keys(tips))}, nil
}

// request asks for objects.
type request struct {
	wants []plumbing.Hash
	// have are commits whose files are all here, and whose parents are not; those that matter most come first.
	have []plumbing.Hash
	// shallow leaves history out.
	shallow bool
}

// limitError is returned for what is beyond the limits of the configuration.
type limitError struct{ text string }

func (e *limitError) Error() string { return e.text }

func tooMuch(format string, args ...any) error { return &limitError{fmt.Sprintf(format, args...)} }

// Validate says what is wrong with a reference.
func (r Ref) Validate() error {
	set := 0
	for _, s := range []string{r.Branch, r.Tag, r.Commit} {
		if s != "" {
			set++
		}
	}
	if set > 1 {
		return fmt.Errorf("only one of branch, tag and commit can be followed, and %s are set", r)
	}
	if r.Commit != "" && !plumbing.IsHash(r.Commit) {
		return fmt.Errorf("commit %q: a full commit number of 40 hexadecimal digits is needed, as `git rev-parse HEAD` "+
			"prints it", oneLine(r.Commit, 80))
	}
	for kind, s := range map[string]string{"branch": r.Branch, "tag": r.Tag} {
		if s == "" {
			continue
		}
		if strings.HasPrefix(s, "refs/") {
			return fmt.Errorf("%s %q: only the name is needed, without refs/", kind, oneLine(s, 80))
		}
		if err := plumbing.ReferenceName("refs/heads/" + s).Validate(); err != nil || len(s) > 200 {
			return fmt.Errorf("%s %q is no name that git accepts", kind, oneLine(s, 80))
		}
	}
	return nil
}

// String names what is followed, for people.
func (r Ref) String() string {
	var parts []string
	if r.Branch != "" {
		parts = append(parts, "branch "+r.Branch)
	}
	if r.Tag != "" {
		parts = append(parts, "tag "+r.Tag)
	}
	if r.Commit != "" {
		parts = append(parts, "commit "+r.Commit)
	}
	if len(parts) == 0 {
		return "the default branch"
	}
	return strings.Join(parts, ", ")
}

// wanted is the object to ask for, and the commit that it leads to: zero if that is known only when it is here.
type wanted struct{ object, commit plumbing.Hash }

// resolve finds what is followed among what the remote has.
func resolve(r Ref, adv advertisement) (wanted, error) {
	if r.Commit != "" {
		h := plumbing.NewHash(r.Commit)
		return wanted{h, h}, nil
	}
	if len(adv.byName) == 0 && adv.head.IsZero() {
		return wanted{}, errors.New("the repository is empty: push a first commit")
	}
	name, prefix := "refs/heads/"+r.Branch, "refs/heads/"
	switch {
	case r.Tag != "":
		name, prefix = "refs/tags/"+r.Tag, "refs/tags/"
	case r.Branch == "" && !adv.head.IsZero():
		return wanted{adv.head, adv.head}, nil
	case r.Branch == "":
		return wanted{}, fmt.Errorf("the repository's default branch does not exist; name a branch; there are %s",
			existing(adv, prefix))
	}
	h, ok := adv.byName[name]
	if !ok {
		return wanted{}, fmt.Errorf("there is no %s in the repository; there are %s", r, existing(adv, prefix))
	}
	if commit, ok := adv.peeled[name]; ok {
		return wanted{h, commit}, nil
	}
	return wanted{h, h}, nil
}

// existing lists names to choose from.
func existing(adv advertisement, prefix string) string {
	kind := map[string]string{"refs/heads/": "branches", "refs/tags/": "tags"}[prefix]
	var names []string
	for _, name := range slices.Sorted(maps.Keys(adv.byName)) {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			names = append(names, oneLine(short, 100))
		}
	}
	if len(names) == 0 {
		return "no " + kind
	}
	if n := len(names); n > 10 {
		names = append(names[:10], fmt.Sprintf("%d more", n-10))
	}
	return "the " + kind + " " + strings.Join(names, ", ")
}

// scpLike matches user@host:path and host:path, where the part before the colon has no slash.
var scpLike = regexp.MustCompile(`^(?:([^@/:\s]+)@)?([^@/:\s]+):([^/:][^\s]*|/[^/\s][^\s]*)$`)

// newRemote checks an address and what belongs to it.
func newRemote(address string, auth Auth, limits Limits) (remote, error) {
	shown := oneLine(redact(address), 200)
	if address == "" {
		return nil, errors.New("the URL of the repository is missing")
	}
	if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("URL %q holds spaces or control characters", shown)
	}
	if filepath.IsAbs(address) {
		return newLocal(address, auth, limits)
	}
	if !strings.Contains(address, "://") {
		if m := scpLike.FindStringSubmatch(address); m != nil {
			return newSSH(sshAddress{user: m[1], host: m[2], port: "22", path: m[3]}, auth, limits)
		}
		return nil, fmt.Errorf("URL %q is neither an address such as https://host/path, ssh://user@host/path or "+
			"user@host:path nor an absolute path", shown)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("URL %q cannot be read", shown) // the error repeats all of it
	}
	if _, ok := u.User.Password(); ok {
		return nil, fmt.Errorf("URL %q holds a password, which would end up in logs: take it out and put it into a file "+
			"(token file for https, key file for ssh)", shown)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("URL %q: a query or fragment makes no sense here", shown)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) || u.User != nil {
			return nil, fmt.Errorf("URL %q: what is needed is file:// and an absolute path on this host", shown)
		}
		return newLocal(u.Path, auth, limits)
	case "ssh":
		port := u.Port()
		if port == "" {
			port = "22"
		}
		return newSSH(sshAddress{user: u.User.Username(), host: u.Hostname(), port: port, path: u.Path}, auth, limits)
	case "http", "https":
		if u.User != nil {
			return nil, fmt.Errorf("URL %q holds a user name or token, which would end up in logs: take it out and name the "+
				"user and the token file instead", shown)
		}
		if u.Hostname() == "" || strings.Trim(u.Path, "/") == "" {
			return nil, fmt.Errorf("URL %q lacks a host or a path", shown)
		}
		if u.Scheme == "http" && !isLoopback(u.Hostname()) {
			return nil, fmt.Errorf("URL %q: http would send the token and all profiles in the clear; use https or ssh", shown)
		}
		return newHTTP(u, auth, limits)
	}
	return nil, fmt.Errorf("URL %q: %s:// is not supported; use https://, ssh:// or an absolute path", shown, u.Scheme)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// redact takes what may be secret out of an address that is going to be refused: all before an @ and after a ?.
func redact(address string) string {
	address, _, _ = strings.Cut(address, "?")
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	authority, path, slash := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = "***" + authority[at:]
	}
	if slash {
		path = "/" + path
	}
	return scheme + "://" + authority + path
}

// unused says which settings belong to another kind of address: a mistake that should not look like success.
func unused(kind string, settings map[string]string) error {
	var names []string
	for name, value := range settings {
		if value != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("%s given, but the repository is fetched by %s, which does not use it", strings.Join(names, ", "),
		kind)
}
