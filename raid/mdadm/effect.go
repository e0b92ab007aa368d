package mdadm

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// happened looks whether a command had its effect, whatever the tool said. Nothing that builds on a command is begun
// before: wipefs is forced, and would not stop at an array that still runs. known is false where a command has no
// effect that could be seen by itself; what it is for is looked at when the step is over.
func (d *Driver) happened(ctx context.Context, argv []string) (known bool, wrong error) {
	name := strings.Join(argv, " ")
	switch {
	case argv[0] == d.wipefs:
		devices := argv[3:]
		// Without options it lists what it finds. Where it does not, its word on the first call must do.
		out, err := d.read(ctx, append([]string{d.wipefs}, devices...)...)
		if err != nil || out.ExitCode != 0 {
			return false, nil
		}
		if left := strings.TrimSpace(string(out.Stdout)); left != "" {
			return true, fmt.Errorf("mdadm: %s: there is still something on these drives: %s", name, words(out))
		}
		return true, nil
	case argv[1] == "--zero-superblock":
		out, err := d.read(ctx, append([]string{d.tool, "--examine"}, argv[2:]...)...)
		if err != nil {
			return true, err
		}
		for _, s := range parseExamine(out.Stdout) {
			if slices.Contains(argv[2:], s.device) {
				return true, fmt.Errorf("mdadm: %s: %s still carries the metadata of an array", name, s.device)
			}
		}
		return true, nil
	case argv[1] == "--stop":
		text, err := d.stat()
		if err != nil {
			return true, fmt.Errorf("mdadm: read which arrays run: %w", err)
		}
		if slices.ContainsFunc(parseStat(text), func(a array) bool { return a.device == argv[2] }) {
			return true, fmt.Errorf("mdadm: %s: the array still runs; something is using it", name)
		}
		return true, nil
	case argv[1] == "--manage" && argv[3] == "--remove":
		a, err := d.running(ctx, array{device: argv[2]})
		if err != nil {
			return true, err
		}
		for _, m := range a.members {
			if slices.Contains(argv[4:], m.device) {
				return true, fmt.Errorf("mdadm: %s: %s is still in the array", name, m.device)
			}
		}
		return true, nil
	}
	return false, nil
}
