package plugin

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheHandshakeIsFoundBehindWhatWasPrintedWithoutANewline(t *testing.T) {
	for _, c := range []struct {
		line, want string
		version    int
	}{
		{"1|1|unix|/tmp/s|grpc|", "1|1|unix|/tmp/s|grpc|", 1},
		{"1|12|unix|/tmp/s|grpc", "1|12|unix|/tmp/s|grpc", 12},
		{"loading 11|1|unix|/tmp/s|grpc|", "1|1|unix|/tmp/s|grpc|", 1},
		{"1|1|tcp|127.0.0.1:1|grpc", "", 0},
		{"a|b|c", "", 0},
		{"1|99999999999999999999|unix|/tmp/s|grpc", "", 0},
	} {
		found, version, ok := handshakeIn([]byte(c.line))
		require.Equal(t, c.want != "", ok, c.line)
		if ok {
			require.Equal(t, c.want, string(found))
			require.Equal(t, c.version, version)
		}
	}
}

// Whatever a plugin prints, the host logs it as text and goes on.
func FuzzWhatAPluginPrints(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"m","a":{"b":1},"c":[1]}`))
	f.Add([]byte(`{"@level":"trace","@message":"m","@timestamp":"x"}`))
	f.Add([]byte("panic: x\n\xff\n1|1|unix|/s|grpc|\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, said := &logs{}, &tail{}
		w := &lineWriter{do: func(line []byte) { logLine(l.logger(), said, line) }}
		_, err := w.Write(data)
		require.NoError(t, err)
		eachLine(strings.NewReader(string(data)), func(line []byte) {
			require.LessOrEqual(t, len(line), maxLine)
			logLine(slog.New(slog.DiscardHandler), said, line)
			if found, version, ok := handshakeIn(line); ok {
				require.GreaterOrEqual(t, version, 0)
				require.Contains(t, string(line), string(found))
			}
		})
		require.LessOrEqual(t, len(said.lines), maxTail)
	})
}
