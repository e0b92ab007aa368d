package loda

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/image"
)

// A CellError is what is wrong with one cell of an import.
type CellError struct {
	// Line counts from 1 and includes the header, as an editor shows it. 0 means the file as a whole.
	Line int `json:"line"`
	// Column is the column's name; empty if the row as a whole is meant.
	Column string `json:"column,omitempty"`
	// Message says what is wrong and what was expected.
	Message string `json:"message"`
}

func (e CellError) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	if e.Column == "" {
		return fmt.Sprintf("line %d: %s", e.Line, e.Message)
	}
	return fmt.Sprintf("line %d, %s: %s", e.Line, e.Column, e.Message)
}

// CellErrors are all that is wrong with an import; nothing of it was stored.
type CellErrors []CellError

func (e CellErrors) Error() string {
	lines := make([]string, len(e))
	for i, c := range e {
		lines[i] = c.Error()
	}
	return strings.Join(lines, "\n")
}

// ImportColumns are the columns that [ParseCSV] knows, in the order in which documentation shows them.
var ImportColumns = []string{"serial", "profile", "name", "rack", "mac", "address", "labels"}

// MaxImport bounds one import, in machines and in bytes of CSV.
const (
	MaxImportMachines = 10_000
	maxImportBytes    = 8 << 20
)

// ParseCSV reads machines from comma- or semicolon-separated text with a header line. Columns: serial (required),
// profile, name (host name), rack, mac (several with spaces), address (IPv4), labels (`key=value` with spaces). It
// returns the machines and the line that each came from, or [CellErrors] with everything that is wrong at once.
func ParseCSV(r io.Reader) ([]inventory.Machine, []int, error) {
	machines, lines, bad, err := parseCSV(r)
	if err == nil && bad != nil {
		err = bad
	}
	if err != nil {
		return nil, nil, err
	}
	return machines, lines, nil
}

// parseCSV returns the machines of the good rows, and what is wrong with the others. An error concerns the whole text.
func parseCSV(r io.Reader) (machines []inventory.Machine, lines []int, bad CellErrors, err error) {
	text, err := io.ReadAll(io.LimitReader(r, maxImportBytes+1))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading the import: %w", err)
	}
	if len(text) > maxImportBytes {
		return nil, nil, nil, CellErrors{{Message: fmt.Sprintf("larger than %d MiB; split the file", maxImportBytes>>20)}}
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // spreadsheets write a byte order mark
	if !utf8.Valid(text) {
		return nil, nil, nil, CellErrors{{Message: "not UTF-8 text; export the sheet as CSV UTF-8"}}
	}
	cr := csv.NewReader(bytes.NewReader(text))
	first, _, _ := bytes.Cut(text, []byte("\n"))
	if bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		cr.Comma = ';'
	}
	cr.FieldsPerRecord = -1
	cr.TrimLeadingSpace = true
	cr.Comment = '#'

	header, err := cr.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil, nil, CellErrors{{Message: "empty; want a header line such as " + strings.Join(ImportColumns, ",")}}
	}
	if err != nil {
		return nil, nil, nil, csvError(err)
	}
	seen := map[string]bool{}
	for i, h := range header {
		h = strings.ToLower(strings.TrimSpace(h))
		header[i] = h
		switch {
		case !slices.Contains(ImportColumns, h):
			bad = append(bad, CellError{1, h, "unknown column; want " + strings.Join(ImportColumns, ", ")})
		case seen[h]:
			bad = append(bad, CellError{1, h, "column appears twice"})
		}
		seen[h] = true
	}
	if !seen["serial"] {
		bad = append(bad, CellError{1, "", "no column serial; want a header line such as " + strings.Join(ImportColumns, ",")})
	}
	if bad != nil {
		return nil, nil, nil, bad
	}

	rows := 0
	for {
		record, err := cr.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			bad = append(bad, csvError(err)...)
			break // the reader cannot find the next record after a broken quote
		}
		line, _ := cr.FieldPos(0)
		if rows++; rows > MaxImportMachines {
			return nil, nil, nil, CellErrors{{Line: line,
				Message: fmt.Sprintf("more than %d machines; split the file", MaxImportMachines)}}
		}
		if len(record) != len(header) {
			bad = append(bad, CellError{line, "", fmt.Sprintf("%d cells, want %d as in the header", len(record), len(header))})
			continue
		}
		m, cells := parseRow(header, record, line)
		if cells != nil {
			bad = append(bad, cells...)
			continue
		}
		machines, lines = append(machines, m), append(lines, line)
	}
	if rows == 0 && bad == nil {
		return nil, nil, nil, CellErrors{{Message: "no machine below the header line"}}
	}
	return machines, lines, bad, nil
}

