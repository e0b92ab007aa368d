package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"net"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
)

// snapshot reads all in one transaction.
type snapshot struct{ *sql.Tx }

func (s snapshot) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return s.QueryContext(ctx, query, args...)
}

func (s *Store) Leases(ctx context.Context) ([]dhcp.Lease, error) {
	const doing = "list leases"
	if s.isClosed() {
		return nil, ErrClosed
	}
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, s.fail(ctx, doing, err)
	}
	defer func() { _ = tx.Rollback() }()
	x, err := readLeases(ctx, snapshot{tx})
	if err != nil {
		return nil, s.fail(ctx, doing, err)
	}
	out := make([]dhcp.Lease, 0, len(x.rows))
	for k, r := range x.rows {
		out = append(out, x.unpack(k, r))
	}
	return out, nil
}

func (s *Store) SaveLease(ctx context.Context, l dhcp.Lease) error {
	l, err := inventory.NormalizeLease(l)
	if err != nil {
		return err
	}
	return s.write(ctx, "save the lease of "+l.Addr.String(), func(t *tx) error {
		errs, err := t.saveLeases([]dhcp.Lease{l})
		if err != nil {
			return err
		}
		return errs[0]
	})
}

// SaveLeases makes the store a [dhcp.LeaseBatchStore]: all in one transaction.
func (s *Store) SaveLeases(ctx context.Context, leases []dhcp.Lease) []error {
	errs := make([]error, len(leases))
	ready := make([]dhcp.Lease, 0, len(leases))
	index := make([]int, 0, len(leases))
	for i := range leases {
		l, err := inventory.NormalizeLease(leases[i])
		if err != nil {
			errs[i] = err
			continue
		}
		ready, index = append(ready, l), append(index, i)
	}
	if len(ready) == 0 {
		return errs
	}
	var results []error
	err := s.write(ctx, fmt.Sprintf("save %d leases", len(ready)), func(t *tx) (err error) {
		results, err = t.saveLeases(ready)
		return err
	})
	for j, i := range index {
		if err != nil {
			errs[i] = err
		} else {
			errs[i] = results[j]
		}
	}
	return errs
}

func (s *Store) DeleteLease(ctx context.Context, subnet string, mac net.HardwareAddr) error {
	return s.write(ctx, "delete the lease of "+mac.String(), func(t *tx) error {
		return t.deleteLease(subnet, mac)
	})
}
