package script

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/loda/agentapi"
)

// home is a script's own directory.
type home struct{ dir, script, work string }

func makeHome(dir string, s agentapi.RunScript) (*home, error) {
	top, err := os.MkdirTemp(dir, "loda-step-") // 0700
	if err != nil {
		return nil, err
	}
	// Interpreters name the file in their messages.
	name := filepath.Base(filepath.Clean("/" + s.File))
	if !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`).MatchString(name) {
		name = "script"
	}
	h := &home{dir: top, script: filepath.Join(top, "file", name), work: filepath.Join(top, "work")}
	err = errors.Join(os.Mkdir(h.work, 0o700), os.Mkdir(filepath.Dir(h.script), 0o700))
	if err == nil {
		err = os.WriteFile(h.script, []byte(s.Script), 0o700)
	}
	if err != nil {
		_ = os.RemoveAll(top)
		return nil, err
	}
	return h, nil
}

// remove returns what people should know about it.
func (h *home) remove() (notes []string) {
	// A file system that is still mounted would be emptied together with the directory.
	for _, mount := range mountsBelow(h.dir) {
		err := unix.Unmount(mount, 0)
		if err != nil {
			err = unix.Unmount(mount, unix.MNT_DETACH)
		}
		if err != nil {
			return append(notes, fmt.Sprintf("%s stays, something is mounted below it: %v", h.dir, err))
		}
		notes = append(notes, "what the script left mounted at "+mount+" was unmounted")
	}
	if left := mountsBelow(h.dir); len(left) > 0 {
		return append(notes, fmt.Sprintf("%s stays, %s is mounted below it", h.dir, left[0]))
	}
	if err := os.RemoveAll(h.dir); err != nil {
		notes = append(notes, err.Error())
	}
	return notes
}

// mountsBelow lists mount points, the latest first.
func mountsBelow(dir string) []string {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	// proc(5): the fifth field is the mount point, with blanks and backslashes in octal.
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 4 {
			if at := unescape.Replace(f[4]); strings.HasPrefix(at, dir+"/") {
				found = append(found, at)
			}
		}
	}
	slices.Reverse(found)
	return found
}