func csvError(err error) CellErrors {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return CellErrors{{Line: p.Line, Message: p.Err.Error()}}
	}
	return CellErrors{{Message: err.Error()}}
}

func parseRow(header, record []string, line int) (inventory.Machine, []CellError) {
	m := inventory.Machine{Source: inventory.Imported}
	var bad []CellError
	for i, column := range header {
		cell := strings.TrimSpace(record[i])
		if err := setCell(&m, column, cell); err != nil {
			bad = append(bad, CellError{line, column, err.Error()})
		}
	}
	return m, bad
}

func setCell(m *inventory.Machine, column, cell string) (err error) {
	if cell == "" && column != "serial" {
		return nil
	}
	switch column {
	case "serial":
		m.Serial, err = inventory.ParseSerial(cell)
	case "profile":
		if !profileName.MatchString(cell) {
			return fmt.Errorf("%q cannot be the name of a profile", cell)
		}
		m.Profile = cell
	case "name":
		m.Name, err = ParseHostname(cell)
	case "rack":
		if len(cell) > 64 || strings.ContainsFunc(cell, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return errors.New("want up to 64 printable characters")
		}
		m.Rack = cell
	case "mac":
		for _, field := range strings.Fields(cell) {
			mac, err := inventory.ParseMAC(field)
			if err != nil {
				return err
			}
			if slices.Contains(m.MACs, mac) {
				return fmt.Errorf("%s appears twice", mac)
			}
			m.MACs = append(m.MACs, mac)
		}
		slices.Sort(m.MACs)
	case "address":
		a, err := netip.ParseAddr(cell)
		if err != nil || !a.Is4() || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("%q is not the IPv4 address of a host", cell)
		}
		m.Address = a
	case "labels":
		m.Labels = map[string]string{}
		for _, field := range strings.Fields(cell) {
			k, v, ok := strings.Cut(field, "=")
			if !ok || k == "" {
				return fmt.Errorf("%q: want key=value, several with spaces", field)
			}
			if len(field) > 256 || strings.ContainsFunc(field, unicode.IsControl) {
				return fmt.Errorf("%.60q: want up to 256 printable characters", field)
			}
			m.Labels[k] = v
		}
	}
	return err
}

// ParseHostname checks a host name (RFC 1123: dot-separated labels of letters, digits and dashes) and brings it into
// lower case.
func ParseHostname(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if len(s) > 253 {
		return "", fmt.Errorf("host name has %d characters, want at most 253", len(s))
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }) {
			return "", fmt.Errorf("%q is not a host name (letters, digits and dashes, up to 63 between dots)", s)
		}
	}
	return s, nil
}

// HostnameOf is the host name that a machine gets: its own, or one made from the serial number.
func HostnameOf(m *inventory.Machine) string {
	if m.Name != "" {
		return m.Name
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, string(m.Serial))
	return strings.Trim(name[:min(len(name), 63)], "-")
}

// ImportOptions of [Installer.Import].
type ImportOptions struct {
	// DryRun checks everything and stores nothing.
	DryRun bool
	// Install opens an installation for every machine.
	Install bool
	// By is who asked, for the timeline.
	By string
}

// ImportResult says what an import did, or would do in a dry run.
type ImportResult struct {
	Machines []inventory.Serial `json:"machines"`
	DryRun   bool               `json:"dry_run"`
	// Installations are the IDs of those that were opened, in the order of Machines.
	Installations []string `json:"installations,omitempty"`
}

// Import reads machines as [ParseCSV] does, checks them against the inventory and the profiles, and stores all of
// them or none. Everything that is wrong is reported at once, as [CellErrors].
func (in *Installer) Import(ctx context.Context, r io.Reader, o ImportOptions) (*ImportResult, error) {
	machines, lines, bad, err := parseCSV(r)
	if err != nil {
		return nil, err
	}
	// The good rows are checked even if others are bad: nobody wants to hear of the rest the next time.
	wrong, err := in.checkProfiles(ctx, machines, lines, o.Install)
	if err != nil {
		return nil, err
	}
	bad = append(bad, wrong...)
	rows, err := in.checkRows(ctx, machines)
	if err != nil {
		return nil, err
	}
	bad = append(bad, rowErrors(rows, lines)...)
	if bad != nil {
		slices.SortStableFunc(bad, func(a, b CellError) int { return cmp.Compare(a.Line, b.Line) })
		return nil, bad
	}
	res := &ImportResult{DryRun: o.DryRun}
	for _, m := range machines {
		res.Machines = append(res.Machines, m.Serial)
	}
	if o.DryRun {
		return res, nil
	}
	if err := in.store.CreateMachines(ctx, machines); err != nil {
		var rows *inventory.ImportError
		if !errors.As(err, &rows) {
			return nil, err
		}
		return nil, rowErrors(rows.Rows, lines) // somebody else was faster
	}
	events := make([]inventory.Event, len(machines))
	for i, m := range machines {
		events[i] = inventory.Event{Time: in.now(), Serial: m.Serial, Kind: inventory.KindAudit,
			Message: "imported" + by(o.By)}
	}
	if err := in.store.AppendEvents(ctx, events...); err != nil {
		return nil, fmt.Errorf("all machines were imported, but that could not be noted in their timelines: %w", err)
	}
	if o.Install {
		res.Installations, err = in.installAll(ctx, machines, o.By)
	}
	return res, err
}

