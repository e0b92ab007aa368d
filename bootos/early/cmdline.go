package early

import (
	"os"
	"strings"
)

// Cmdline is the kernel's command line.
type Cmdline string

// ReadCmdline reads it from /proc.
func ReadCmdline() (Cmdline, error) {
	data, err := os.ReadFile("/proc/cmdline")
	return Cmdline(strings.TrimSpace(string(data))), err
}

// Get returns the value of the last `key=value`, as the kernel would take it. Quotes around the value are removed.
func (c Cmdline) Get(key string) (value string, ok bool) {
	for word := range strings.FieldsSeq(string(c)) {
		if v, found := strings.CutPrefix(word, key+"="); found {
			value, ok = strings.Trim(v, `"`), true
		}
	}
	return value, ok
}
