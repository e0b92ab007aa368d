package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Source says how a machine came to be known.
type Source string

const (
	// Imported machines were named by an operator. Only they can be installed.
	Imported Source = "imported"
	// Discovered machines reported themselves from the network. They are shown and otherwise left alone.
	Discovered Source = "discovered"
)

// A Machine is one physical (or virtual) server. It is known by its serial number; hardware addresses and the UUID
// are learnt, since both can change with a NIC, a mainboard or a BIOS setting.
type Machine struct {
	Serial Serial `json:"serial"`
	// Name is the host name that the installed system gets. Empty: derived from the serial number.
	Name   string `json:"name,omitempty"`
	Source Source `json:"source"`
	// Profile names what is to be installed.
	Profile string            `json:"profile,omitempty"`
	Rack    string            `json:"rack,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	// MACs are the hardware addresses that belong to this machine, in canonical form, sorted. No two machines ever
	// share one.
	MACs []MAC `json:"macs,omitempty"`
	// UUID is the SMBIOS UUID as last reported; informational, as whole batches share one.
	UUID string `json:"uuid,omitempty"`
	// Address is the IPv4 address that this machine must get. The zero value leaves the choice to the DHCP pool.
	Address netip.Addr `json:"address,omitzero"`
	// Vendor and Product are as last reported by the firmware.
	Vendor  string `json:"vendor,omitempty"`
	Product string `json:"product,omitempty"`
	// Facts is the last hardware report, a document of package hw.
	Facts json.RawMessage `json:"facts,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// LastSeenAt is when the machine last sent anything: DHCP, boot script, agent, first boot.
	LastSeenAt time.Time `json:"last_seen_at,omitzero"`
}

// Clone returns a copy that shares no memory with m.
func (m *Machine) Clone() Machine {
	c := *m
	c.Labels = maps.Clone(m.Labels)
	c.MACs = slices.Clone(m.MACs)
	c.Facts = bytes.Clone(m.Facts)
	return c
}

// Normalize brings m into the form in which stores keep it, or says everything that is wrong with it: Serial and MACs
// must be canonical, Address empty or the IPv4 address of a host, Facts empty or JSON. An empty Source becomes
// [Imported], MACs are sorted and lose repetitions, times become a [Moment], empty maps and slices nil.
func (m *Machine) Normalize() error {
	var bad []error
	if s, err := ParseSerial(string(m.Serial)); err != nil {
		bad = append(bad, err)
	} else if s != m.Serial {
		bad = append(bad, fmt.Errorf("serial number %q is not in canonical form, want %q", m.Serial, s))
	}
	switch m.Source {
	case "":
		m.Source = Imported
	case Imported, Discovered:
	default:
		bad = append(bad, fmt.Errorf("source %q is neither %s nor %s", m.Source, Imported, Discovered))
	}
	for _, mac := range m.MACs {
		if c, err := ParseMAC(string(mac)); err != nil {
			bad = append(bad, err)
		} else if c != mac {
			bad = append(bad, fmt.Errorf("MAC %q is not in canonical form, want %q", mac, c))
		}
	}
	slices.Sort(m.MACs)
	m.MACs = slices.Compact(m.MACs)
	if len(m.MACs) == 0 {
		m.MACs = nil
	}
	if m.Address.IsValid() {
		m.Address = m.Address.Unmap()
		broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
		if a := m.Address; !a.Is4() || a.IsUnspecified() || a.IsMulticast() || a == broadcast {
			bad = append(bad, fmt.Errorf("%s is not the IPv4 address of a host", a))
		}
	}
	if len(m.Labels) == 0 {
		m.Labels = nil
	}
	if len(m.Facts) == 0 {
		m.Facts = nil
	} else if !json.Valid(m.Facts) {
		bad = append(bad, errors.New("the facts are not valid JSON"))
	}
	m.CreatedAt, m.UpdatedAt, m.LastSeenAt = Moment(m.CreatedAt), Moment(m.UpdatedAt), Moment(m.LastSeenAt)
	return errors.Join(bad...)
}

