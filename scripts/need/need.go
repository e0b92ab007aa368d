// Package need lets a test say what it cannot run without. Where that is missing the test is skipped with the reason;
// with LODA_TEST_REQUIRE=all in the environment, as `make test` and CI set it, it fails instead: a test that could
// not run is never green there.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Root asks for the rights to make network namespaces, taps and mounts.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "needs root (network namespaces, raw sockets); run `sudo make test`")
	}
}

// Command asks for programs in PATH.
func Command(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			Missing(t, "needs the program "+name+"; run `scripts/setup test`")
		}
	}
}

// File asks for a file that a package of Debian brings.
func File(t testing.TB, name string) {
	t.Helper()
	if _, err := os.Stat(name); err != nil {
		Missing(t, "needs "+name+"; run `scripts/setup test`")
	}
}

// Time asks for patience: the test is left out by -short, which `make test` and CI do not say.
func Time(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short: " + why)
	}
}

// QEMU asks for what the virtual rack runs on: root, QEMU and firmware.
func QEMU(t testing.TB) {
	t.Helper()
	Time(t, "boots virtual machines")
	Root(t)
	Command(t, "qemu-system-x86_64", "qemu-img", "ip")
	File(t, "/usr/share/OVMF/OVMF_CODE_4M.fd")
	File(t, "/usr/lib/ipxe/undionly.kpxe")
}

// Missing says that something else is not there.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("LODA_TEST_REQUIRE") == "all" {
		t.Fatal(why)
	}
	t.Skip(why)
}
