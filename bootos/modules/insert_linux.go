package modules

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Insert puts a module file, packed or not, into the running kernel.
func Insert(file, params string) error {
	err := insert(file, params)
	if err != nil {
		return &os.PathError{Op: "load", Path: file, Err: err}
	}
	return nil
}

func insert(file, params string) error {
	if filepath.Ext(file) != ".ko" {
		image, err := readFile(file)
		if err != nil {
			return err
		}
		return unix.InitModule(image, params)
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), params, 0)
}
