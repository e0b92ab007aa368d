//go:build linux

package hw

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// captured is the machine of a capture file, in memory. A capture is text with one line for each thing that detection
// looked at, so that whoever sends it can read it first, and so that it can be a test as it is:
//
//	dir PATH             a directory that was listed
//	link PATH TARGET     a symbolic link
//	file PATH "CONTENT"  a file and what is in it, quoted as in Go
//	fails PATH ERROR     a file that could not be read, with the name of the errno or the words of the error
//	seen PATH            something that is there and was not looked into
//	none PATH            what seemed not to be there, although something below it is known: its directory is closed
//
// Blank lines and those that start with # mean nothing. A PATH or TARGET with unusual characters is quoted as well.
type captured struct{ top *node }

type node struct {
	parent   *node
	kind     string // dir, link, file, fails, seen; none is not one, as it says nothing of what is below
	content  []byte
	target   string
	err      error
	none     bool
	children map[string]*node
}

func newCaptured() *captured { return &captured{&node{kind: "dir"}} }

const (
	maxCapture = 64 << 20
	// maxLinks is the kernel's own limit to the links on one way.
	maxLinks = 40
	// maxDepth of a path: sysfs has about 30 levels on machines with many bridges.
	maxDepth = 200
)

func readCapture(name string) (*captured, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCapture+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxCapture {
		return nil, fmt.Errorf("%s: more than %d bytes is no capture of one machine", name, maxCapture)
	}
	if bytes.HasPrefix(data, []byte("_SM")) {
		c, err := dumped(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return c, nil
	}
	c, err := parseCapture(data)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	return c, nil
}

// dumped is the machine of a file of `dmidecode --dump-bin`: an entry point that has the table's place in the file.
func dumped(data []byte) (*captured, error) {
	var at uint64
	switch {
	case bytes.HasPrefix(data, []byte("_SM3_")) && len(data) >= 24:
		at = binary.LittleEndian.Uint64(data[0x10:])
	case bytes.HasPrefix(data, []byte("_SM_")) && len(data) >= 31:
		at = uint64(binary.LittleEndian.Uint32(data[0x18:]))
	}
	if at < 24 || at >= uint64(len(data)) {
		return nil, errors.New("an SMBIOS entry point without its tables; is this a file of dmidecode --dump-bin?")
	}
	c := newCaptured()
	for name, content := range map[string][]byte{"smbios_entry_point": data[:min(at, 31)], "DMI": data[at:]} {
		if err := c.put(dmiDir+name, node{kind: "file", content: content}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// parseCapture reads a capture file. Its errors start with the number of the line.
func parseCapture(data []byte) (*captured, error) {
	c := newCaptured()
	number := 0
	for line := range bytes.Lines(data) {
		number++
		text := strings.TrimSuffix(string(line), "\n")
		if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := c.line(text); err != nil {
			return nil, fmt.Errorf("%d: %w; is this a file of `lodad hw capture`?", number, err)
		}
	}
	return c, nil
}

func (c *captured) line(text string) error {
	kind, rest, _ := strings.Cut(text, " ")
	if !slices.Contains([]string{"dir", "link", "file", "fails", "seen", "none"}, kind) {
		return fmt.Errorf("want dir, link, file, fails, seen or none, got %.20q", kind)
	}
	name, value, err := word(rest)
	if err != nil {
		return fmt.Errorf("the path: %w", err)
	}
	n := node{kind: kind}
	switch kind {
	case "link":
		if n.target, _, err = word(value); err != nil {
			return fmt.Errorf("the target of %s: %w", name, err)
		}
	case "file":
		content, err := strconv.Unquote(value)
		if err != nil {
			return fmt.Errorf("the content of %s is not a quoted string", name)
		}
		n.content = []byte(content)
	case "fails":
		n.err = errnoNamed(value)
	}
	return c.put(name, n)
}

// word takes a word, quoted or not, off the start of a line.
func word(s string) (first, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return "", "", errors.New("the quotes do not end")
		}
		first, err = strconv.Unquote(quoted)
		return first, strings.TrimPrefix(s[len(quoted):], " "), err
	}
	first, rest, _ = strings.Cut(s, " ")
	if first == "" {
		return "", "", errors.New("is missing")
	}
	return first, rest, nil
}

func quoteWord(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// put adds a node. What is known of a place only grows: something merely seen never replaces what was read.
func (c *captured) put(name string, n node) error {
	name = path.Clean(name)
	if name == "." && n.kind == "dir" {
		return nil
	}
	if !fs.ValidPath(name) || name == "." || strings.Count(name, "/") > maxDepth || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%.200q is no path below the root of the machine", name)
	}
	at, links := c.top, 0
	elements := strings.Split(name, "/")
	for i, element := range elements {
		// A link may stand above: then this belongs where it leads.
		if at.kind == "link" {
			to, err := c.grow(at, &links)
			if err != nil {
				return fmt.Errorf("%s: %w", strings.Join(elements[:i], "/"), err)
			}
			at = to
		}
		at = at.child(element)
	}
	switch {
	case n.kind == "none":
		at.none = true
	case at.kind == "", at.kind == "seen", at.kind == "dir" && n.kind == "fails":
		at.kind, at.content, at.target, at.err = n.kind, n.content, n.target, n.err
	}
	return nil
}

// child returns the node of that name, and makes it if need be. A node with children is a directory.
func (n *node) child(name string) *node {
	if n.kind == "" || n.kind == "seen" {
		n.kind = "dir"
	}
	if n.children == nil {
		n.children = map[string]*node{}
	}
	if n.children[name] == nil {
		n.children[name] = &node{parent: n}
	}
	return n.children[name]
}

// grow returns where a link leads, and makes the directories on the way: links come before what they lead to. It counts
// the links of a whole path.
func (c *captured) grow(n *node, links *int) (*node, error) {
	if *links++; *links > maxLinks {
		return nil, syscall.ELOOP
	}
	at := n.parent
	if path.IsAbs(n.target) {
		at = c.top
	}
	elements := strings.Split(n.target, "/")
	if len(elements) > maxDepth {
		return nil, syscall.ENAMETOOLONG
	}
	for _, element := range elements {
		switch element {
		case "", ".":
		case "..":
			if at = at.parent; at == nil {
				return nil, errors.New("the link leads out of the machine")
			}
		default:
			at = at.child(element)
			if at.kind == "link" {
				to, err := c.grow(at, links)
				if err != nil {
					return nil, err
				}
				at = to
			}
		}
	}
	return at, nil
}

// find returns the node of a name, following links but the last one only if asked to.
func (c *captured) find(name string, follow bool) (*node, error) {
	at, links := c.top, 0
	rest := strings.Split(path.Clean(name), "/")
	for len(rest) > 0 {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			if at = at.parent; at == nil {
				return nil, syscall.ENOENT
			}
			continue
		}
		next := at.children[element]
		if next == nil || next.kind == "" && next.children == nil {
			if at.kind == "fails" {
				return nil, at.err
			}
			return nil, syscall.ENOENT
		}
		if next.kind == "link" && (follow || len(rest) > 0) {
			if links++; links > maxLinks {
				return nil, syscall.ELOOP
			}
			if path.IsAbs(next.target) {
				at = c.top
			}
			rest = append(strings.Split(next.target, "/"), rest...)
			if len(rest) > 4*maxDepth {
				return nil, syscall.ENAMETOOLONG
			}
			continue
		}
		at = next
	}
	return at, nil
}

func (c *captured) read(name string) ([]byte, error) {
	n, err := c.find(name, true)
	switch {
	case err != nil:
		return nil, err
	case n.kind == "fails":
		return nil, n.err
	case n.kind != "file":
		return nil, errNotRegular
	case len(n.content) > maxFile:
		return nil, errTooLarge
	}
	return n.content, nil
}

func (c *captured) list(name string) ([]string, error) {
	n, err := c.find(name, true)
	switch {
	case err != nil:
		return nil, err
	case n.kind == "fails":
		return nil, n.err
	case n.kind == "file":
		return nil, syscall.ENOTDIR
	}
	names := make([]string, 0, len(n.children))
	for name, child := range n.children {
		if child.kind != "" || child.children != nil {
			names = append(names, name)
		}
	}
	return names, nil
}

func (c *captured) readlink(name string) (string, error) {
	n, err := c.find(name, false)
	switch {
	case err != nil:
		return "", err
	case n.kind != "link":
		return "", syscall.EINVAL
	}
	return n.target, nil
}

func (c *captured) exists(name string) bool {
	n, err := c.find(name, true)
	return err == nil && !n.none
}

func (c *captured) close() error { return nil }

// write writes the lines in the order of their paths, links before what lies behind them only by chance: [captured.put]
// does not need it.
func (c *captured) write(w io.Writer) error {
	var b bytes.Buffer
	var walk func(n *node, name string)
	walk = func(n *node, name string) {
		switch n.kind {
		case "dir", "seen":
			if name != "" {
				fmt.Fprintf(&b, "%s %s\n", n.kind, quoteWord(name))
			}
		case "link":
			fmt.Fprintf(&b, "link %s %s\n", quoteWord(name), quoteWord(n.target))
		case "file":
			fmt.Fprintf(&b, "file %s %s\n", quoteWord(name), strconv.QuoteToASCII(string(n.content)))
		case "fails":
			fmt.Fprintf(&b, "fails %s %s\n", quoteWord(name), errnoName(n.err))
		}
		if n.none && n.kind != "" {
			fmt.Fprintf(&b, "none %s\n", quoteWord(name))
		}
		for _, child := range sortedNames(n.children) {
			walk(n.children[child], path.Join(name, child))
		}
	}
	walk(c.top, "")
	_, err := w.Write(b.Bytes())
	return err
}

// errnoName is an error of a file in a capture: EINVAL, ENXIO and others mean something to detection.
func errnoName(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
	}
	return strconv.QuoteToASCII(err.Error())
}

func errnoNamed(s string) error {
	for errno := syscall.Errno(1); errno < 200; errno++ {
		if unix.ErrnoName(errno) == s {
			return errno
		}
	}
	if text, err := strconv.Unquote(s); err == nil {
		s = text
	}
	for _, known := range []error{errNotRegular, errTooLarge, errNotCaptured} {
		if s == known.Error() {
			return known
		}
	}
	return errors.New(clean([]byte(s)))
}