// importWidth is how many installations are opened at a time: a database that waits for its disk takes many at once.
const importWidth = 64

// installAll opens an installation for each of the machines that were just imported.
func (in *Installer) installAll(ctx context.Context, machines []inventory.Machine, by string) ([]string, error) {
	ids, errs := make([]string, len(machines)), make([]error, len(machines))
	var g errgroup.Group
	g.SetLimit(importWidth)
	for i, m := range machines {
		g.Go(func() error {
			inst, err := in.Install(ctx, m.Serial, InstallOptions{By: by})
			if err == nil {
				ids[i] = inst.ID
			}
			errs[i] = err
			return nil
		})
	}
	_ = g.Wait() // one that fails does not keep the others from it
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) > 0 {
		return nil, fmt.Errorf("all %d machines were imported, but %d installations could not be opened, the first for: %w; "+
			"`lodad machine install` opens them", len(machines), len(errs), errs[0])
	}
	return ids, nil
}

// rowErrors says what is wrong with rows in lines of the file.
func rowErrors(rows []inventory.RowError, lines []int) CellErrors {
	var bad CellErrors
	for _, row := range rows {
		message := row.Err.Error()
		var conflict *inventory.ConflictError
		var other int
		if errors.As(row.Err, &conflict) {
			n, _ := fmt.Sscanf(conflict.Owner, "row %d of the same import", &other)
			if n == 1 && other >= 1 && other <= len(lines) {
				message = fmt.Sprintf("%s is in line %d already", conflict.What, lines[other-1])
			}
		}
		bad = append(bad, CellError{Line: lines[row.Row], Message: message})
	}
	return bad
}

// checkProfiles resolves each profile once.
func (in *Installer) checkProfiles(ctx context.Context, machines []inventory.Machine, lines []int, needed bool) (CellErrors, error) {
	var bad CellErrors
	verdicts := map[string]string{}
	for i, m := range machines {
		if m.Profile == "" && !needed {
			continue
		}
		verdict, known := verdicts[m.Profile]
		if !known {
			_, err := in.pin(ctx, &m, m.Profile)
			switch {
			case err == nil:
			case errors.Is(err, ErrNoProfile), errors.Is(err, image.ErrNotFound), errors.Is(err, image.ErrInvalid),
				errors.Is(err, ErrArtifact), errors.Is(err, ErrRefused):
				verdict = err.Error()
			default:
				return nil, err
			}
			verdicts[m.Profile] = verdict
		}
		if verdict != "" {
			bad = append(bad, CellError{lines[i], "profile", verdict})
		}
	}
	return bad, nil
}

// checkRows holds the machines against the inventory without storing anything.
func (in *Installer) checkRows(ctx context.Context, machines []inventory.Machine) ([]inventory.RowError, error) {
	_, err := inventory.CheckImport(ctx, storeIndex{in.store}, machines, in.now())
	var rows *inventory.ImportError
	if errors.As(err, &rows) {
		return rows.Rows, nil
	}
	return nil, err
}

// storeIndex is a store as an [inventory.MachineIndex].
type storeIndex struct{ inventory.MachineStore }

func (s storeIndex) MachineByAddress(ctx context.Context, a netip.Addr) (*inventory.Machine, error) {
	return MachineByAddress(ctx, s.MachineStore, a)
}

// MachineByAddress finds the machine that an address is reserved for, or returns [inventory.ErrNotFound]. A store that
// is an [inventory.MachineIndex] as well is asked directly, others are searched.
func MachineByAddress(ctx context.Context, store inventory.MachineStore, a netip.Addr) (*inventory.Machine, error) {
	if idx, ok := store.(inventory.MachineIndex); ok {
		return idx.MachineByAddress(ctx, a)
	}
	f := inventory.MachineFilter{Limit: 1000}
	for {
		page, err := store.Machines(ctx, f)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if page[i].Address == a {
				return &page[i], nil
			}
		}
		if len(page) < f.Limit {
			return nil, inventory.ErrNotFound
		}
		f.After = page[len(page)-1].Serial
	}
}
