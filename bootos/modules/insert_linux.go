package modules

import (
	"os"

	"golang.org/x/sys/unix"
)

// Insert puts a module file into the running kernel (finit_module(2)).
func Insert(file, params string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), params, 0); err != nil {
		return &os.PathError{Op: "load", Path: file, Err: err}
	}
	return nil
}
