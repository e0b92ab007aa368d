package early

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// SetClock sets the system's clock.
func SetClock(t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

// Reboot resets the machine. If the kernel's own way does not work within a minute, it is forced.
func Reboot() error { return leave(unix.LINUX_REBOOT_CMD_RESTART, "b") }

// PowerOff turns the machine off.
func PowerOff() error { return leave(unix.LINUX_REBOOT_CMD_POWER_OFF, "o") }

func leave(cmd int, sysrq string) error {
	unix.Sync()
	failed := make(chan error, 1)
	go func() { failed <- unix.Reboot(cmd) }()
	select {
	case err := <-failed:
		if err == nil {
			return nil
		}
	case <-time.After(time.Minute): // a driver hangs in its shutdown
	}
	return os.WriteFile("/proc/sysrq-trigger", []byte(sysrq), 0)
}
