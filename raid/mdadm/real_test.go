package mdadm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/mdadm"
	"github.com/project-loda/loda/scripts/need"
)

// programs runs what it is told, and remembers what changes something.
type programs struct{ log []string }

func (p *programs) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	command.Env = append(os.Environ(), "LC_ALL=C")
	err := command.Run()
	if command.ProcessState == nil {
		return nil, err
	}
	p.log = append(p.log, strings.Join(argv, " "))
	return &raid.Output{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitCode: command.ProcessState.ExitCode()}, nil
}

const loopBytes = 64 << 20

// loops makes drives of files.
func loops(t *testing.T, n int) []hw.Disk {
	t.Helper()
	need.Root(t)
	need.Command(t, "mdadm", "wipefs", "losetup")
	var disks []hw.Disk
	for i := range n {
		file := filepath.Join(t.TempDir(), "disk")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, os.Truncate(file, loopBytes))
		out, err := exec.Command("losetup", "--find", "--show", file).Output()
		require.NoError(t, err)
		device := strings.TrimSpace(string(out))
		t.Cleanup(func() { assert.NoError(t, exec.Command("losetup", "--detach", device).Run()) })
		disks = append(disks, hw.Disk{Name: filepath.Base(device), Kind: hw.PhysicalDisk, Bytes: loopBytes,
			Serial: "LOOP" + string(rune('0'+i))})
	}
	return disks
}

// writeSuperblock writes md's metadata 1.0 as Linux' include/uapi/linux/raid/md_p.h has it.
func writeSuperblock(t *testing.T, device, name string, role, devices int) {
	t.Helper()
	const sectors = loopBytes / 512
	const at = (sectors - 16) &^ 7
	sb := make([]byte, 256+2*devices)
	le := binary.LittleEndian
	le.PutUint32(sb[0:], 0xa92b4efc)
	le.PutUint32(sb[4:], 1)
	copy(sb[16:], "\x5a\xfe\x00\x01loda-mirror-")
	copy(sb[32:64], name)
	le.PutUint64(sb[64:], 1764000000)
	le.PutUint32(sb[72:], 1)
	le.PutUint64(sb[80:], at-128)
	le.PutUint32(sb[92:], uint32(devices))
	le.PutUint64(sb[136:], at-128) // data_size, from sector 0
	le.PutUint64(sb[144:], at)
	le.PutUint32(sb[160:], uint32(role))
	sb[168] = byte(role + 1) // the member's own UUID
	le.PutUint64(sb[192:], 1764000000)
	le.PutUint64(sb[200:], 17)
	le.PutUint64(sb[208:], ^uint64(0)) // in sync
	le.PutUint32(sb[220:], uint32(devices))
	for i := range devices {
		le.PutUint16(sb[256+2*i:], uint16(i))
	}
	sum := uint64(0)
	for i := 0; i < len(sb); i += 4 {
		sum += uint64(le.Uint32(sb[i:]))
	}
	le.PutUint32(sb[216:], uint32(sum)+uint32(sum>>32))
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt(sb, at*512)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
}

func noArrays() ([]byte, error) { return []byte("Personalities : \nunused devices: <none>\n"), nil }

func TestRealMdadmFindsAndRemovesTheMirrorOfAMachineThatWasOff(t *testing.T) {
	disks := loops(t, 2)
	for i, d := range disks {
		writeSuperblock(t, "/dev/"+d.Name, "any:os", i, 2)
	}
	p := &programs{}
	d := mdadm.New(p, "mdadm", func(context.Context) ([]hw.Disk, error) { return disks, nil }, mdadm.WithStat(noArrays))
	inv := inventory(t, d)
	require.Len(t, inv.Volumes, 1)
	v := inv.Volumes[0]
	assert.Equal(t, "os", v.Name)
	assert.Equal(t, raid.Level1, v.Level.Is)
	assert.EqualValues(t, "5afe0001:6c6f6461:2d6d6972:726f722d", v.ID)
	assert.Equal(t, raid.VolumeOffline, v.State.Is)
	assert.True(t, *v.Boot)
	assert.Zero(t, v.Missing)
	assert.Equal(t, []raid.DiskID{inv.Disks[0].ID, inv.Disks[1].ID}, v.Members)
	assert.InDelta(t, loopBytes, v.Bytes, 1<<18)

	out, err := p.Run(t.Context(), "mdadm", "--examine", "/dev/"+disks[0].Name, "/dev/"+disks[1].Name)
	require.NoError(t, err)
	parsed, err := mdadm.Parse(out.Stdout)
	require.NoError(t, err)
	assert.Equal(t, v.ID, parsed.Volumes[0].ID)
	assert.Equal(t, v.Bytes, parsed.Volumes[0].Bytes)

	s := step(raid.StepDeleteVolume)
	s.Volume = volumeRef(v)
	do(t, d, s)
	assert.Empty(t, inventory(t, d).Volumes)
	for _, disk := range disks {
		f, err := os.Open("/dev/" + disk.Name)
		require.NoError(t, err)
		last := make([]byte, 16<<10)
		_, err = f.ReadAt(last, loopBytes-int64(len(last)))
		require.NoError(t, err)
		f.Close()
		assert.NotContains(t, string(last), "\xfc\x4e\x2b\xa9", "magic of md")
	}
}
