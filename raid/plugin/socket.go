package plugin

import (
	"errors"
	"fmt"
	"os"
)

// maxTempDir bounds the path under which sockets are made. A socket's path has 107 bytes (unix(7)), of which the names
// below it take up to 53: /raid1234567890/plugin-dir1234567890/plugin1234567890.
const maxTempDir = 107 - 53

// socketDir makes a directory for the socket of one plugin, which nobody else can enter.
func socketDir(base string) (string, error) {
	if base == "" {
		base = os.TempDir()
	}
	bases := []string{base}
	if len(base) > maxTempDir {
		bases = []string{"/run", "/tmp"}
	}
	var errs []error
	for _, b := range bases {
		dir, err := os.MkdirTemp(b, "raid")
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	if len(base) > maxTempDir {
		errs = append(errs, fmt.Errorf("%s is longer than the %d bytes that the path of a socket has room for", base,
			maxTempDir))
	}
	return "", fmt.Errorf("a directory for its socket: %w", errors.Join(errs...))
}
