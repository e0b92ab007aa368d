package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/scripts/need"
)

func TestMain(m *testing.M) {
	// The clients are this program, started again in a namespace.
	if len(os.Args) > 1 && os.Args[1] == "-fleet" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The figures of so short a run say nothing; that there are some says that the comparison still works.
func TestComparisonWorks(t *testing.T) {
	need.Root(t)
	need.Command(t, "ip", "perfdhcp", "dnsmasq")
	lodad := filepath.Join(t.TempDir(), "lodad")
	out, err := exec.Command("go", "build", "-o", lodad, "../../../lodad").CombinedOutput()
	require.NoError(t, err, "%s", out)
	b := &bench{name: "loda-bench-test", options: options{lodad: lodad, period: time.Second, clients: 200, leases: 300, overload: 2,
		smoke: true}}
	defer b.close()
	require.NoError(t, b.wire(t.Context()))
	for _, server := range []string{"lodad", "dnsmasq"} {
		m, err := b.measure(t.Context(), server)
		require.NoError(t, err)
		require.Positive(t, m.saturation, server)
		require.Positive(t, m.p99, server)
		require.Positive(t, m.memory, server)
		require.Positive(t, m.storm, server)
		t.Logf("%s: %s", server, m)
	}
	_, err = b.measure(t.Context(), "bind")
	require.ErrorContains(t, err, "no such server")
}

func TestReportOfPerfdhcpIsRead(t *testing.T) {
	got, times, err := readReport(strings.NewReader(`***Rate statistics***
Rate: 93.5 4-way exchanges/second, expected rate: 100
***Statistics for: DISCOVER-OFFER***
sent packets: 100
received packets: 90
***Timestamps for packets: DISCOVER-OFFER***
sent / received: 000000.420095 / 000000.420233
sent / received: 000000.010117 / 000000.012117
***Statistics for: REQUEST-ACK***
sent packets: 90
received packets: 90
`))
	require.NoError(t, err)
	require.Equal(t, 93.5, got.rate)
	require.InDelta(t, 10.0/190, got.lost, 1e-9)
	require.Len(t, times, 2)
	require.InDelta(t, 138, times[0].Microseconds(), 1)
	require.InDelta(t, 2000, times[1].Microseconds(), 1)
	_, _, err = readReport(strings.NewReader("Unavailable! No packets received.\n"))
	require.Error(t, err)
}

func TestMedian(t *testing.T) {
	of := func(all ...float64) float64 {
		var ms []measured
		for _, x := range all {
			ms = append(ms, measured{saturation: x})
		}
		return median(ms, func(m measured) float64 { return m.saturation })
	}
	require.Zero(t, of())
	require.Equal(t, 2.0, of(3, 1, 2))
	require.Equal(t, 2.5, of(4, 1, 3, 2))
}
