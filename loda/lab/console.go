package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"time"
)

// Console reads a machine's serial port, where firmware, boot loaders, kernel and login talk. It starts at the last
// power-on before it was made and has a position of its own, so several may follow one machine. One Console is for
// one goroutine.
type Console struct {
	machine *Machine
	offset  int64
	pending []byte // read and not yet matched by Wait
}

// Console begins to read at the last power-on.
func (m *Machine) Console() *Console {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Console{machine: m}
	if m.run != nil {
		c.offset = m.run.start
	}
	return c
}

// DialConsole connects to the serial port itself, both ways: a terminal, or a test that types. One connection at a
// time; the log goes on beside it. The machine must be on.
func (m *Machine) DialConsole(ctx context.Context) (net.Conn, error) {
	if _, err := m.running(); err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", m.state().ConsoleSocket)
	if err != nil {
		return nil, fmt.Errorf("machine %s: console: %w", m.name, err)
	}
	return conn, nil
}

// consolePoll is how often the log is looked at; a person would not notice, and a test loses nothing beside a boot.
const consolePoll = 50 * time.Millisecond

// more reads what is new. It returns nothing and no error when there is nothing yet.
func (c *Console) more() ([]byte, error) {
	f, err := os.Open(c.machine.ConsolePath())
	if err != nil {
		return nil, fmt.Errorf("machine %s: console: %w", c.machine.name, err)
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	n, err := f.ReadAt(buf, c.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("machine %s: console: %w", c.machine.name, err)
	}
	c.offset += int64(n)
	return buf[:n], nil
}

// escapes are the terminal sequences (ECMA-48: CSI and two-character ones) that firmware decorates its text with.
var escapes = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|[^\\[])|\r|\x00")

// Wait returns the first line that matches, and goes on behind the match at the next call. Escape sequences and
// carriage returns are left out before matching; the line may still be unfinished, such as a login prompt. It fails
// when the context ends or the machine goes off, with the last lines in the error.
func (c *Console) Wait(ctx context.Context, expression *regexp.Regexp) (string, error) {
	ticker := time.NewTicker(consolePoll)
	defer ticker.Stop()
	for {
		off := !c.machine.On() // asked before reading: what was written up to the end is still seen
		fresh, err := c.more()
		if err != nil {
			return "", err
		}
		c.pending = append(c.pending, fresh...)
		text := escapes.ReplaceAllString(string(c.pending), "")
		if at := expression.FindStringIndex(text); at != nil {
			c.pending = []byte(text[at[1]:])
			begin := strings.LastIndexByte(text[:at[0]], '\n') + 1
			end := len(text)
			if i := strings.IndexByte(text[at[1]:], '\n'); i >= 0 {
				end = at[1] + i
			}
			return strings.TrimSpace(text[begin:end]), nil
		}
		if len(fresh) > 0 {
			continue
		}
		if off {
			return "", fmt.Errorf("machine %s went off before its console showed %s; it ended with: %s",
				c.machine.name, expression, lastLines(text))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return "", fmt.Errorf("machine %s: console did not show %s: %w; it ends with: %s",
				c.machine.name, expression, context.Cause(ctx), lastLines(text))
		}
	}
}

// Follow copies the console to w as it grows, raw, until the context ends (which is no error) or w fails. It goes on
// over power cycles.
func (c *Console) Follow(ctx context.Context, w io.Writer) error {
	ticker := time.NewTicker(consolePoll)
	defer ticker.Stop()
	for {
		fresh, err := c.more()
		if err != nil {
			return err
		}
		if len(fresh) > 0 {
			if _, err := w.Write(fresh); err != nil {
				return fmt.Errorf("machine %s: follow console: %w", c.machine.name, err)
			}
			continue
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// ConsoleText is all that the console has shown since the last power-on, without escape sequences.
func (m *Machine) ConsoleText() (string, error) {
	c := m.Console()
	var all []byte
	for {
		fresh, err := c.more()
		if err != nil {
			return "", err
		}
		if len(fresh) == 0 {
			return escapes.ReplaceAllString(string(all), ""), nil
		}
		all = append(all, fresh...)
	}
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], " | ")
}
