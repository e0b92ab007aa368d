//go:build !linux

package pxe

import "io/fs"

type inode struct{}

func inodeOf(fs.FileInfo) inode { return inode{} }
