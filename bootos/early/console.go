package early

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Console writes for people: one line per event, with the seconds since power-on and the stage in front, in ASCII, to
// every console at once. A console that does not take its bytes (a serial line with nobody at the end) loses lines and
// holds up nobody.
type Console struct {
	// Uptime is the clock in front of the lines; nil means that of the kernel.
	Uptime func() time.Duration

	mu       sync.Mutex
	screens  []chan string
	progress map[string]shown
	history  []said
}

type said struct {
	at   time.Duration
	text string
}

type shown struct {
	at       time.Time
	fraction float64
}

// OpenConsoles finds the consoles: those that the kernel uses, and the given device names such as ttyS1.
func OpenConsoles(extra ...string) *Console {
	names := strings.Fields(readLine("/sys/class/tty/console/active"))
	if len(names) == 0 {
		names = []string{"console"}
	}
	c := &Console{}
	opened := map[string]bool{}
	for _, name := range append(names, extra...) {
		if name = strings.TrimPrefix(name, "/dev/"); opened[name] {
			continue
		}
		opened[name] = true
		f, err := os.OpenFile(filepath.Join("/dev", name), os.O_WRONLY, 0)
		if err != nil {
			continue // no such port in this machine
		}
		c.Add(f)
	}
	return c
}

// Add writes to w as well, for the rest of the program's life.
func (c *Console) Add(w io.Writer) {
	lines := make(chan string, 256)
	c.mu.Lock()
	c.screens = append(c.screens, lines)
	c.mu.Unlock()
	go func() {
		for line := range lines {
			if _, err := io.WriteString(w, line); err != nil {
				continue // nobody to tell
			}
		}
	}()
}

// Say writes one line. Line breaks in the text are kept, indented.
func (c *Console) Say(stage, text string) {
	uptime := Uptime
	if c.Uptime != nil {
		uptime = c.Uptime
	}
	now := uptime()
	c.remember(now, stage+": "+text)
	head := fmt.Sprintf("[%7.1fs] %-9s ", now.Seconds(), stage)
	text = strings.ReplaceAll(ascii(strings.TrimSpace(text)), "\n", "\r\n"+strings.Repeat(" ", len(head)))
	c.Print(head + text + "\r\n")
}

func (c *Console) remember(at time.Duration, text string) {
	const keep = 100
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.history) < keep {
		c.history = append(c.history, said{at, text})
	}
}

// History calls each with the first hundred lines that were said, and how long ago that was.
func (c *Console) History(each func(ago time.Duration, text string)) {
	uptime := Uptime
	if c.Uptime != nil {
		uptime = c.Uptime
	}
	c.mu.Lock()
	history := slices.Clone(c.history)
	c.mu.Unlock()
	for _, h := range history {
		each(uptime()-h.at, h.text)
	}
}

// Print writes text as it is.
func (c *Console) Print(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.screens {
		select {
		case s <- text:
		default:
		}
	}
}

// Flush waits, for a moment, until all is written.
func (c *Console) Flush(most time.Duration) {
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		left := 0
		for _, s := range c.screens {
			left += len(s)
		}
		c.mu.Unlock()
		if left == 0 {
			// The last line was taken, and is being written.
			time.Sleep(50 * time.Millisecond)
			return
		}
	}
}

// Progress writes a line when there is something new to see: every tenth, or after ten seconds.
func (c *Console) Progress(stage string, fraction float64, text string) {
	c.mu.Lock()
	last, ok := c.progress[stage]
	if ok && fraction >= last.fraction && fraction < 1 && fraction-last.fraction < 0.1 &&
		time.Since(last.at) < 10*time.Second || ok && fraction == 1 && last.fraction == 1 {
		c.mu.Unlock()
		return
	}
	if c.progress == nil {
		c.progress = map[string]shown{}
	}
	c.progress[stage] = shown{time.Now(), fraction}
	c.mu.Unlock()
	const width = 20
	full := min(max(int(fraction*width), 0), width)
	c.Say(stage, fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("#", full), strings.Repeat(".", width-full),
		fraction*100, text))
}

// ascii replaces what a serial terminal of unknown make would garble, and control bytes that would steer it.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r >= ' ' && r < 0x7f:
			return r
		case r == '\t' || r == 0xa0:
			return ' '
		case r == '\r' || r < ' ' || r == 0x7f:
			return -1
		case r == '–' || r == '—':
			return '-'
		}
		return '?'
	}, s)
}

// Uptime is the time since the kernel started.
func Uptime() time.Duration {
	var seconds float64
	if _, err := fmt.Sscan(readLine("/proc/uptime"), &seconds); err != nil {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

func readLine(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}
