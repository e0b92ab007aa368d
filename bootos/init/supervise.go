package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/bootos/early"
)

// rebootAfter is how long a failure stays on the console before the machine reboots, to netboot with a new token.
const rebootAfter = 30 * time.Second

// supervise runs the agent, collects the children that others left behind, and reboots when the agent is gone.
func supervise() {
	mountErr := early.Mount()
	early.Calm(int(rebootAfter / time.Second))
	// Ctrl-Alt-Del reaches init as a signal instead of a reset in the middle of a write.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
	// Not Ignore, which children would inherit: a script's timeout kills with SIGTERM.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	keys := make(chan os.Signal, 1)
	signal.Notify(keys, syscall.SIGINT)
	go func() {
		<-keys
		_ = early.Reboot() // or it stays as it is
	}()
	if mountErr != nil {
		fmt.Printf("loda: %v\r\n", mountErr)
	}
	why := runAgent()
	o := readOptions()
	console := early.OpenConsoles(o.Console...)
	console.Say("agent", why)
	if o.EmergencyShell {
		console.Say("shell", "emergency shell on /dev/console; the machine reboots when it is left")
		console.Flush(2 * time.Second)
		shell()
	} else {
		console.Say("agent", fmt.Sprintf("the machine reboots in %s", rebootAfter))
		console.Flush(2 * time.Second)
		time.Sleep(rebootAfter)
	}
	if err := early.Reboot(); err != nil {
		console.Say("reboot", err.Error())
	}
	select {} // process 1 must not end
}

// runAgent returns why the agent is gone, once it is.
func runAgent() string {
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"init"}, &syscall.ProcAttr{Dir: "/", Files: []uintptr{0, 1, 2},
		Env: []string{"PATH=/bbin:/sbin:/bin:/usr/bin:/usr/sbin", "HOME=/root", "TERM=linux", "GOTRACEBACK=all"}})
	if err != nil {
		return fmt.Sprintf("cannot be started: %v", err)
	}
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return fmt.Sprintf("is gone: %v", err)
		case got != pid:
			// A child of somebody who did not wait for it.
		case status.Signaled():
			return fmt.Sprintf("was killed by signal %v: out of memory, or an error in it; what it said is above",
				status.Signal())
		default:
			return fmt.Sprintf("ended with status %d; what it said is above", status.ExitStatus())
		}
	}
}

func shell() {
	// A session of its own makes the console (descriptor 0 of the child) its terminal, and Ctrl-C work.
	tty, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		time.Sleep(rebootAfter)
		return
	}
	p, err := os.StartProcess("/bbin/gosh", []string{"gosh"}, &os.ProcAttr{Dir: "/root",
		Env:   []string{"PATH=/bbin:/sbin:/bin", "HOME=/root", "TERM=linux"},
		Files: []*os.File{tty, tty, tty}, Sys: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}})
	if err != nil {
		fmt.Fprintf(tty, "the shell: %v\r\n", err)
		time.Sleep(rebootAfter)
		return
	}
	_, _ = p.Wait() // however it ends, the machine reboots
}
