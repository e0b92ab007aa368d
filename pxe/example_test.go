package pxe_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/project-loda/loda/pxe"
)

// Boot the same kernel on every machine. A DHCP server points PXE firmware at undionly.kpxe or snponly.efi on the
// TFTP server, and iPXE at http://SERVER/boot/ipxe.
func Example() {
	dir, _ := os.MkdirTemp("", "artifacts")
	defer os.RemoveAll(dir)
	_ = os.WriteFile(filepath.Join(dir, "vmlinuz"), []byte("a kernel"), 0o644)
	artifacts, err := pxe.OpenDir(dir)
	if err != nil {
		panic(err)
	}
	defer artifacts.Close()

	everyone := pxe.BooterFunc(func(ctx context.Context, c pxe.Client) (pxe.Instruction, error) {
		fmt.Printf("machine %s with %d NICs asks\n", c.Serial, len(c.MACs))
		return pxe.Kernel{Kernel: "/artifacts/vmlinuz", Initrds: []string{"/artifacts/initrd"}, Args: "console=ttyS0"}, nil
	})
	server := httptest.NewServer(&pxe.Handler{Booter: everyone, Artifacts: artifacts, BaseURL: "http://10.77.0.1"})
	defer server.Close()
	// In real life: http.ListenAndServe, and beside it
	//	nbps, err := pxe.OpenNBPs("/usr/lib/ipxe", "/boot")
	//	go (&pxe.TFTPServer{Files: nbps}).ListenAndServe(ctx)

	resp, err := http.Get(server.URL + "/boot/script?mac=52:54:00:12:34:56&serial=ABC123&platform=efi")
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan() && lines.Text() != ":failed"; {
		fmt.Println(lines.Text())
	}
	// Output:
	// machine ABC123 with 1 NICs asks
	// #!ipxe
	// imgfree
	// kernel --name kernel http://10.77.0.1/artifacts/vmlinuz initrd=initrd0 console=ttyS0 || goto failed
	// initrd --name initrd0 http://10.77.0.1/artifacts/initrd || goto failed
	// boot || goto failed
}
