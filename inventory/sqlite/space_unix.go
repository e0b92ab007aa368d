//go:build linux || darwin

package sqlite

import "golang.org/x/sys/unix"

// noSpace reports whether the file system of path has less room than one write needs.
func noSpace(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && uint64(fs.Bavail)*uint64(fs.Bsize) < 64<<10
}
