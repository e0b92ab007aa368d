//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const serverAddr = "10.99.0.1"

// clientAddr is the address of each machine: servers that count per client see many.
func clientAddr(i int) [4]byte { return [4]byte{10, 99, byte(1 + i/200), byte(1 + i%200)} }

// A rack is two network namespaces with a cable between them.
type rack struct {
	servers, clients string // names of the namespaces
}

func newRack(ctx context.Context, machines int) (*rack, error) {
	if machines < 1 || machines > 10_000 {
		return nil, fmt.Errorf("%d clients: want 1 to 10000", machines)
	}
	r := &rack{servers: fmt.Sprintf("loda-bench-s%d", os.Getpid()), clients: fmt.Sprintf("loda-bench-c%d", os.Getpid())}
	var setup strings.Builder
	fmt.Fprintf(&setup, "netns add %s\nnetns add %s\n", r.servers, r.clients)
	fmt.Fprintf(&setup, "link add s0 netns %s type veth peer name c0 netns %s\n", r.servers, r.clients)
	if err := ip(ctx, "", setup.String()); err != nil {
		r.remove()
		return nil, err
	}
	setup.Reset()
	fmt.Fprintf(&setup, "link set lo up\nlink set s0 up\naddr add %s/16 dev s0\n", serverAddr)
	err := ip(ctx, r.servers, setup.String())
	setup.Reset()
	fmt.Fprintf(&setup, "link set lo up\nlink set c0 up\n")
	for i := range machines {
		fmt.Fprintf(&setup, "addr add %s/16 dev c0\n", net.IP(addr4(i)))
	}
	if err := errors.Join(err, ip(ctx, r.clients, setup.String())); err != nil {
		r.remove()
		return nil, err
	}
	return r, nil
}

func addr4(i int) []byte { a := clientAddr(i); return a[:] }

// ip runs lines of ip(8) in a namespace.
func ip(ctx context.Context, space, lines string) error {
	args := []string{"-batch", "-"}
	if space != "" {
		args = append([]string{"-n", space}, args...)
	}
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// remove takes the namespaces away, whatever was done with ctx.
func (r *rack) remove() {
	for _, name := range []string{r.servers, r.clients} {
		_ = exec.Command("ip", "netns", "del", name).Run()
	}
}

// round starts a server, lets the clients loose, and stops the server.
func (r *rack) round(ctx context.Context, s server, what storm, protocol, dir string) (o outcome, err error) {
	argv, err := s.argv(dir, what.Dir)
	if err != nil {
		return o, err
	}
	ctx, cancel := context.WithTimeout(ctx, what.Deadline+30*time.Second)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.Command("ip", append([]string{"netns", "exec", r.servers}, argv...)...)
	cmd.Stdout, cmd.Stderr = &said, &said
	// A group of its own: servers have children, and all of them end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return o, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			err = errors.Join(err, errors.New("did not end when it was told to"))
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if cmd.ProcessState != nil {
			o.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		}
	}()

	// One machine alone says when the server is up, and warms it.
	first := what
	first.Clients, first.Repeat, first.Deadline = 1, 1, time.Second
	for tries := 0; ; tries++ {
		select {
		case err := <-ended:
			ended <- err
			return o, fmt.Errorf("it ended at once: %v: %s", err, said.Bytes())
		case <-ctx.Done():
			return o, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		up, err := r.storm(ctx, protocol, first)
		if err == nil && up.Failed == 0 {
			break
		}
		if tries == 20 {
			return o, fmt.Errorf("it does not serve: %v %s %s", err, up.Why, said.Bytes())
		}
	}
	o, err = r.storm(ctx, protocol, what)
	return o, err
}

func (r *rack) storm(ctx context.Context, protocol string, s storm) (o outcome, err error) {
	job, err := json.Marshal(struct {
		Protocol string
		storm
	}{protocol, s})
	if err != nil {
		return o, err
	}
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", r.clients, self, "clients", string(job))
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return o, fmt.Errorf("clients: %w: %s", err, complaints.Bytes())
	}
	return o, json.Unmarshal(out, &o)
}
