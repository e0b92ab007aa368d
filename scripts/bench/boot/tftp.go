//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A romClient is the TFTP client of a PXE ROM. All of them share one thread and epoll: a goroutine for each would cost
// more than the servers do, and the table would tell of Go's scheduler.
type romClient struct {
	fd       int
	want     []byte // the file
	have     int    // bytes
	block    uint16 // the last that came in order
	size     int    // of a block; 512 until the server says otherwise
	window   int
	pending  int // blocks since the last acknowledgement
	peer     unix.SockaddrInet4
	last     []byte // what was said last
	lastAt   time.Time
	silences int
	left     int // files
}

const (
	romWait     = time.Second
	romSilences = 15
)

// tftpStorm lets all clients begin in the same moment.
func tftpStorm(s storm) (o outcome, err error) {
	want, err := os.ReadFile(filepath.Join(s.Dir, s.Files[0]))
	if err != nil {
		return o, err
	}
	server, err := netip.ParseAddr(s.Server)
	if err != nil {
		return o, err
	}
	port := unix.SockaddrInet4{Port: 69, Addr: server.As4()}
	request := fmt.Appendf(nil, "\x00\x01%s\x00octet\x00blksize\x00%d\x00tsize\x000\x00", s.Files[0], s.Block)
	if s.Window > 0 {
		request = fmt.Appendf(request, "windowsize\x00%d\x00", s.Window)
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return o, err
	}
	defer unix.Close(poll)
	roms := make(map[int32]*romClient, s.Clients)
	begin := func(i int32, c *romClient) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: clientAddr(int(i))}); err != nil {
			return err
		}
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: i}); err != nil {
			return err
		}
		*c = romClient{fd: fd, want: want, size: 512, window: 1, peer: port, left: c.left}
		return c.say(request)
	}
	for i := range int32(s.Clients) {
		roms[i] = &romClient{left: s.Repeat}
	}
	start := time.Now()
	for i, c := range roms {
		if err := begin(i, c); err != nil {
			return o, err
		}
	}
	end := func(i int32, c *romClient, why error) error {
		unix.Close(c.fd)
		if why != nil {
			o.Failed++
			if o.Why == "" {
				o.Why = why.Error()
			}
		} else {
			o.Loaded++
			o.Bytes += int64(c.have)
		}
		if c.left--; c.left == 0 {
			delete(roms, i)
			return nil
		}
		return begin(i, c)
	}
	events := make([]unix.EpollEvent, 256)
	buffer := make([]byte, 65536)
	looked := start
	for len(roms) > 0 {
		n, err := unix.EpollWait(poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return o, err
		}
		for _, e := range events[:max(n, 0)] {
			c := roms[e.Fd]
			if c == nil {
				continue
			}
			done, err := c.hear(buffer)
			if done || err != nil {
				if err := end(e.Fd, c, err); err != nil {
					return o, err
				}
			}
		}
		now := time.Now()
		if now.Sub(looked) < 100*time.Millisecond {
			continue
		}
		looked = now
		for i, c := range roms {
			if now.Sub(c.lastAt) < romWait {
				continue
			}
			var err error
			if c.silences++; c.silences > romSilences || now.Sub(start) > s.Deadline {
				err = end(i, c, fmt.Errorf("server fell silent after %d bytes", c.have))
			} else {
				o.Repeated++
				err = c.say(c.last)
			}
			if err != nil {
				return o, err
			}
		}
	}
	o.Seconds = time.Since(start).Seconds()
	return o, nil
}

func (c *romClient) say(p []byte) error {
	c.last, c.lastAt = p, time.Now()
	err := unix.Sendto(c.fd, p, 0, &c.peer)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	return err
}

func (c *romClient) ack() error {
	c.pending = 0
	return c.say(binary.BigEndian.AppendUint16([]byte{0, 4}, c.block))
}

// hear reads all that has come.
func (c *romClient) hear(buffer []byte) (done bool, err error) {
	for {
		n, from, err := unix.Recvfrom(c.fd, buffer, 0)
		if errors.Is(err, unix.EAGAIN) {
			return false, nil
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			continue
		}
		if err != nil {
			return false, err
		}
		if done, err := c.packet(buffer[:n], from.(*unix.SockaddrInet4)); done || err != nil {
			return done, err
		}
		if c.window == 1 {
			return false, nil // one question, one answer: epoll tells if there is more
		}
	}
}

func (c *romClient) packet(p []byte, from *unix.SockaddrInet4) (done bool, err error) {
	if len(p) < 4 {
		return false, nil
	}
	if c.peer.Port == 69 {
		c.peer.Port = from.Port
	}
	if from.Port != c.peer.Port {
		return false, nil
	}
	switch p[1] {
	case 5:
		return false, fmt.Errorf("server: %s", bytes.TrimRight(p[4:], "\x00"))
	case 6:
		words := bytes.Split(p[2:], []byte{0})
		for i := 0; i+1 < len(words); i += 2 {
			switch string(words[i]) {
			case "blksize":
				fmt.Sscan(string(words[i+1]), &c.size)
			case "windowsize":
				fmt.Sscan(string(words[i+1]), &c.window)
			}
		}
		if c.have == 0 {
			return false, c.ack()
		}
	case 3:
		c.silences = 0
		data := p[4:]
		if binary.BigEndian.Uint16(p[2:]) != c.block+1 {
			if c.window == 1 || c.pending > 0 {
				return false, c.ack()
			}
			return false, nil
		}
		if c.have+len(data) > len(c.want) || !bytes.Equal(data, c.want[c.have:c.have+len(data)]) {
			return false, fmt.Errorf("wrong bytes after %d", c.have)
		}
		c.have += len(data)
		c.block++
		c.pending++
		if len(data) < c.size {
			if c.have != len(c.want) {
				return false, fmt.Errorf("the file ended after %d bytes", c.have)
			}
			return true, c.ack()
		}
		if c.pending >= c.window {
			return false, c.ack()
		}
	}
	return false, nil
}
