package script

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	// headLines and tailLines are what the timeline gets of a long output. Together they fit into what the agent keeps
	// for a server that is away.
	headLines = 1000
	tailLines = 500
	// maxLine is where a line is split: the timeline's events hold 3,000 bytes.
	maxLine = 2800
	// lastLines and lastBytes are what an error tells of the output.
	lastLines = 5
	lastBytes = 200
)

// output makes lines of what a script prints, and sends them. It is an io.Writer that neither fails nor waits.
type output struct {
	report Report
	prefix string

	mu     sync.Mutex
	scrub  scrubber
	mask   masker
	text   []byte // scrubbed
	line   []byte // masked, what there is of the line so far
	some   bool   // the line has begun, if only with blanks
	anew   bool   // a carriage return came: what comes next replaces the line
	lines  int
	tail   []string // of lines after the head, a ring
	latest []string // the last lines that were not blank
}

func newOutput(report Report, name string, secrets []string) *output {
	return &output{report: report, prefix: name + ": ", mask: masker{secrets: secrets}}
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = o.scrub.scrub(o.text[:0], p)
	o.add(o.text)
	return len(p), nil
}

func (o *output) add(text []byte) {
	for len(text) > 0 {
		n := bytes.IndexAny(text, "\n\r")
		if n != 0 {
			piece := text
			if n > 0 {
				piece = text[:n]
			}
			if o.anew {
				o.line, o.anew = o.line[:0], false
			}
			o.some = true
			o.line = o.mask.add(o.line, piece)
			o.split()
		}
		if n < 0 {
			return
		}
		o.line = o.mask.end(o.line)
		o.split()
		if text[n] == '\n' {
			o.emit(o.line)
			o.line, o.some, o.anew = o.line[:0], false, false
		} else {
			o.anew = true
		}
		text = text[n+1:]
	}
}

// split sends the beginning of a line that is too long.
func (o *output) split() {
	rest := o.line
	for limit := maxLine - len(o.prefix); len(rest) > limit; {
		n := limit
		for n > limit-utf8.UTFMax && !utf8.RuneStart(rest[n]) {
			n--
		}
		o.emit(rest[:n])
		rest = rest[n:]
	}
	o.line = append(o.line[:0], rest...)
}

func (o *output) emit(line []byte) {
	text := strings.TrimRight(string(line), " ")
	o.lines++
	if text != "" {
		o.latest = append(o.latest, text)
		o.latest = o.latest[max(0, len(o.latest)-lastLines):]
	}
	switch {
	case o.lines <= headLines:
		o.log(text)
		return
	case len(o.tail) < tailLines:
		o.tail = append(o.tail, text)
	default:
		if o.lines == headLines+tailLines+1 {
			o.log("(this is a long output: what comes is left out here, but for its end)")
		}
		o.tail[(o.lines-headLines-1)%tailLines] = text
	}
}

func (o *output) log(text string) { o.report.Log(strings.TrimRight(o.prefix+text, " ")) }

// end sends a last line without a line feed, and the end of a long output. Nothing may be written any more.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(o.scrub.end(nil))
	o.line = o.mask.end(o.line)
	o.split()
	if o.some {
		o.emit(o.line)
	}
	first := 0
	if dropped := o.dropped(); dropped > 0 {
		first = o.lines - headLines
		o.log(fmt.Sprintf("(%d lines are left out here)", dropped))
	}
	for i := range o.tail {
		o.log(o.tail[(first+i)%len(o.tail)])
	}
}

// dropped is how many lines are not sent.
func (o *output) dropped() int { return max(0, o.lines-headLines-tailLines) }

// counts are for the result.
func (o *output) counts() (lines, dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines, o.dropped()
}

// last is the end of the output, for an error.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.latest) == 0 {
		return "it printed nothing"
	}
	quoted := make([]string, len(o.latest))
	for i, line := range o.latest {
		quoted[i] = shorten(line)
	}
	return "it printed last: " + strings.Join(quoted, " | ")
}

// state is how far the script is, for people who watch.
func (o *output) state() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.latest) == 0 {
		return "no output yet"
	}
	return fmt.Sprintf("line %d: %s", o.lines, shorten(o.latest[len(o.latest)-1]))
}

func shorten(line string) string {
	line = strings.TrimSpace(line)
	if len(line) <= lastBytes {
		return line
	}
	return strings.ToValidUTF8(line[:lastBytes], "") + "..."
}
