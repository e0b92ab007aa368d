package gitsource

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPausesGrowWithFailuresAndSpread(t *testing.T) {
	const middle = 0.5
	for _, c := range []struct {
		poll     time.Duration
		failures int
		want     time.Duration
	}{
		{time.Minute, 0, time.Minute},
		{time.Minute, 1, 5 * time.Second},
		{time.Minute, 2, 10 * time.Second},
		{time.Minute, 7, 5 * time.Minute},
		{time.Minute, 1_000_000, 5 * time.Minute},
		{time.Hour, 10, 2560 * time.Second},
		{time.Hour, 1000, time.Hour},
	} {
		require.Equal(t, c.want, pause(c.poll, c.failures, middle).Round(time.Millisecond))
	}
	require.Equal(t, 54*time.Second, pause(time.Minute, 0, 0).Round(time.Millisecond))
	require.Equal(t, 66*time.Second, pause(time.Minute, 0, 1).Round(time.Millisecond))
}
