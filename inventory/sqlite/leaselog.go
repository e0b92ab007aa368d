package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/project-loda/loda/dhcp"
)

// Leases are saved in the moment in which a rack powers on, and each wait for the disk is a wait of machines. A row of the
// table leases lies in one of hundreds of pages, its index entry in another, and each page that a commit touches is
// written as a whole. So leases are appended to lease_log, all leases of a call in one row: a commit of a hundred leases
// writes two pages. Who holds which address is looked up in memory. The writer moves what was logged into the table
// leases when it has nothing else to do, or when too much has come together; a process that begins, or is killed and
// begins again, reads the table and then the log, whose entries in their order are right about all that they name.

// There can be hundreds of thousands of leases, so what is kept of them holds no pointers, which the garbage collector
// would follow each time: texts are numbers in a list.

// leaseKey names a lease.
type leaseKey struct {
	subnet uint32 // in texts
	mac    hardware
}

// hardware is a hardware address as long as DHCP can carry one (RFC 2131 section 2: chaddr).
type hardware struct {
	length uint8
	bytes  [16]byte
}

func hardwareOf[S ~string | ~[]byte](mac S) (h hardware, ok bool) {
	h.length = uint8(copy(h.bytes[:], mac))
	return h, len(mac) > 0 && len(mac) <= len(h.bytes)
}

func (h hardware) addr() net.HardwareAddr { return net.HardwareAddr(slices.Clone(h.bytes[:h.length])) }

// ip is an address as [netip.Addr.As16].
type ip [16]byte

// leaseRow is the rest of a lease, as the table keeps it.
type leaseRow struct {
	addr             ip
	hostname         uint32 // in texts
	declined         bool
	granted, expires int64 // microseconds since 1970
}

// texts numbers subnets and host names.
type texts struct {
	all    []string
	number map[string]uint32
}

func (t *texts) of(s string) uint32 {
	n, ok := t.number[s]
	if !ok {
		n = uint32(len(t.all))
		s = strings.Clone(s)
		t.all, t.number[s] = append(t.all, s), n
	}
	return n
}

// leaseIndex is all leases in memory. The writer's belongs to whoever has the writer's turn.
type leaseIndex struct {
	texts texts
	rows  map[leaseKey]leaseRow
	owner map[ip]leaseKey

	// dirty are the leases that the log knows better than the table, logged counts entries of the log, last is its
	// highest id.
	dirty  map[leaseKey]struct{}
	logged int
	last   int64
	// folding are the dirty leases that are still to be written of those that were when the fold began, at id upTo.
	folding []leaseKey
	upTo    int64
	upToLog int

	// undo takes the changes of a transaction back.
	undo []func()
}

func newLeaseIndex() *leaseIndex {
	return &leaseIndex{texts: texts{number: map[string]uint32{}}, rows: map[leaseKey]leaseRow{}, owner: map[ip]leaseKey{},
		dirty: map[leaseKey]struct{}{}}
}

// pack brings a lease into the form of the index.
func (x *leaseIndex) pack(l *dhcp.Lease) (leaseKey, leaseRow, error) {
	mac, ok := hardwareOf(l.MAC)
	if !ok {
		return leaseKey{}, leaseRow{}, fmt.Errorf("lease of %s: hardware address %s has %d bytes, DHCP carries 16 at most",
			l.Addr, l.MAC, len(l.MAC))
	}
	return leaseKey{x.texts.of(l.Subnet), mac}, leaseRow{addr: l.Addr.As16(), hostname: x.texts.of(l.Hostname),
		declined: l.Declined, granted: l.GrantedAt.UnixMicro(), expires: l.ExpiresAt.UnixMicro()}, nil
}

func (x *leaseIndex) unpack(k leaseKey, r leaseRow) dhcp.Lease {
	return dhcp.Lease{Subnet: x.texts.all[k.subnet], MAC: k.mac.addr(), Addr: netip.AddrFrom16(r.addr).Unmap(),
		Hostname: x.texts.all[r.hostname], GrantedAt: time.UnixMicro(r.granted).UTC(),
		ExpiresAt: time.UnixMicro(r.expires).UTC(), Declined: r.declined}
}

// put stores r and, since an address is in one lease at most, removes who had its address.
func (x *leaseIndex) put(k leaseKey, r leaseRow) {
	if other, taken := x.owner[r.addr]; taken && other != k {
		x.remove(other)
	}
	x.remove(k)
	x.rows[k], x.owner[r.addr] = r, k
	x.dirty[k] = struct{}{}
}

