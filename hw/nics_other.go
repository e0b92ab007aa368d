//go:build !linux

package hw

import "errors"

// kernelNICs is for Linux only; elsewhere facts are decoded and compared, and captured trees are read.
type kernelNICs struct{}

var errNotLinux = errors.New("only on Linux")

func openKernelNICs() *kernelNICs                         { return &kernelNICs{} }
func (*kernelNICs) close()                                {}
func (*kernelNICs) firmware(name string) (string, error)  { return "", errNotLinux }
func (*kernelNICs) permanent(name string) (string, error) { return "", errNotLinux }
