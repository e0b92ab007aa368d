//go:build linux

package hw

import (
	"fmt"
	"slices"
	"strings"
)

// eccCounter is what the kernel has counted for one memory module, by the label that its EDAC driver gives it.
type eccCounter struct {
	label                  string
	corrected, uncorrected *int64
}

// edac fills what the kernel's EDAC drivers have counted (Documentation/ABI/testing/sysfs-devices-edac).
func (t *tree) edac(m *Memory) {
	const dir = "sys/devices/system/edac/mc"
	missing := unknowns(m.Unknown)
	none := func(format string, args ...any) {
		for _, field := range []string{"corrected_errors", "uncorrected_errors"} {
			missing.add(field, format, args...)
		}
		m.Unknown = missing
	}
	names, err := t.list(dir)
	if err != nil {
		none("no EDAC driver counts: %v", err)
		return
	}
	var controllers []string
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, "mc"); ok && rest != "" && digits(rest) == len(rest) {
			controllers = append(controllers, dir+"/"+name)
		}
	}
	if len(controllers) == 0 {
		none("no EDAC driver counts: /%s has no memory controller", dir)
		return
	}
	slices.SortFunc(controllers, natural)

	var counters []eccCounter
	m.CorrectedErrors = t.eccTotal(&missing, "corrected_errors", controllers, "ce_count")
	m.UncorrectedErrors = t.eccTotal(&missing, "uncorrected_errors", controllers, "ue_count")
	for _, mc := range controllers {
		entries, _ := t.list(mc)
		for _, name := range entries {
			// Drivers that know chip selects only have rank directories: several to a module.
			if rest, ok := strings.CutPrefix(name, "dimm"); ok && rest != "" && digits(rest) == len(rest) {
				counters = append(counters, t.eccCounter(mc+"/"+name))
			}
		}
	}
	m.Unknown = missing
	nameECC(m.DIMMs, counters)
}

// eccTotal adds up one counter of all memory controllers; unknown if one cannot be read.
func (t *tree) eccTotal(missing *unknowns, field string, controllers []string, file string) *int64 {
	var sum int64
	for _, mc := range controllers {
		n, err := t.eccCount(mc + "/" + file)
		if err != nil {
			missing.addErr(field, err)
			return nil
		}
		sum += n
	}
	return &sum
}

func (t *tree) eccCount(name string) (int64, error) {
	n, err := t.number(name)
	if err == nil && (n < 0 || n > 1<<40) { // the kernel counts in 32 bits
		err = &fileError{name, fmt.Errorf("%d is no count", n)}
	}
	return n, err
}

func (t *tree) eccCounter(dir string) eccCounter {
	c := eccCounter{}
	c.label, _ = t.text(dir + "/dimm_label")
	if n, err := t.eccCount(dir + "/dimm_ce_count"); err == nil {
		c.corrected = &n
	}
	if n, err := t.eccCount(dir + "/dimm_ue_count"); err == nil {
		c.uncorrected = &n
	}
	return c
}

// nameECC gives modules their counters where the label leaves no doubt: it is the slot, or the bank and the slot as
// ghes_edac writes it, of one module, and no second counter claims that module. What drivers make up from channel
// numbers (CPU_SrcID#0_MC#0_Chan#0_DIMM#0) says nothing about the board's slots.
func nameECC(dimms []DIMM, counters []eccCounter) {
	claims := make([][]eccCounter, len(dimms))
	for _, c := range counters {
		match := -1
		for i, d := range dimms {
			if d.Slot == "" || c.label != d.Slot && (d.Bank == "" || c.label != d.Bank+" "+d.Slot) {
				continue
			}
			if match >= 0 {
				match = -2
				break
			}
			match = i
		}
		if match >= 0 {
			claims[match] = append(claims[match], c)
		}
	}
	for i := range dimms {
		d := &dimms[i]
		if d.Empty {
			continue
		}
		if len(claims[i]) == 1 {
			d.CorrectedErrors, d.UncorrectedErrors = claims[i][0].corrected, claims[i][0].uncorrected
		}
		missing := unknowns(d.Unknown)
		if d.CorrectedErrors == nil {
			missing.add("corrected_errors", "no counter of the kernel can be told to be this module's")
		}
		if d.UncorrectedErrors == nil {
			missing.add("uncorrected_errors", "no counter of the kernel can be told to be this module's")
		}
		d.Unknown = missing
	}
}