// MachineFilter selects machines. The zero value selects all. Fields combine with AND.
type MachineFilter struct {
	Source  Source
	Profile string
	Rack    string
	// Query matches a substring of serial number, name, MAC, vendor or product, ignoring case. It has no wildcards.
	Query string
	// After is the serial number that ended the previous page; results are ordered by serial number.
	After Serial
	// Limit bounds the page; 0 means 100, the maximum is 1000.
	Limit int
}

// Match reports whether m is among what f selects, the page (After, Limit) aside.
func (f *MachineFilter) Match(m *Machine) bool {
	return (f.Source == "" || f.Source == m.Source) && (f.Profile == "" || f.Profile == m.Profile) &&
		(f.Rack == "" || f.Rack == m.Rack) &&
		(f.Query == "" || strings.Contains(m.SearchText(), strings.ToLower(f.Query)))
}

// SearchText is what [MachineFilter.Query] is looked for in: the fields in lower case, one a line. A database keeps it
// in a column, so that all backends find the same.
func (m *Machine) SearchText() string {
	var b strings.Builder
	for _, field := range [...]string{string(m.Serial), m.Name, m.Vendor, m.Product} {
		b.WriteString(strings.ToLower(field))
		b.WriteByte('\n')
	}
	for _, mac := range m.MACs {
		b.WriteString(string(mac))
		b.WriteByte('\n')
	}
	return b.String()
}

// MachineStore remembers machines. Implementations are safe for concurrent use, and everything that a method
// changes becomes visible at once or not at all.
type MachineStore interface {
	// Machine returns the machine with that serial number, or [ErrNotFound].
	Machine(ctx context.Context, serial Serial) (*Machine, error)

	// MachineByMAC returns the machine that owns mac, or [ErrNotFound].
	MachineByMAC(ctx context.Context, mac MAC) (*Machine, error)

	// Machines returns one page, ordered by serial number. Fewer than the limit means: the last page.
	Machines(ctx context.Context, f MachineFilter) ([]Machine, error)

	// CreateMachines adds all machines or none. A serial number that exists already as [Imported], a MAC or a
	// non-zero Address that another machine owns, or a duplicate within ms is refused; all offending entries are
	// reported at once in an [*ImportError] whose Rows count from 0. A machine that was only [Discovered] is
	// promoted: the fields that are given win, learnt ones (MACs, UUID, facts) are kept. Zero CreatedAt and UpdatedAt
	// become the present. [CheckImport] does all of this for a backend.
	CreateMachines(ctx context.Context, ms []Machine) error

	// UpdateMachine reads the machine, calls change with it and stores what change left, in one transaction.
	// change may be called more than once, must have no side effects and must not call the store; if it returns an
	// error, nothing is stored and the error is returned. The serial number cannot be changed. A MAC or a non-zero
	// Address that another machine owns is refused with a [*ConflictError]. UpdatedAt becomes the present unless
	// change set it. The stored machine is returned. [ErrNotFound] if there is none. [CheckUpdate] holds these rules.
	UpdateMachine(ctx context.Context, serial Serial, change func(*Machine) error) (*Machine, error)

	// DeleteMachine forgets a machine; its events and installations stay. [ErrNotFound] if there is none.
	DeleteMachine(ctx context.Context, serial Serial) error
}

// A MachineVersioner is a [MachineStore] that can say, at hardly any cost, whether it still knows the same machines: what
// was read of them may be kept in memory meanwhile. It is optional.
type MachineVersioner interface {
	// MachinesVersion returns another number than before when the serial number, source, name, address or a MAC of any
	// machine may have changed. A change that was made through this store shows in it before the call that made it
	// returns, one that another process made to the same data within a quarter of a second. ok is false if the store
	// cannot say.
	MachinesVersion(ctx context.Context) (version uint64, ok bool)
}
