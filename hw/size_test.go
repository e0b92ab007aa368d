package hw

import (
	"encoding/json"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

func TestSizesAreReadWithDecimalAndBinaryUnits(t *testing.T) {
	for text, want := range map[string]int64{
		"40GB": 40e9, "32GiB": 32 << 30, "1.92 TB": 1920e9, "0": 0, "512": 512, "512B": 512, "1kb": 1000,
		"1KiB":    1024,
		" 2 tib ": 2 << 40, "0.5MiB": 1 << 19, "8PB": 8e15, "9223372036854775807": 1<<63 - 1,
	} {
		got, err := ParseSize(text)
		require.NoError(t, err, text)
		require.Equal(t, Size(want), got, text)
	}
}

func TestSizesThatCanBeMisreadAreRefused(t *testing.T) {
	for _, text := range []string{"", "GB", "40G", "40Gb/s", "-1GB", "+1GB", "1,5GB", "1.5", "0.3B", "1e3GB",
		"0x10", "10 0GB", ".5GB",
		"5.GB", "1..5GB", "9223372036854775808", "10000000000PB", "1/2GB", "1_000GB", "٣GB"} {
		_, err := ParseSize(text)
		require.Error(t, err, text)
		require.ErrorContains(t, err, "size", text)
	}
}

func TestSizesAreWrittenExactlyAndReadBack(t *testing.T) {
	for size, want := range map[Size]string{0: "0B", 512: "512B", 40e9: "40GB", 32 << 30: "32GiB",
		480103981056: "468851544KiB",
		1920e9:       "1920GB", 1: "1B"} {
		require.Equal(t, want, size.String())
		back, err := ParseSize(size.String())
		require.NoError(t, err)
		require.Equal(t, size, back)
	}
}

func TestSizesInJSONAndYAML(t *testing.T) {
	var v struct {
		A Size `json:"a" yaml:"a"`
		B Size `json:"b" yaml:"b"`
	}
	require.NoError(t, json.Unmarshal([]byte(`{"a": "40GB", "b": 4096}`), &v))
	require.Equal(t, Size(40e9), v.A)
	require.Equal(t, Size(4096), v.B)
	encoded, err := json.Marshal(v)
	require.NoError(t, err)
	require.JSONEq(t, `{"a": "40GB", "b": "4KiB"}`, string(encoded))
	require.Error(t, json.Unmarshal([]byte(`{"a": true}`), &v))
	require.Error(t, json.Unmarshal([]byte(`{"a": 1e3}`), &v))

	v.A, v.B = 0, 0
	require.NoError(t, yaml.Unmarshal([]byte("a: 40GB\nb: 4096\n"), &v))
	require.Equal(t, Size(40e9), v.A)
	require.Equal(t, Size(4096), v.B)
	require.Error(t, yaml.Unmarshal([]byte("a: 40G\n"), &v))
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"40GB", "1.92 TB", "9e99", "-", "0x1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, size, Size(0))
		back, err := ParseSize(size.String())
		require.NoError(t, err)
		require.Equal(t, size, back)
	})
}
