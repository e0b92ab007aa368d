package plugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxLine bounds a line of what a plugin prints; a longer one becomes several.
const maxLine = 64 << 10

// eachLine calls do with each line, without its end, until there is no more.
func eachLine(r io.Reader, do func(line []byte)) {
	b := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := b.ReadSlice('\n')
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			do(line)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// tail keeps the end of what a plugin printed that was no log, for whoever asks why it ended.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const maxTail = 12

func (t *tail) add(line []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == maxTail {
		// Of a panic, the beginning says more than the end.
		if strings.HasPrefix(t.lines[0], "panic: ") || strings.HasPrefix(t.lines[0], "fatal error: ") {
			return
		}
		t.lines = t.lines[1:]
	}
	t.lines = append(t.lines, strings.ToValidUTF8(string(line[:min(len(line), 300)]), "�"))
	if last := t.lines[len(t.lines)-1]; strings.HasPrefix(last, "panic: ") || strings.HasPrefix(last, "fatal error: ") {
		t.lines = []string{last}
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, " / ")
}

// aHandshake finds go-plugin's line, also behind something that was printed without a newline.
var aHandshake = regexp.MustCompile(`1\|(\d+)\|unix\|[^|]*\|grpc(\||$)`)

// handshakeIn returns the line that go-plugin looks for, and the version that it tells.
func handshakeIn(line []byte) (found []byte, version int, ok bool) {
	at := aHandshake.FindSubmatchIndex(line)
	if at == nil {
		return nil, 0, false
	}
	version, err := strconv.Atoi(string(line[at[2]:at[3]]))
	return line[at[0]:], version, err == nil
}

// logLine passes a line on that a plugin wrote to its standard error: a record of slog or of hclog, or anything.
func logLine(logger *slog.Logger, said *tail, line []byte) {
	if r, ok := record(line); ok {
		if logger.Enabled(context.Background(), r.Level) {
			_ = logger.Handler().Handle(context.Background(), r)
		}
		return
	}
	said.add(line)
	printed(logger, "stderr", line)
}

func printed(logger *slog.Logger, where string, line []byte) {
	logger.Info(strings.ToValidUTF8(string(line), "�"), "printed_to", where)
}

// record reads a record that [slog.JSONHandler] or hclog wrote.
func record(line []byte) (slog.Record, bool) {
	if len(line) == 0 || line[0] != '{' {
		return slog.Record{}, false
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var fields map[string]any
	if d.Decode(&fields) != nil {
		return slog.Record{}, false
	}
	take := func(keys ...string) string {
		for _, k := range keys {
			if s, ok := fields[k].(string); ok {
				delete(fields, k)
				return s
			}
		}
		return ""
	}
	word := take(slog.LevelKey, "@level")
	if word == "" {
		return slog.Record{}, false
	}
	level := slog.LevelInfo
	if strings.EqualFold(word, "trace") {
		level = slog.LevelDebug
	} else {
		_ = level.UnmarshalText([]byte(word)) // one that is not known is Info
	}
	when, err := time.Parse(time.RFC3339Nano, take(slog.TimeKey, "@timestamp"))
	if err != nil {
		when = time.Now()
	}
	r := slog.NewRecord(when, level, take(slog.MessageKey, "@message"), 0)
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		r.Add(attr(k, fields[k]))
	}
	return r, true
}

// attr keeps a group a group.
func attr(key string, value any) slog.Attr {
	fields, ok := value.(map[string]any)
	if !ok {
		if n, ok := value.(json.Number); ok {
			if i, err := n.Int64(); err == nil {
				return slog.Int64(key, i)
			}
		}
		return slog.Any(key, value)
	}
	var group []any
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		group = append(group, attr(k, fields[k]))
	}
	return slog.Group(key, group...)
}

// lineWriter logs what is written to it, line by line.
type lineWriter struct {
	do func(line []byte)

	mu      sync.Mutex
	pending []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = append(w.pending, p...)
	for {
		i := bytes.IndexByte(w.pending, '\n')
		if i < 0 && len(w.pending) < maxLine {
			return len(p), nil
		}
		line, rest := w.pending, []byte(nil)
		if i >= 0 {
			line, rest = w.pending[:i], w.pending[i+1:]
		}
		if line = bytes.TrimRight(line, "\r"); len(line) > 0 {
			w.do(line)
		}
		w.pending = rest
	}
}
