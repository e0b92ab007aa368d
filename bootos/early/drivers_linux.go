package early

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/bootos/modules"
)

// Release is what `uname -r` prints.
func Release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// A MismatchError says that kernel and RAM disk are not of the same build: a machine that fetched one before and the
// other after a new build. It has to netboot again.
type MismatchError struct {
	Kernel  string
	Modules []string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("this kernel is %s, the drivers are for %s: kernel and RAM disk are not from the same build",
		e.Kernel, strings.Join(e.Modules, ", "))
}

// NewLoader opens the index of the modules for the running kernel.
func NewLoader(cmdline Cmdline) (*modules.Loader, error) {
	base := "/lib/modules"
	dir := filepath.Join(base, Release())
	index, err := modules.ReadIndex(os.DirFS(dir))
	if errors.Is(err, fs.ErrNotExist) {
		others, _ := os.ReadDir(base) // a kernel may have no modules at all
		mismatch := &MismatchError{Kernel: Release()}
		for _, o := range others {
			mismatch.Modules = append(mismatch.Modules, o.Name())
		}
		if len(others) > 0 {
			return nil, mismatch
		}
	}
	if err != nil {
		return nil, err
	}
	params, deny := modules.Cmdline(string(cmdline))
	if _, ok := params["scsi_mod"]; !ok {
		// The driver of a controller is loaded when its disks are found, instead of some time before that.
		params["scsi_mod"] = "scan=sync"
	}
	return &modules.Loader{Index: index, Dir: dir, Insert: modules.Insert, Params: params, Deny: deny}, nil
}

// Drivers loads a module for every device that has one, again and again until that brings no new devices (a PCI bridge,
// a USB hub), and reports how many modules and devices there were. What could not be loaded is joined in the error,
// which is no reason to stop: one broken device of a machine must not hide the others.
func Drivers(ctx context.Context, l *modules.Loader) (loaded, devices int, err error) {
	const rounds = 8
	seen := map[string]bool{}
	names := map[string]bool{}
	var errs []error
	for range rounds {
		var fresh []string
		for _, alias := range modaliases("/sys") {
			if !seen[alias] {
				seen[alias] = true
				devices++
				if found := l.Index.Lookup(alias); len(found) > 0 {
					fresh = append(fresh, alias)
					for _, n := range found {
						names[n] = true
					}
				}
			}
		}
		if len(fresh) == 0 || ctx.Err() != nil {
			break
		}
		// In parallel: one controller may take half a minute to start.
		var group errgroup.Group
		group.SetLimit(8)
		failed := make([]error, len(fresh))
		for i, alias := range fresh {
			group.Go(func() error {
				failed[i] = l.Load(alias)
				return nil
			})
		}
		_ = group.Wait() // the functions return nil
		for _, e := range failed {
			// ENODEV: the driver looked and does not want the device.
			if e != nil && !errors.Is(e, unix.ENODEV) {
				errs = append(errs, e)
			}
		}
	}
	return len(names), devices, errors.Join(errs...)
}

// modaliases lists what devices say that they are, each once.
func modaliases(sys string) []string {
	files, _ := filepath.Glob(filepath.Join(sys, "bus/*/devices/*/modalias")) // the pattern is good
	// What counts memory errors goes by the machine's model or by its processors.
	files = append(files, filepath.Join(sys, "devices/virtual/dmi/id/modalias"), filepath.Join(sys, "devices/system/cpu/modalias"))
	var all []string
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil {
			if alias := string(bytes.TrimSpace(data)); alias != "" {
				all = append(all, alias)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Settle waits until no new disks appear: SCSI buses and RAID controllers go on looking for them after their driver is
// loaded. It takes a fraction of a second on a machine without such buses, and never more than most.
func Settle(ctx context.Context, most time.Duration) {
	quiet := 300 * time.Millisecond
	if hosts, _ := filepath.Glob("/sys/class/scsi_host/*"); len(hosts) > 0 {
		quiet = 1500 * time.Millisecond
	}
	end := time.Now().Add(most)
	var last []string
	since := time.Now()
	for time.Now().Before(end) {
		now, _ := filepath.Glob("/sys/class/block/*")
		if !slices.Equal(now, last) {
			last, since = now, time.Now()
		}
		if time.Since(since) >= quiet {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}
