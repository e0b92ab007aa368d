//go:build linux

package hw

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// cpus joins what the kernel runs (/proc/cpuinfo) with the board's sockets (SMBIOS type 4).
func (t *tree) cpus(sm *smbiosTables) ([]CPU, unknowns) {
	var missing unknowns
	packages, err := t.cpuinfo()
	if err != nil {
		missing.addErr("cpus", err)
	}
	var populated, filled, disabled, empty []structure
	for _, s := range sm.all(4) {
		// 3 is a central processor, 4 to 6 are maths, signal and video processors. "Other" and "unknown" are believed.
		if kind, ok := s.byte(0x05); ok && kind > 3 {
			continue
		}
		status, ok := s.byte(0x18)
		if ok && status&0x40 == 0 {
			empty = append(empty, s)
			continue
		}
		populated = append(populated, s)
		switch {
		case ok && (status&0x07 == 2 || status&0x07 == 3):
			disabled = append(disabled, s)
		default:
			filled = append(filled, s)
		}
	}
	if len(filled) < len(packages) { // the kernel runs what the firmware calls disabled
		filled, disabled = populated, nil
	}

	cpus := []CPU{}
	switch {
	case len(packages) == 0:
		// Only the firmware tells, and what it says of cores is enough to go on with.
		for _, s := range filled {
			cpus = append(cpus, socketCPU(s, "no /proc/cpuinfo"))
		}
	case len(packages) == 1 && packages[0].id == "" && len(filled) > 0:
		// No packages in cpuinfo (arm64): the threads are of all sockets together.
		for _, s := range filled {
			c := socketCPU(s, "not in this architecture's /proc/cpuinfo")
			if len(filled) == 1 {
				c.Threads = packages[0].threads
				c.Unknown = slices.DeleteFunc(c.Unknown, func(u Unknown) bool { return u.Path == "threads" })
			}
			cpus = append(cpus, c)
		}
	default:
		for i, p := range packages {
			c := p.cpu()
			u := unknowns(c.Unknown)
			if len(filled) == len(packages) {
				// Both lists are in the order in which the firmware brought the sockets up.
				c.Socket = filled[i].str(&u, "socket", 0x04)
				c.Serial = filled[i].partStr(&u, "serial", 0x20)
			} else {
				reason := fmt.Sprintf("the firmware lists %d CPUs and the kernel runs %d", len(filled), len(packages))
				u.add("socket", "%s", reason)
				u.add("serial", "%s", reason)
			}
			c.Unknown = u
			cpus = append(cpus, c)
		}
	}
	for _, s := range disabled {
		why := "disabled by the user in the firmware's set-up"
		if status, _ := s.byte(0x18); status&0x07 == 3 {
			why = "disabled by the firmware, which found an error in its self-test"
		}
		c := socketCPU(s, why)
		c.Cores, c.Threads = 0, 0
		c.Unknown = slices.DeleteFunc(c.Unknown, func(u Unknown) bool { return u.Path == "cores" || u.Path == "threads" })
		u := unknowns(c.Unknown)
		u.add("cores", "%s", why)
		u.add("threads", "%s", why)
		c.Unknown = u
		cpus = append(cpus, c)
	}
	for _, s := range empty {
		var u unknowns
		c := CPU{Empty: true, Socket: s.str(&u, "socket", 0x04)}
		c.Unknown = u
		cpus = append(cpus, c)
	}
	if sm != nil && sm.err != nil {
		missing.add("cpus", "the list of sockets may be incomplete, the firmware's tables are broken: %v", sm.err)
	}
	return cpus, missing
}

// socketCPU is a CPU of which only the firmware tells.
func socketCPU(s structure, why string) CPU {
	var u unknowns
	c := CPU{Socket: s.str(&u, "socket", 0x04), Vendor: s.partStr(&u, "vendor", 0x07), Model: s.partStr(&u,
		"model", 0x10),
		Serial: s.partStr(&u, "serial", 0x20)}
	count := func(field string, short, long int) int {
		v, ok := s.byte(short)
		if ok && v != 0 && v != 0xff {
			return int(v)
		}
		// 255 and more do not fit: the longer field of SMBIOS 3.0. Some firmware fills in that one alone.
		if w, ok := s.word(long); ok && w != 0 && w != 0xffff {
			return int(w)
		}
		u.add(field, "the firmware does not tell")
		return 0
	}
	c.Cores = count("cores", 0x24, 0x2c) // those enabled
	c.Threads = count("threads", 0x25, 0x2e)
	for _, field := range []string{"family", "model_number", "stepping", "microcode"} {
		u.add(field, "%s", why)
	}
	c.Unknown = u
	return c
}

// cpuPackage is what cpuinfo says of one package.
type cpuPackage struct {
	id      string
	threads int
	cores   map[string]bool
	fields  map[string]string // of its first thread
}

// cpuinfo groups the threads of /proc/cpuinfo by package, in numeric order.
func (t *tree) cpuinfo() ([]*cpuPackage, error) {
	const name = "proc/cpuinfo"
	data, err := t.read(name)
	if err != nil {
		return nil, err
	}
	byID := map[string]*cpuPackage{}
	for _, block := range strings.Split(string(data), "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(block) {
			if key, value, ok := strings.Cut(line, ":"); ok {
				fields[clean([]byte(key))] = clean([]byte(value))
			}
		}
		if _, ok := fields["processor"]; !ok {
			continue // trailing Hardware/Revision lines of ARM
		}
		id := fields["physical id"]
		p := byID[id]
		if p == nil {
			p = &cpuPackage{id: id, cores: map[string]bool{}, fields: fields}
			byID[id] = p
		}
		p.threads++
		if core, ok := fields["core id"]; ok {
			p.cores[fields["die id"]+"/"+core] = true
		}
	}
	if len(byID) == 0 {
		return nil, &fileError{name, fmt.Errorf("no processor in it")}
	}
	packages := make([]*cpuPackage, 0, len(byID))
	for _, p := range byID {
		packages = append(packages, p)
	}
	slices.SortFunc(packages, func(a, b *cpuPackage) int { return natural(a.id, b.id) })
	return packages, nil
}

func (p *cpuPackage) cpu() CPU {
	var u unknowns
	str := func(field, key string) string {
		v := p.fields[key]
		if v == "" || v == "unknown" {
			u.add(field, "/proc/cpuinfo has no %s", key)
			return ""
		}
		return v
	}
	number := func(field, key string) *int {
		v := str(field, key)
		if v == "" {
			return nil
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			u.add(field, "/proc/cpuinfo: %s %q is not a number", key, v)
			return nil
		}
		return &n
	}
	c := CPU{Vendor: str("vendor", "vendor_id"), Model: str("model", "model name"), Family: number("family",
		"cpu family"),
		ModelNumber: number("model_number", "model"), Stepping: number("stepping", "stepping"),
		Microcode: str("microcode", "microcode"), Threads: p.threads, Cores: len(p.cores)}
	if c.Cores == 0 {
		if n := number("cores", "cpu cores"); n != nil {
			c.Cores = *n
		}
	}
	c.Unknown = u
	return c
}
