package raid

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
)

// number is how many disks are chosen, 0 if that depends on the machine.
func (d DiskChoice) number() int {
	if d.Count != 0 {
		return max(d.Count, 0)
	}
	return len(d.Slots) + len(d.Serials)
}

// String writes a choice for a message: `2 disks, medium ssd, size 470.4GB..489.6GB`.
func (d DiskChoice) String() string {
	var parts []string
	switch {
	case d.SameAs != "":
		return "the disks of " + d.SameAs
	case d.All:
		parts = append(parts, "all disks")
	case d.Count == 1:
		parts = append(parts, "1 disk")
	case d.Count != 0:
		parts = append(parts, strconv.Itoa(d.Count)+" disks")
	case len(d.Slots)+len(d.Serials) > 0:
		parts = append(parts, "disks")
	default:
		parts = append(parts, "no disks")
	}
	size := ""
	if d.Size != (SizeRange{}) {
		size = d.Size.String()
	}
	for _, p := range []struct{ name, value string }{{"slots", strings.Join(d.Slots, " ")},
		{"serials", strings.Join(d.Serials, " ")}, {"medium", string(d.Medium)}, {"bus", string(d.Bus)}, {"size", size},
		{"model", d.Model}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	return strings.Join(parts, ", ")
}

// UnmarshalText reads a short form: a number, or `all`.
func (d *DiskChoice) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "all" {
		*d = DiskChoice{All: true}
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || strconv.Itoa(n) != s {
		return fmt.Errorf("disks %q: want a number of disks, all, or conditions such as {count: 2, medium: ssd}", clip(s))
	}
	*d = DiskChoice{Count: n}
	return nil
}

// UnmarshalJSON reads an object, or a short form.
func (d *DiskChoice) UnmarshalJSON(data []byte) error {
	if text, ok := scalar(data); ok {
		return d.UnmarshalText([]byte(text))
	}
	type plain DiskChoice // without this method
	return strict(data, (*plain)(d))
}

func (c ControllerChoice) isOnly() bool { return c == ControllerChoice{} }

// String writes a choice in its short form, or all conditions of one that has none.
func (c ControllerChoice) String() string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"slot", c.Slot}, {"pci", c.PCI}, {"model", c.Model}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	if c.Index != nil {
		parts = append(parts, "index "+strconv.Itoa(*c.Index))
	}
	if c.MD {
		parts = append(parts, "md")
	}
	if len(parts) == 0 {
		return "only"
	}
	return strings.Join(parts, ", ")
}

// UnmarshalText reads a short form.
func (c *ControllerChoice) UnmarshalText(text []byte) error {
	*c = ControllerChoice{}
	word, value, _ := strings.Cut(string(text), " ")
	value = strings.TrimSpace(value)
	switch {
	case string(text) == "only":
		return nil
	case string(text) == "md":
		c.MD = true
		return nil
	case value == "":
	case word == "slot":
		c.Slot = value
		return nil
	case word == "pci":
		c.PCI = value
		return nil
	case word == "model":
		c.Model = value
		return nil
	case word == "index":
		if n, err := strconv.Atoi(value); err == nil {
			c.Index = &n
			return nil
		}
	}
	return fmt.Errorf("controller %q: want only, md, slot NAME, pci ADDRESS, model GLOB or index NUMBER",
		clip(string(text)))
}

// UnmarshalJSON reads an object, or a short form.
func (c *ControllerChoice) UnmarshalJSON(data []byte) error {
	if text, ok := scalar(data); ok {
		return c.UnmarshalText([]byte(text))
	}
	type plain ControllerChoice // without this method
	return strict(data, (*plain)(c))
}