func (x *leaseIndex) remove(k leaseKey) {
	if old, ok := x.rows[k]; ok {
		delete(x.rows, k)
		if x.owner[old.addr] == k {
			delete(x.owner, old.addr)
		}
		x.dirty[k] = struct{}{}
	}
}

// change notes how two leases and an address are, before they are changed. What is dirty stays so, which only costs
// writing it once more.
func (x *leaseIndex) change(k leaseKey, addr ip) {
	row, had := x.rows[k]
	owner, owned := x.owner[addr]
	ownerRow := x.rows[owner]
	logged, last := x.logged, x.last
	x.undo = append(x.undo, func() {
		x.remove(k)
		if owned {
			x.put(owner, ownerRow)
		}
		if had {
			x.put(k, row)
		}
		x.logged, x.last = logged, last
	})
}

// revert takes back what was changed since there were n changes.
func (x *leaseIndex) revert(n int) {
	for len(x.undo) > n {
		x.undo[len(x.undo)-1]()
		x.undo = x.undo[:len(x.undo)-1]
	}
}

// Entries of the log are, one after the other behind logVersion: the kind, then subnet, hardware address, and, of a
// put, address, host name, both times and the mark of a declined address.
const (
	logVersion = 1
	logPut     = 1
	logDelete  = 2
)

func appendText[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendPut(b []byte, l *dhcp.Lease) []byte {
	b = appendText(appendText(append(b, logPut), l.Subnet), l.MAC)
	b = appendText(appendText(b, l.Addr.AsSlice()), l.Hostname)
	b = binary.AppendVarint(binary.AppendVarint(b, l.GrantedAt.UnixMicro()), l.ExpiresAt.UnixMicro())
	if l.Declined {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendDelete(b []byte, subnet string, mac net.HardwareAddr) []byte {
	return appendText(appendText(append(b, logDelete), subnet), mac)
}

var errLog = errors.New("an entry of the lease log cannot be read")

// replay applies the entries of a row of the log.
func (x *leaseIndex) replay(b []byte) error {
	if len(b) == 0 || b[0] != logVersion {
		return errLog
	}
	b = b[1:]
	bad := false
	text := func() string {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			bad, b = true, nil
			return ""
		}
		s := string(b[size : size+int(n)])
		b = b[size+int(n):]
		return s
	}
	number := func() int64 {
		n, size := binary.Varint(b)
		if size <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[size:]
		return n
	}
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		subnet, mac := text(), text()
		h, ok := hardwareOf(mac)
		if bad || !ok {
			return errLog
		}
		k := leaseKey{x.texts.of(subnet), h}
		switch kind {
		case logDelete:
			x.remove(k)
			x.dirty[k] = struct{}{}
		case logPut:
			addr, ok := netip.AddrFromSlice([]byte(text()))
			name, granted, expires := text(), number(), number()
			if bad || !ok || len(b) == 0 {
				return errLog
			}
			x.put(k, leaseRow{addr: addr.As16(), hostname: x.texts.of(name), declined: b[0] == 1, granted: granted,
				expires: expires})
			b = b[1:]
		default:
			return errLog
		}
		x.logged++
	}
	return nil
}

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

// logRow is one row of the log.
type logRow struct {
	id      int64
	entries []byte
}

func scanLog(rows *sql.Rows, r *logRow) error { return rows.Scan(&r.id, &r.entries) }

// readLeases reads table and log, both in the same transaction of q.
func readLeases(ctx context.Context, q querier) (*leaseIndex, error) {
	x := newLeaseIndex()
	rows, err := q.query(ctx, "SELECT subnet, mac, addr, hostname, granted_at, expires_at, declined FROM leases")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var l dhcp.Lease
		if err := scanLease(rows, &l); err != nil {
			return nil, err
		}
		k, r, err := x.pack(&l)
		if err != nil {
			return nil, err
		}
		x.put(k, r)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	clear(x.dirty)
	for {
		log, err := list(ctx, q, scanLog, "SELECT id, entries FROM lease_log WHERE id > ? ORDER BY id LIMIT 1000", x.last)
		if err != nil {
			return nil, err
		}
		for _, r := range log {
			if err := x.replay(r.entries); err != nil {
				return nil, fmt.Errorf("row %d of lease_log: %w", r.id, err)
			}
			x.last = r.id
		}
		if len(log) < 1000 {
			return x, nil
		}
	}
}

// leases returns the writer's index.
func (t *tx) leases() (*leaseIndex, error) {
	if x := t.index; x != nil && len(x.undo) == 0 && x.logged == 0 && len(x.folding) == 0 && len(x.texts.all) > 2*len(x.rows)+1000 {
		t.index = nil // it knows too many host names that nobody has any more, and the log does not name them either
	}
	if t.index == nil {
		x, err := readLeases(context.Background(), t)
		if err != nil {
			return nil, err
		}
		t.index = x
	}
	return t.index, nil
}

// saveLeases saves what it may and says of each lease why it was not.
func (t *tx) saveLeases(leases []dhcp.Lease) ([]error, error) {
	x, err := t.leases()
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(leases))
	b := []byte{logVersion}
	n := 0
	for i := range leases {
		l := &leases[i]
		k, r, err := x.pack(l)
		if err != nil {
			errs[i] = err
			continue
		}
		if other, taken := x.owner[r.addr]; taken && other.mac != k.mac {
			if held := x.rows[other]; held.expires > r.granted {
				errs[i] = fmt.Errorf("lease of %s for %s: %w (%s until %s)", l.Addr, l.MAC, dhcp.ErrAddressTaken,
					other.mac.addr(), time.UnixMicro(held.expires).UTC())
				continue
			}
		}
		x.change(k, r.addr)
		x.put(k, r)
		x.logged++
		n++
		b = appendPut(b, l)
	}
	if n == 0 {
		return errs, nil
	}
	return errs, t.appendLog(x, b)
}

