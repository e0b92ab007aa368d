package hw

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// captureHeader tells a person who opens a capture what it is.
const captureHeader = `# loda hardware capture 1
# What hardware detection reads of one machine: lodad hw detect --root THIS_FILE shows what it makes of it.
`

// Capture writes everything that [Detect] reads of this machine, or of a captured one (root as for [WithRoot]), to w:
// /sys, /proc, the SMBIOS tables, what the kernel answered about network ports and, if asked for, what the disks said
// of themselves. It is a text file that a person can read before sending it; [WithRoot] reads it, and what [Detect]
// says of it is what it says of the machine.
//
// It records what detection looks at, so it has neither more nor less than that.
func Capture(ctx context.Context, root string, w io.Writer, o CaptureOptions) error {
	t, err := openTree(root)
	if err != nil {
		return err
	}
	defer t.files.close()
	r := newRecorder(t.files)
	t.files, t.recorder = r, r
	health := o.Health
	if !t.live && health == 0 {
		health = time.Second // what an earlier capture has of the disks is kept, it costs nothing
	}
	facts, err := t.facts(ctx, options{health: health, logger: discardLogger})
	if err != nil {
		return fmt.Errorf("capture hardware: %w", err)
	}
	seen := r.capture()
	if o.Anonymise {
		a, err := newAnonymiser()
		if err != nil {
			return fmt.Errorf("capture hardware: anonymise: %w", err)
		}
		if t.live {
			if name, err := os.Hostname(); err == nil {
				a.host(name)
			}
		}
		if seen, err = a.capture(seen, facts); err != nil {
			return fmt.Errorf("capture hardware: anonymise: %w", err)
		}
	}
	if _, err := io.WriteString(w, captureHeader); err != nil {
		return fmt.Errorf("capture hardware: %w", err)
	}
	if err := seen.write(w); err != nil {
		return fmt.Errorf("capture hardware: %w", err)
	}
	return nil
}