// UnmarshalText reads a level in the ways in which people and tools write it.
func (l *Level) UnmarshalText(text []byte) error {
	s := strings.ToLower(strings.TrimSpace(string(text)))
	s = strings.TrimLeft(strings.TrimPrefix(s, "raid"), " -")
	if len(s) == 3 {
		s = strings.Replace(s, "+", "", 1)
	}
	if _, ok := levels[Level(s)]; !ok {
		return fmt.Errorf("level %q: want 0, 1, 5, 6, 10, 50 or 60", clip(string(text)))
	}
	*l = Level(s)
	return nil
}

// UnmarshalJSON reads a number as well.
func (l *Level) UnmarshalJSON(data []byte) error {
	text, _ := scalar(data)
	return l.UnmarshalText([]byte(text))
}

// String is `max`, or the size.
func (s VolumeSize) String() string {
	if s == Max {
		return "max"
	}
	return hw.Size(s).String()
}

// MarshalText writes [VolumeSize.String].
func (s VolumeSize) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads `max`, or a size.
func (s *VolumeSize) UnmarshalText(text []byte) error {
	if string(text) == "max" {
		*s = Max
		return nil
	}
	size, err := hw.ParseSize(string(text))
	if err == nil && size == 0 {
		err = errors.New("size 0: want max or a size such as 100GB")
	}
	if err == nil {
		*s = VolumeSize(size)
	}
	return err
}

// UnmarshalJSON reads a number of bytes as well.
func (s *VolumeSize) UnmarshalJSON(data []byte) error {
	text, _ := scalar(data)
	return s.UnmarshalText([]byte(text))
}

// Includes says whether a disk of that size is meant.
func (r SizeRange) Includes(bytes int64) bool {
	return bytes > 0 && bytes >= int64(r.Min) && (r.Max == 0 || bytes <= int64(r.Max))
}

// String writes both ends.
func (r SizeRange) String() string {
	text := ".."
	if r.Min != 0 {
		text = r.Min.String() + text
	}
	if r.Max != 0 {
		text += r.Max.String()
	}
	return text
}

// MarshalText writes [SizeRange.String].
func (r SizeRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a range, or the size on a label.
func (r *SizeRange) UnmarshalText(text []byte) error {
	low, high, isRange := strings.Cut(string(text), "..")
	if !isRange {
		size, err := hw.ParseSize(low)
		if err != nil {
			return err
		}
		if size <= 0 || size > 1e18 {
			return fmt.Errorf("size %q: no disk is of such a size", clip(low))
		}
		part := size / 100 * LabelTolerance
		*r = SizeRange{Min: size - part, Max: size + part}
		return nil
	}
	var parsed SizeRange
	for _, end := range []struct {
		text string
		size *hw.Size
	}{{low, &parsed.Min}, {high, &parsed.Max}} {
		if strings.TrimSpace(end.text) == "" {
			continue
		}
		size, err := hw.ParseSize(end.text)
		if err != nil {
			return err
		}
		*end.size = size
	}
	if parsed == (SizeRange{}) || parsed.Max != 0 && parsed.Min > parsed.Max {
		return fmt.Errorf("size %q: no disk is of such a size; want a range such as 400GB..500GB, 1TB.. or ..2TB",
			clip(string(text)))
	}
	*r = parsed
	return nil
}

// UnmarshalJSON refuses keys that it does not know, at every depth.
func (l *Layout) UnmarshalJSON(data []byte) error {
	type plain Layout // without this method
	if err := strict(data, (*plain)(l)); err != nil {
		return fmt.Errorf("RAID layout: %w", err)
	}
	return nil
}

// strict decodes into what is empty first, and changes it only as a whole.
func strict[T any](data []byte, into *T) error {
	var fresh T
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&fresh); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows")
	}
	*into = fresh
	return nil
}

// scalar returns the text of a JSON string or number; false for anything else.
func scalar(data []byte) (string, bool) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 || !(data[0] == '"' || data[0] == '-' || data[0] >= '0' && data[0] <= '9') {
		return "", false
	}
	var text string
	if json.Unmarshal(data, &text) == nil {
		return text, true
	}
	return string(data), true
}