func (t *tx) deleteLease(subnet string, mac net.HardwareAddr) error {
	x, err := t.leases()
	if err != nil {
		return err
	}
	h, _ := hardwareOf(mac)
	k := leaseKey{x.texts.of(subnet), h}
	row, ok := x.rows[k]
	if !ok {
		return nil
	}
	x.change(k, row.addr)
	x.remove(k)
	x.logged++
	return t.appendLog(x, appendDelete([]byte{logVersion}, subnet, mac))
}

func (t *tx) appendLog(x *leaseIndex, entries []byte) error {
	res, err := t.exec("INSERT INTO lease_log (entries) VALUES (?)", entries)
	if err != nil {
		return err
	}
	x.last, err = res.LastInsertId()
	return err
}

const (
	// foldIdle is how long no lease was saved before the log is folded into the table.
	foldIdle = time.Second
	// maxLogged is how many entries the log may have before it is folded though leases are being saved: some 25 MB.
	maxLogged = 400_000
	// foldAtOnce bounds the leases that one transaction moves, foldBetween those that it moves while leases are being
	// saved: as long as it takes they wait.
	foldAtOnce  = 128
	foldBetween = 24
)

// fold moves some leases from the log to the table, in the order of the table, which touches the fewest pages. It
// reports whether there is more to do.
func (w *writer) fold(most int) (more bool, err error) {
	t, err := w.begin()
	if err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			w.rollback()
		}
	}()
	x, err := t.leases()
	if err != nil {
		return false, err
	}
	if len(x.folding) == 0 {
		if x.logged == 0 {
			w.rollback()
			return false, nil
		}
		for k := range x.dirty {
			x.folding = append(x.folding, k)
		}
		slices.SortFunc(x.folding, func(a, b leaseKey) int {
			return cmp.Or(cmp.Compare(x.texts.all[a.subnet], x.texts.all[b.subnet]),
				bytes.Compare(a.mac.bytes[:a.mac.length], b.mac.bytes[:b.mac.length]))
		})
		clear(x.dirty)
		x.upTo, x.upToLog = x.last, x.logged
	}
	chunk := x.folding[:min(len(x.folding), most)]
	for _, k := range chunk {
		subnet, mac := x.texts.all[k.subnet], k.mac.addr().String()
		if r, ok := x.rows[k]; ok {
			// Who else had the address is replaced with it.
			_, err = t.exec(`INSERT OR REPLACE INTO leases (subnet, mac, addr, hostname, granted_at, expires_at, declined)
				VALUES (?, ?, ?, ?, ?, ?, ?)`, subnet, mac, netip.AddrFrom16(r.addr).Unmap().String(),
				x.texts.all[r.hostname], r.granted, r.expires, r.declined)
		} else {
			_, err = t.exec("DELETE FROM leases WHERE subnet = ? AND mac = ?", subnet, mac)
		}
		if err != nil {
			return false, err
		}
	}
	last := len(chunk) == len(x.folding)
	if last {
		if _, err := t.exec("DELETE FROM lease_log WHERE id <= ?", x.upTo); err != nil {
			return false, err
		}
	}
	if _, err := t.exec("COMMIT"); err != nil {
		return false, err
	}
	x.folding = x.folding[len(chunk):]
	if last {
		x.folding, x.logged = nil, x.logged-x.upToLog
	}
	return x.logged > 0, nil
}
