package inventory

import (
	"context"
	"encoding/json"
	"net/netip"
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

// MachineFilter selects machines. The zero value selects all. Fields combine with AND.
type MachineFilter struct {
	Source  Source
	Profile string
	Rack    string
	// Query matches a substring of serial number, name, MAC, vendor or product, ignoring case.
	Query string
	// After is the serial number that ended the previous page; results are ordered by serial number.
	After Serial
	// Limit bounds the page; 0 means 100, the maximum is 1000.
	Limit int
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
	// promoted: the given fields win, learnt ones (MACs, UUID, facts) are kept.
	CreateMachines(ctx context.Context, ms []Machine) error

	// UpdateMachine reads the machine, calls change with it and stores what change left, in one transaction.
	// change may be called more than once and must have no side effects; if it returns an error, nothing is stored
	// and the error is returned. The serial number cannot be changed. A MAC that another machine owns is refused
	// with a [*ConflictError]. The stored machine is returned.
	UpdateMachine(ctx context.Context, serial Serial, change func(*Machine) error) (*Machine, error)

	// DeleteMachine forgets a machine; its events and installations stay. [ErrNotFound] if there is none.
	DeleteMachine(ctx context.Context, serial Serial) error
}
