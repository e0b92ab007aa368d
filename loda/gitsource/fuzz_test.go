package gitsource

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/scripts/need"
)

// memory is a store without a disk, for fuzzing.
type memory struct {
	objects map[plumbing.Hash][]byte
	types   map[plumbing.Hash]plumbing.ObjectType
	biggest int
	total   int
}

func newMemory() *memory {
	return &memory{objects: map[plumbing.Hash][]byte{}, types: map[plumbing.Hash]plumbing.ObjectType{}}
}

func (m *memory) has(h plumbing.Hash) bool { return m.objects[h] != nil }

func (m *memory) put(t plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	h := plumbing.ComputeHash(t, content)
	m.objects[h], m.types[h] = append([]byte{}, content...), t
	m.biggest, m.total = max(m.biggest, len(content)), m.total+len(content)
	return h, nil
}

func (m *memory) get(h plumbing.Hash, _ int64) (plumbing.ObjectType, []byte, error) {
	if !m.has(h) {
		return 0, nil, errAbsent
	}
	return m.types[h], m.objects[h], nil
}

// packs returns packs as git makes them: whole objects, deltas by offset, deltas by name.
func packs(t testing.TB) [][]byte {
	t.Helper()
	need.Command(t, "git")
	dir := t.TempDir()
	git := func(in string, args ...string) []byte {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Stdin = dir, bytes.NewReader([]byte(in))
		out, err := cmd.Output()
		require.NoError(t, err)
		return out
	}
	git("", "init", "-q")
	var names string
	base := bytes.Repeat([]byte("a line that is long enough to be worth a delta\n"), 20)
	for _, tail := range []string{"", "one more\n", "another\n"} {
		names += string(git(string(base)+tail, "hash-object", "-w", "--stdin"))
	}
	return [][]byte{
		git(names, "pack-objects", "--stdout", "-q", "--window=0"),
		git(names, "pack-objects", "--stdout", "-q", "--delta-base-offset"),
		git(names, "pack-objects", "--stdout", "-q"),
	}
}

func TestPacksOfAllKindsUnpackToTheSameObjects(t *testing.T) {
	for _, pack := range packs(t) {
		m := newMemory()
		require.NoError(t, unpack(bytes.NewReader(pack), m, Limits{}.withDefaults()))
		require.Len(t, m.objects, 3)
		require.Equal(t, len(pack), cap(pack[:len(pack):len(pack)]))

		for _, cut := range []int{0, 3, 12, len(pack) / 2, len(pack) - 1} {
			require.Error(t, unpack(bytes.NewReader(pack[:cut]), newMemory(), Limits{}.withDefaults()), cut)
		}
		damaged := bytes.Clone(pack)
		damaged[len(damaged)-1] ^= 1
		require.ErrorContains(t, unpack(bytes.NewReader(damaged), newMemory(), Limits{}.withDefaults()), "checksum")
		var l *limitError
		require.True(t, errors.As(unpack(bytes.NewReader(pack), newMemory(),
			Limits{Blob: 100, Files: 10, Total: 10_000, Pack: 1}), &l))
	}
}

func FuzzUnpack(f *testing.F) {
	for _, p := range packs(f) {
		f.Add(p)
	}
	limits := Limits{Blob: 1 << 16, Files: 20, Total: 1 << 18, Pack: 1 << 16}
	f.Fuzz(func(t *testing.T, pack []byte) {
		m := newMemory()
		_ = unpack(bytes.NewReader(pack), m, limits)
		require.LessOrEqual(t, m.total, 2*int(limits.Total))
		require.LessOrEqual(t, m.biggest, maxNode)
	})
}

func FuzzServer(f *testing.F) {
	const commit = "0123456789012345678901234567890123456789"
	pkts := func(lines ...string) []byte {
		var b bytes.Buffer
		for _, line := range lines {
			if line == "" {
				b.WriteString("0000")
				continue
			}
			writePkt(&b, line)
		}
		return b.Bytes()
	}
	f.Add(pkts("# service=git-upload-pack\n", "", commit+" HEAD\x00side-band-64k shallow symref=HEAD:refs/heads/main\n",
		commit+" refs/heads/main\n", commit+" refs/tags/v1\n", commit+" refs/tags/v1^{}\n", ""))
	f.Add(pkts("shallow "+commit, "", "ACK "+commit+"\n", "NAK\n", "\x02Counting\n", "\x01PACK", ""))
	f.Add([]byte("0011ERR go away\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if a, caps, err := readAdvertisement(bytes.NewReader(raw)); err == nil {
			require.NotNil(t, caps)
			_, _ = resolve(Ref{}, a)
			_, _ = resolve(Ref{Tag: "v1"}, a)
			_, _ = encodeRequest(request{wants: []plumbing.Hash{{1}}, shallow: true}, caps)
		}
		n, err := readPack(bytes.NewReader(raw), io.Discard, 100)
		if err == nil {
			require.LessOrEqual(t, n, int64(100))
		}
	})
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"https://h/p", "git@h:p", "ssh://u@h:22/p", "file:///p", "/p", "http://[::1]/p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := newRemote(s, Auth{KeyFile: "k", KnownHostsFile: "h"}, Limits{})
		require.Equal(t, err == nil, r != nil)
		if err != nil {
			require.NotEmpty(t, err.Error())
			require.NotContains(t, err.Error(), "\n")
		}
	})
}
