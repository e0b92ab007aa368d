package pxe

import (
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/scripts/need"
)

// efiProgramARM64 is [efiProgram] for arm64: it ends QEMU with a status by semihosting (Arm's semihosting specification,
// section 5.3: SYS_EXIT with ADP_Stopped_ApplicationExit and the status).
func efiProgramARM64(status byte) []byte {
	b := efiProgram(0)
	binary.LittleEndian.PutUint16(b[0x44:], 0xaa64) // machine: arm64
	code := b[0x200:]
	clear(code)
	for i, word := range []uint32{
		0x10000081,                       // adr x1, block
		0xd2800300,                       // mov x0, #0x18 (SYS_EXIT)
		0xd45e0000,                       // hlt #0xf000
		0x14000000,                       // b .
		0x00020026, 0, uint32(status), 0, // block
	} {
		binary.LittleEndian.PutUint32(code[4*i:], word)
	}
	return b
}

func TestARM64FirmwareAsksAsArchitecture11AndRunsWhatItLoadsByTFTP(t *testing.T) {
	need.Command(t, "qemu-system-aarch64")
	need.File(t, "/usr/share/AAVMF/AAVMF_CODE.fd")
	if !inNamespace(t) {
		return
	}
	// Debian has no iPXE for arm64 that a server of another architecture can install: a program stands in for it.
	nbps := tree(t, map[string]string{"snponly-arm64.efi": string(efiProgramARM64(kernelRan))})
	r := &rack{nbp: "snponly-arm64.efi", nbpDir: nbps, story: &story{}}
	startRack(t, r, nil)

	dir := t.TempDir()
	vars, console := filepath.Join(dir, "vars.fd"), filepath.Join(dir, "console")
	b, err := os.ReadFile("/usr/share/AAVMF/AAVMF_VARS.fd")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(vars, b, 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a57", "-accel", "tcg,tb-size=64",
		"-m", "512", "-nographic", "-monitor", "none", "-serial", "file:"+console, "-semihosting-config", "enable=on,target=native",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/AAVMF/AAVMF_CODE.fd",
		"-drive", "if=pflash,format=raw,unit=1,file="+vars,
		"-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=n0,bootindex=0,romfile=,mac="+vmMAC).CombinedOutput()
	var exit *exec.ExitError
	text, _ := os.ReadFile(console)
	require.ErrorAs(t, err, &exit, "%s\n%s", out, printable(string(text)))
	require.NoError(t, ctx.Err(), "nothing was booted in time: %s\n%s", out, printable(string(text)))
	require.EqualValues(t, kernelRan, exit.ExitCode(), "%s\n%s", out, printable(string(text)))
	require.Equal(t, []byte{0, 11}, r.arch.Load())
	require.Equal(t, []string{"tftp snponly-arm64.efi"}, r.loaded())
}
