package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// Run watches until ctx ends, and returns nil. It returns an error only if it could not begin. An interface that goes
// away is waited for.
func (w *Watch) Run(ctx context.Context) error {
	if w.Report == nil {
		return errors.New("dhcp: nobody is told what is watched: Report is nil")
	}
	listeners := make([]*watchLink, len(w.Interfaces))
	for i, name := range w.Interfaces {
		l, err := openWatch(name)
		if err != nil {
			for _, l := range listeners[:i] {
				l.conn.Close()
			}
			return fmt.Errorf("dhcp: watch interface %s: %w", name, err)
		}
		listeners[i] = l
	}
	var all sync.WaitGroup
	for _, l := range listeners {
		all.Go(func() { w.follow(ctx, l) })
	}
	all.Wait()
	return nil
}

type watchLink struct {
	ifi   *net.Interface
	conn  *packet.Conn
	addrs []netip.Addr
	at    time.Time
}

func openWatch(name string) (*watchLink, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("find the interface: %w", err)
	}
	conn, err := openPacket(ifi, udpTo(ClientPort, unix.PACKET_OUTGOING))
	if err != nil {
		return nil, err
	}
	return &watchLink{ifi: ifi, conn: conn}, nil
}

// follow watches one interface, also after it was made anew.
func (w *Watch) follow(ctx context.Context, l *watchLink) {
	const pause = 5 * time.Second
	name := l.ifi.Name
	for {
		err := w.listen(ctx, l)
		l.conn.Close()
		if ctx.Err() != nil {
			return
		}
		w.log().Warn("dhcp: cannot watch for other servers, will try again", "interface", name, "err", err)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			if l, err = openWatch(name); err == nil {
				break
			}
			w.log().Debug("dhcp: still cannot watch for other servers", "interface", name, "err", err)
		}
	}
}

// listen reads from a socket until ctx ends or it no longer works.
func (w *Watch) listen(ctx context.Context, l *watchLink) error {
	buf := make([]byte, 1<<16)
	var asked time.Time
	for ctx.Err() == nil {
		now := time.Now()
		if w.Every > 0 && now.Sub(asked) >= w.Every {
			asked = now
			if err := l.ask(); err != nil {
				w.log().Warn("dhcp: cannot ask for other servers", "interface", l.ifi.Name, "err", err)
			}
		}
		if err := l.conn.SetReadDeadline(now.Add(time.Second)); err != nil {
			return err
		}
		n, from, err := l.conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// As in [link.receive]: a socket of an interface that was deleted may wait for ever.
			if current, err := net.InterfaceByName(l.ifi.Name); err != nil || current.Index != l.ifi.Index {
				return fmt.Errorf("the interface is gone: %w", os.ErrNotExist)
			}
			continue
		}
		if err != nil {
			return err
		}
		sender, ok := from.(*packet.Addr)
		if !ok || sender.HardwareAddr.String() == l.ifi.HardwareAddr.String() {
			continue
		}
		r, rogue := w.heard(sender.HardwareAddr, l.own(), buf[:n])
		if r.Time, r.Interface = time.Now(), l.ifi.Name; rogue && w.first(r) {
			w.Report(r)
		}
	}
	return ctx.Err()
}

// own returns our addresses, a second old at most.
func (l *watchLink) own() []netip.Addr {
	if now := time.Now(); now.Sub(l.at) > time.Second {
		if prefixes, err := prefixesOf(l.ifi); err == nil {
			l.addrs, l.at = nil, now
			for _, p := range prefixes {
				l.addrs = append(l.addrs, p.Addr())
			}
		}
	}
	return l.addrs
}

// ask broadcasts a stranger's DHCPDISCOVER.
func (l *watchLink) ask() error {
	p, err := strangersDiscover(l.ifi.HardwareAddr)
	if err != nil {
		return err
	}
	frame := datagram(netip.Addr{}, ClientPort, netip.AddrPortFrom(limitedBroadcast, ServerPort), p.ToBytes())
	_, err = l.conn.WriteTo(frame, &packet.Addr{HardwareAddr: ethernetAll})
	return err
}

func (w *Watch) log() *slog.Logger {
	if w.Log != nil {
		return w.Log
	}
	return slog.Default()
}
