//go:build !linux

package plugin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// executable cannot be had: processes are started, held together and ended by means of Linux.
type executable struct{ path string }

func openExecutable(path, _ string) (*executable, error) {
	return nil, errors.New("RAID plugin " + path + ": plugins are started on Linux only")
}

func (e *executable) close() {}

type child struct {
	exe     *executable
	env     []string
	said    tail
	gone    chan struct{}
	mu      sync.Mutex
	pid     int
	version int
	exit    string
}

func newChild(exe *executable, _, _ []string, _ *slog.Logger, _ func() bool) *child {
	return &child{exe: exe, gone: make(chan struct{}), version: -1}
}

func (c *child) Start(context.Context) error { return errors.New("plugins are started on Linux only") }
func (c *child) Wait(context.Context) error  { return nil }
func (c *child) Kill(context.Context) error  { return nil }
func (c *child) Stdout() io.ReadCloser       { return io.NopCloser(strings.NewReader("")) }
func (c *child) Stderr() io.ReadCloser       { return io.NopCloser(strings.NewReader("")) }
func (c *child) Name() string                { return c.exe.path }
func (c *child) ID() string                  { return "" }

func (c *child) Diagnose(context.Context) string { return "" }

func (c *child) PluginToHost(network, addr string) (string, string, error) { return network, addr, nil }
func (c *child) HostToPlugin(network, addr string) (string, string, error) { return network, addr, nil }

func (c *child) left() []member { return nil }
func (c *child) ask()           {}
func (c *child) killAll()       {}
