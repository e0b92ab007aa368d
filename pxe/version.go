package pxe

import (
	"io/fs"
	"time"
)

// A version tells a file from what had its name before. inode is what else the system knows that copying with all times
// does not carry over.
type version struct {
	name  string
	size  int64
	time  time.Time
	inode inode
}

func versionOf(name string, info fs.FileInfo) version {
	return version{name: plainName(name), size: info.Size(), time: info.ModTime(), inode: inodeOf(info)}
}
