//go:build linux

package hw

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync"
	"syscall"
)

// recorder keeps everything that detection looks at: what a capture holds can so never drift from what is read. It
// resolves links itself, to know where a file really is.
type recorder struct {
	files
	mu    sync.Mutex // a BMC or a disk may answer on another goroutine
	seen  *captured
	links map[string]string // "" if the place is no link
	none  map[string]bool   // places that seemed not to be there
	ended bool              // what comes after the capture is too late
}

func newRecorder(f files) *recorder {
	return &recorder{files: f, seen: newCaptured(), links: map[string]string{}, none: map[string]bool{}}
}

// place is where a name leads when every link on the way is followed, but the last one only if asked to. "" if it leads
// nowhere.
func (r *recorder) place(name string, follow bool) string {
	at, links := "", 0
	rest := strings.Split(path.Clean(name), "/")
	for len(rest) > 0 {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			if at == "" {
				return ""
			}
			if at = path.Dir(at); at == "." {
				at = ""
			}
			continue
		}
		next := path.Join(at, element)
		if follow || len(rest) > 0 {
			target, known := r.links[next]
			if !known {
				target, _ = r.files.readlink(next)
				r.links[next] = target
			}
			if target != "" {
				if !r.ended {
					_ = r.seen.put(next, node{kind: "link", target: target})
				}
				if links++; links > maxLinks {
					return ""
				}
				if path.IsAbs(target) {
					at = ""
				}
				rest = append(strings.Split(target, "/"), rest...)
				continue
			}
		}
		at = next
	}
	return at
}

// keep notes what was found at a name. What is not there is told by its absence.
func (r *recorder) keep(name string, n node, err error) {
	if r.ended || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
		return
	}
	place := r.place(name, n.kind != "link")
	if place == "" {
		return
	}
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		n = node{kind: "fails", err: err}
	}
	_ = r.seen.put(place, n)
}

func (r *recorder) read(name string) ([]byte, error) {
	data, err := r.files.read(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(name, node{kind: "file", content: data}, err)
	return data, err
}

func (r *recorder) list(name string) ([]string, error) {
	names, err := r.files.list(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(name, node{kind: "dir"}, err)
	if place := r.place(name, true); err == nil && place != "" && !r.ended {
		for _, entry := range names {
			_ = r.seen.put(path.Join(place, entry), node{kind: "seen"})
		}
	}
	return names, err
}

func (r *recorder) readlink(name string) (string, error) {
	target, err := r.files.readlink(name)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.keep(name, node{kind: "link", target: target}, nil)
	}
	return target, err
}

func (r *recorder) exists(name string) bool {
	there := r.files.exists(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if there {
		r.keep(name, node{kind: "seen"}, nil)
	} else {
		r.none[r.place(name, true)] = true
	}
	return there
}

// capture ends the recording and is what was recorded.
func (r *recorder) capture() *captured {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for place := range r.none {
		// Looking for it must not make it.
		if n, err := r.seen.find(place, false); err == nil && place != "" {
			n.none = true
		}
	}
	return r.seen
}

// answered keeps what the kernel said to a question that is no file.
func (r *recorder) answered(name string, answer []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := node{kind: "file", content: answer}
	if err != nil {
		n = node{kind: "fails", err: err}
	}
	if !r.ended {
		_ = r.seen.put(name, n)
	}
}
