package pxe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A tftpLoop drives all transfers of files that are held in memory in one thread: it waits for all their sockets at
// once, and answers each acknowledgement in place. TFTP is lock-step, so that its speed is how soon an answer to an
// answer leaves; a goroutine for each transfer spends more time on being woken than on sending
// (`make bench-boot` measured 136 MB/s with goroutines, where dnsmasq's loop had 187).
type tftpLoop struct {
	poll, wake int // epoll and eventfd

	mu     sync.Mutex
	orders []tftpOrder
	closed bool
	ended  chan struct{}
}

// A tftpOrder is what the loop is asked to do: to begin a transfer, or to end it.
type tftpOrder struct {
	drive *tftpDrive
	end   error
}

// A tftpDrive is a transfer in the loop.
type tftpDrive struct {
	*tftpSender
	fd   int
	done chan error // gets the outcome, once
	over bool
}

// tftpTick is how exactly the loop keeps time.
const tftpTick = 20 * time.Millisecond

func newTFTPLoop() (*tftpLoop, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)})
		if err != nil {
			_ = unix.Close(wake)
		}
	}
	if err != nil {
		_ = unix.Close(poll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &tftpLoop{poll: poll, wake: wake, ended: make(chan struct{})}
	go l.run()
	return l, nil
}

// close ends the loop when no transfer is in it any more, and waits for that.
func (l *tftpLoop) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.awake()
	<-l.ended
	_ = unix.Close(l.poll)
	_ = unix.Close(l.wake)
}

func (l *tftpLoop) awake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(l.wake, one[:]) // it fails only where it is awake already
}

func (l *tftpLoop) order(o tftpOrder) {
	l.mu.Lock()
	l.orders = append(l.orders, o)
	l.mu.Unlock()
	l.awake()
}

// drive brings s to its end, which is that of ctx at the latest. last, if it is not nil, makes the packet that the client
// is sent when it ended badly.
func (l *tftpLoop) drive(ctx context.Context, s *tftpSender, local netip.Addr, client netip.AddrPort, last func(error) []byte) error {
	fd, err := tftpSocket(local, client)
	if err != nil {
		return errTFTPSocket(err)
	}
	defer unix.Close(fd)
	d := &tftpDrive{tftpSender: s, fd: fd, done: make(chan error, 1)}
	s.write = func(p []byte) error { return sendNow(fd, p) }
	l.order(tftpOrder{drive: d})
	select {
	case err = <-d.done:
	case <-ctx.Done():
		l.order(tftpOrder{drive: d, end: context.Cause(ctx)})
		err = <-d.done
	}
	if p := last(err); p != nil {
		_ = sendNow(fd, p)
	}
	return err
}

// sendNow and receiveNow are send(2) and recv(2) of a socket that does not block. The Go scheduler is not told of them:
// they are over before it could do anything about it, and telling it costs CPU time for every block.
func sendNow(fd int, p []byte) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func receiveNow(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// tftpSocket opens the transfer's own port (its transfer identifier), connected: the kernel keeps everybody else away
// and tells when the client has closed its port. It stays out of the Go runtime's poller.
func tftpSocket(local netip.Addr, client netip.AddrPort) (int, error) {
	family := unix.AF_INET
	if client.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if local.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(local, 0))); err != nil {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("bind to %s: %w", local, err)
		}
	}
	if err := unix.Connect(fd, sockaddr(client)); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", client, err)
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port()), ZoneId: zone(a.Addr())}
}

// run is the loop.
func (l *tftpLoop) run() {
	defer close(l.ended)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	drives := make(map[int32]*tftpDrive)
	finish := func(d *tftpDrive, err error) {
		if d.over {
			return
		}
		d.over = true
		delete(drives, int32(d.fd))
		// Before the owner closes the socket, whose number then is another's.
		_ = unix.EpollCtl(l.poll, unix.EPOLL_CTL_DEL, d.fd, nil)
		d.done <- err
	}
	events := make([]unix.EpollEvent, 256)
	buffer := make([]byte, 512)
	looked := time.Now()
	for {
		timeout := -1
		if len(drives) > 0 {
			timeout = int(tftpTick.Milliseconds())
		}
		n, err := unix.EpollWait(l.poll, events, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			// It cannot be: both descriptors are ours and open.
			n = 0
			time.Sleep(tftpTick)
		}
		now := time.Now()
		for _, e := range events[:max(n, 0)] {
			if e.Fd == int32(l.wake) {
				if l.obey(drives, finish, buffer, now) {
					return
				}
				continue
			}
			if d := drives[e.Fd]; d != nil {
				if err := d.ready(buffer, now); err != nil {
					finish(d, err)
				}
			}
		}
		if now.Sub(looked) >= tftpTick {
			looked = now
			for _, d := range drives {
				if now.Before(d.again) {
					continue
				}
				if err := d.expire(now); err != nil {
					finish(d, err)
				}
			}
		}
	}
}

// ready reads one packet. Where there are more, epoll says so again.
func (d *tftpDrive) ready(buffer []byte, now time.Time) error {
	n, err := receiveNow(d.fd, buffer)
	switch {
	case err == nil:
		return d.hear(buffer[:n], now)
	case errors.Is(err, unix.ECONNREFUSED):
		return d.refused(err)
	case passing(err):
		return nil
	}
	return fmt.Errorf("receiving from the client: %w", err)
}

// obey does what has been ordered, and says whether the loop is at its end.
func (l *tftpLoop) obey(drives map[int32]*tftpDrive, finish func(*tftpDrive, error), buffer []byte, now time.Time) bool {
	_, _ = unix.Read(l.wake, buffer[:8])
	l.mu.Lock()
	orders, closed := l.orders, l.closed
	l.orders = nil
	l.mu.Unlock()
	for _, o := range orders {
		if o.end != nil {
			finish(o.drive, o.end)
			continue
		}
		d := o.drive
		drives[int32(d.fd)] = d
		err := unix.EpollCtl(l.poll, unix.EPOLL_CTL_ADD, d.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(d.fd)})
		if err == nil {
			err = d.begin(now)
		}
		if err != nil {
			finish(d, err)
		}
	}
	return closed && len(drives) == 0
}
