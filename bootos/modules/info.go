package modules

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"strings"
)

// Info is what a module says about itself in its .modinfo section.
type Info struct {
	// Name with underscores, such as md_mod.
	Name string
	// Depends are the modules whose symbols it uses.
	Depends []string
	// SoftPre and SoftPost are modules or aliases that it wants before and after itself where they exist.
	SoftPre, SoftPost []string
	// Aliases are glob patterns of the hardware and services that it is for.
	Aliases []string
	// Firmware are the files that it may ask for, relative to /lib/firmware; they may be glob patterns.
	Firmware []string
	// Release is the kernel release that it was built for.
	Release string
}

// CanonicalName turns dashes into underscores: the kernel holds md-mod and md_mod for the same module.
func CanonicalName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// ReadInfo reads the .modinfo section of a module (an ELF file).
func ReadInfo(r io.ReaderAt) (*Info, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("not a kernel module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("not a kernel module: no .modinfo section")
	}
	data, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("kernel module: section .modinfo: %w", err)
	}
	info := &Info{}
	for _, field := range bytes.Split(data, []byte{0}) {
		if key, value, ok := strings.Cut(string(field), "="); ok {
			info.set(key, value)
		}
	}
	if info.Name == "" {
		return nil, fmt.Errorf("kernel module does not say its name")
	}
	return info, nil
}

func (i *Info) set(key, value string) {
	switch key {
	case "name":
		i.Name = CanonicalName(value)
	case "depends":
		for d := range strings.SplitSeq(value, ",") {
			if d != "" {
				i.Depends = append(i.Depends, CanonicalName(d))
			}
		}
	case "softdep":
		i.addSoft(value)
	case "alias":
		// A line break would end the line in modules.alias and begin one of its own.
		if !strings.ContainsAny(value, " \t\r\n") && value != "" {
			i.Aliases = append(i.Aliases, value)
		}
	case "firmware":
		i.Firmware = append(i.Firmware, value)
	case "vermagic":
		i.Release, _, _ = strings.Cut(value, " ")
	}
}

// addSoft reads `pre: a b post: c`, see modprobe.d(5).
func (i *Info) addSoft(s string) {
	var into *[]string
	for word := range strings.FieldsSeq(s) {
		switch word {
		case "pre:":
			into = &i.SoftPre
		case "post:":
			into = &i.SoftPost
		default:
			if into != nil {
				*into = append(*into, word)
			}
		}
	}
}

// readBuiltin reads modules.builtin.modinfo: NUL-terminated `module.key=value`.
func readBuiltin(data []byte) map[string]*Info {
	all := map[string]*Info{}
	for _, field := range bytes.Split(data, []byte{0}) {
		key, value, ok := strings.Cut(string(field), "=")
		if !ok {
			continue
		}
		name, key, ok := strings.Cut(key, ".")
		if !ok {
			continue
		}
		name = CanonicalName(name)
		info := all[name]
		if info == nil {
			info = &Info{Name: name}
			all[name] = info
		}
		if key != "name" {
			info.set(key, value)
		}
	}
	return all
}
