package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// bridgeName is the same in each rack: it lives in a namespace of its own.
const bridgeName = "rack"

const namespaceDir = "/run/netns"

// namespace is a named network namespace with one OS thread of ours in it. The thread lives as long as the namespace
// is open, and processes are started from it: they get a parent-death signal, which Linux sends when the *thread*
// that started them ends, not the process.
type namespace struct {
	name   string
	handle netns.NsHandle
	calls  chan func()
	done   chan struct{}
	closed sync.Once
}

func createNamespace(name string) (*namespace, error) {
	ns := &namespace{name: name, calls: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	go onOwnThread(func() bool {
		defer close(ns.done)
		origin, err := netns.Get()
		if err != nil {
			ready <- fmt.Errorf("find own network namespace: %w", err)
			return true
		}
		defer origin.Close()
		ns.handle, err = netns.NewNamed(name)
		if err != nil {
			ready <- fmt.Errorf("create network namespace %s: %w", name, err)
			return netns.Set(origin) == nil
		}
		ready <- nil
		for call := range ns.calls {
			call()
		}
		return netns.Set(origin) == nil
	})
	if err := <-ready; err != nil {
		return nil, err
	}
	return ns, nil
}

// onOwnThread calls fn locked to an OS thread that is not the process's first one: /proc/PID/ns/net shows that one's
// namespace, which must not change. fn says whether it left the thread as it was; if not, the thread dies.
func onOwnThread(fn func() (clean bool)) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		if fn() {
			runtime.UnlockOSThread()
		}
		return // a goroutine that ends locked takes its thread with it
	}
	done := make(chan struct{})
	go func() { // cannot land on the first thread, since this goroutine occupies it
		defer close(done)
		onOwnThread(fn)
	}()
	<-done
	runtime.UnlockOSThread()
}

// do calls fn on the namespace's own thread, one at a time. For short things only.
func (ns *namespace) do(fn func() error) error {
	result := make(chan error, 1)
	select {
	case ns.calls <- func() { result <- fn() }:
		return <-result
	case <-ns.done:
		return fmt.Errorf("network namespace %s is closed", ns.name)
	}
}

// enter calls fn on a thread that is in the namespace meanwhile; it may block.
func (ns *namespace) enter(fn func() error) error {
	result := make(chan error, 1)
	go onOwnThread(func() bool {
		origin, err := netns.Get()
		if err != nil {
			result <- fmt.Errorf("find own network namespace: %w", err)
			return true
		}
		defer origin.Close()
		if err := netns.Set(ns.handle); err != nil {
			result <- fmt.Errorf("enter network namespace %s: %w", ns.name, err)
			return true
		}
		err = fn()
		clean := netns.Set(origin) == nil
		result <- err
		return clean
	})
	return <-result
}

// close ends the thread. The name stays until removeNamespace.
func (ns *namespace) close() {
	ns.closed.Do(func() {
		close(ns.calls)
		<-ns.done
		ns.handle.Close()
	})
}

// addBridge makes the bridge with the server's address.
func (ns *namespace) addBridge(server netip.Prefix) error {
	return ns.do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find loopback: %w", err)
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			return fmt.Errorf("set loopback up: %w", err)
		}
		snooping := false // or multicast waits for a querier that is not there
		bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &snooping}
		bridge.Name = bridgeName
		// A fixed address, or the bridge takes that of its lowest port and changes it as ports come and go.
		bridge.HardwareAddr = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
		if err := netlink.LinkAdd(bridge); err != nil {
			return fmt.Errorf("create bridge: %w", err)
		}
		addr := &netlink.Addr{IPNet: &net.IPNet{
			IP: server.Addr().AsSlice(), Mask: net.CIDRMask(server.Bits(), server.Addr().BitLen()),
		}}
		if err := netlink.AddrAdd(bridge, addr); err != nil {
			return fmt.Errorf("set bridge address %s: %w", server, err)
		}
		if err := netlink.LinkSetUp(bridge); err != nil {
			return fmt.Errorf("set bridge up: %w", err)
		}
		return nil
	})
}

// addTap makes a tap on the bridge, if it is not there already.
func (ns *namespace) addTap(name string) error {
	return ns.do(func() error {
		if _, err := netlink.LinkByName(name); err == nil {
			return nil
		}
		bridge, err := netlink.LinkByName(bridgeName)
		if err != nil {
			return fmt.Errorf("find bridge: %w", err)
		}
		tap := &netlink.Tuntap{
			LinkAttrs: netlink.NewLinkAttrs(), Mode: netlink.TUNTAP_MODE_TAP,
			Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR,
		}
		tap.Name = name
		tap.MasterIndex = bridge.Attrs().Index
		if err := netlink.LinkAdd(tap); err != nil {
			return fmt.Errorf("create tap %s: %w", name, err)
		}
		if err := netlink.LinkSetUp(tap); err != nil {
			return fmt.Errorf("set tap %s up: %w", name, err)
		}
		return nil
	})
}

func (ns *namespace) setLink(name string, up bool) error {
	return ns.do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find tap %s: %w", name, err)
		}
		set := netlink.LinkSetDown
		if up {
			set = netlink.LinkSetUp
		}
		if err := set(link); err != nil {
			return fmt.Errorf("set tap %s: %w", name, err)
		}
		return nil
	})
}

// setRate limits what goes out of a tap, that is, to the machine, by a token bucket filter (tc-tbf(8)); 0 lifts it.
func (ns *namespace) setRate(name string, bytesPerSecond uint64) error {
	return ns.do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find tap %s: %w", name, err)
		}
		attrs := netlink.QdiscAttrs{
			LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT,
		}
		if bytesPerSecond == 0 {
			err := netlink.QdiscDel(&netlink.Tbf{QdiscAttrs: attrs})
			if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) { // there was none
				return fmt.Errorf("lift the limit of tap %s: %w", name, err)
			}
			return nil
		}
		const burst = 64 << 10 // a whole segmentation-offload packet
		// What does not fit into half a second of the link is dropped, as a switch does.
		limit := burst + bytesPerSecond/2
		err = netlink.QdiscReplace(&netlink.Tbf{
			QdiscAttrs: attrs, Rate: bytesPerSecond, Limit: uint32(min(limit, 1<<31)),
			Buffer: netlink.Xmittime(bytesPerSecond, burst),
		})
		if err != nil {
			return fmt.Errorf("limit tap %s: %w", name, err)
		}
		return nil
	})
}

// processesIn lists the processes whose network namespace is the named one, but for this process.
func processesIn(namespace string) ([]Process, error) {
	var want unix.Stat_t
	switch err := unix.Stat(filepath.Join(namespaceDir, namespace), &want); {
	case errors.Is(err, unix.ENOENT):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("network namespace %s: %w", namespace, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, err := identify(pid)
		if err != nil {
			continue // gone meanwhile
		}
		var got unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &got) == nil && got.Dev == want.Dev && got.Ino == want.Ino {
			found = append(found, p)
		}
	}
	return found, nil
}

// removeNamespace drops the name; the namespace itself, with bridge and taps, goes with its last process.
func removeNamespace(name string) error {
	path := filepath.Join(namespaceDir, name)
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount network namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return nil
}

// literal refuses host names: they would be resolved by other threads, outside the namespace.
func literal(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("address %q: there are no host names in the rack, give an IP address", address)
	}
	return nil
}

func (ns *namespace) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if err := literal(address); err != nil {
		return nil, err
	}
	err = ns.enter(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
