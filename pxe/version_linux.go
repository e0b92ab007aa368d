package pxe

import (
	"io/fs"
	"syscall"
)

type inode struct {
	dev, number uint64
	changed     syscall.Timespec
}

func inodeOf(info fs.FileInfo) inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}
	}
	return inode{dev: st.Dev, number: st.Ino, changed: st.Ctim}
}
