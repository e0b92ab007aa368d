package early

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/bootos/modules"
)

// Hotplug hears of devices as they appear: disks behind a controller that takes its time, what hangs on a USB hub.
type Hotplug struct{ events *os.File }

// ListenHotplug starts to listen to the kernel (NETLINK_KOBJECT_UEVENT). What happens until [Hotplug.Run] is called is
// kept, so listening begins before [Drivers] looks at what is there.
func ListenHotplug() (*Hotplug, error) {
	const kind = unix.SOCK_RAW | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(unix.AF_NETLINK, kind, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("listen to the kernel's events: %w", err)
	}
	// A shelf of 60 disks says much at once. Without the right to enlarge it the buffer is what it is.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	const kernelGroup = 1
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
		return nil, errors.Join(fmt.Errorf("listen to the kernel's events: %w", err), unix.Close(fd))
	}
	return &Hotplug{events: os.NewFile(uintptr(fd), "uevent")}, nil
}

// Run loads the drivers of new devices until the context ends, and then closes h.
func (h *Hotplug) Run(ctx context.Context, l *modules.Loader) {
	stop := context.AfterFunc(ctx, func() { _ = h.events.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer h.events.Close()
	var loading errgroup.Group
	loading.SetLimit(8)
	defer func() { _ = loading.Wait() }() // what fails is for the console of the kernel: it said so
	buf := make([]byte, 16<<10)
	for ctx.Err() == nil {
		n, err := h.events.Read(buf)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			// Some were lost: look at all that is there.
			for _, alias := range modaliases("/sys") {
				_ = l.Load(alias)
			}
			continue
		case err != nil:
			return
		}
		if alias := addedDevice(buf[:n]); alias != "" && len(l.Index.Lookup(alias)) > 0 {
			loading.Go(func() error { return l.Load(alias) })
		}
	}
}

// addedDevice returns what a new device says that it is, from `add@/devices/...` and NUL-terminated KEY=VALUE pairs.
func addedDevice(event []byte) (alias string) {
	added := false
	for _, field := range bytes.Split(event, []byte{0}) {
		switch key, value, _ := bytes.Cut(field, []byte{'='}); string(key) {
		case "ACTION":
			added = string(value) == "add"
		case "MODALIAS":
			alias = string(value)
		}
	}
	if !added {
		return ""
	}
	return alias
}
