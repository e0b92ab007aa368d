package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
)

func scanLease(rows *sql.Rows, l *dhcp.Lease) error {
	var mac, addr string
	err := rows.Scan(&l.Subnet, &mac, &addr, &l.Hostname, moment{&l.GrantedAt}, moment{&l.ExpiresAt}, &l.Declined)
	if err != nil {
		return err
	}
	if l.MAC, err = net.ParseMAC(mac); err != nil {
		return err
	}
	l.Addr, err = netip.ParseAddr(addr)
	return err
}

func (s *Store) Leases(ctx context.Context) ([]dhcp.Lease, error) {
	ls, err := list(ctx, s, scanLease, "SELECT subnet, mac, addr, hostname, granted_at, expires_at, declined FROM leases")
	return ls, s.fail(ctx, "list leases", err)
}

// holder is who has an address, expired or not.
type holder struct {
	subnet, mac string
	until       time.Time
}

func scanHolder(rows *sql.Rows, h *holder) error {
	return rows.Scan(&h.subnet, &h.mac, moment{&h.until})
}

func (s *Store) SaveLease(ctx context.Context, l dhcp.Lease) error {
	l, err := inventory.NormalizeLease(l)
	if err != nil {
		return err
	}
	mac, addr := l.MAC.String(), l.Addr.String()
	return s.write(ctx, "save the lease of "+addr, func(t *tx) error {
		h, err := one(ctx, t, scanHolder, "SELECT subnet, mac, expires_at FROM leases WHERE addr = ?", addr)
		switch {
		case errors.Is(err, inventory.ErrNotFound):
		case err != nil:
			return err
		case h.mac != mac && h.until.After(l.GrantedAt):
			return fmt.Errorf("lease of %s for %s: %w (%s until %s)", addr, mac, dhcp.ErrAddressTaken, h.mac, h.until)
		case h.mac != mac || h.subnet != l.Subnet:
			if _, err := t.exec("DELETE FROM leases WHERE addr = ?", addr); err != nil {
				return err
			}
		}
		_, err = t.exec(`INSERT INTO leases (subnet, mac, addr, hostname, granted_at, expires_at, declined)
			VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (subnet, mac) DO UPDATE SET addr = excluded.addr, hostname = excluded.hostname,
				granted_at = excluded.granted_at, expires_at = excluded.expires_at, declined = excluded.declined`,
			l.Subnet, mac, addr, l.Hostname, micros(l.GrantedAt), micros(l.ExpiresAt), l.Declined)
		return err
	})
}

func (s *Store) DeleteLease(ctx context.Context, subnet string, mac net.HardwareAddr) error {
	return s.write(ctx, "delete the lease of "+mac.String(), func(t *tx) error {
		_, err := t.exec("DELETE FROM leases WHERE subnet = ? AND mac = ?", subnet, mac.String())
		return err
	})
}
