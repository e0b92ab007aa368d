//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/pin/tftp/v3"

	"github.com/project-loda/loda/pxe"
)

// A server is one that is compared: how it is started to serve files, in the foreground. dir is for what it writes.
type server struct {
	name string
	ours bool
	argv func(dir, files string) ([]string, error)
}

var tftpServers = []server{
	{"Loda", true, self("tftp")},
	{"tftpd-hpa", false, func(_, files string) ([]string, error) {
		return program("in.tftpd", "--foreground", "--ipv4", "--address", serverAddr+":69", "--user", "nobody", "--secure", files)
	}},
	{"dnsmasq", false, func(_, files string) ([]string, error) {
		// Its default of 50 transfers at once would refuse the others.
		return program("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file=",
			"--enable-tftp", "--tftp-root="+files, "--tftp-max=10000", "--quiet-tftp", "--log-facility=-")
	}},
	{"pin/tftp 3.2", false, self("pin")},
}

var httpServers = []server{
	{"Loda", true, self("http")},
	{"nginx", false, func(dir, files string) ([]string, error) {
		conf := filepath.Join(dir, "nginx.conf")
		err := os.WriteFile(conf, []byte(fmt.Sprintf(`
daemon off;
user root;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log stderr;
events { worker_connections 4096; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server { listen %[2]s:8080 backlog=4096; location /artifacts/ { alias %[3]s/; } }
}
`, dir, serverAddr, files)), 0o644)
		if err != nil {
			return nil, err
		}
		return program("nginx", "-c", conf, "-p", dir, "-e", "stderr")
	}},
}

func program(name string, args ...string) ([]string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%w; run `scripts/setup bench`", err)
	}
	return append([]string{path}, args...), nil
}

func self(kind string) func(dir, files string) ([]string, error) {
	return func(_, files string) ([]string, error) {
		exe, err := os.Executable()
		return []string{exe, "serve", kind, files}, err
	}
}

// serve is a server of ours, or of the library's, in a process of its own. A file that LODA_BENCH_PROFILE names gets a CPU profile.
func serve(kind, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if name := os.Getenv("LODA_BENCH_PROFILE"); name != "" {
		f, err := os.Create(name + "." + kind)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	files, err := pxe.OpenDir(dir)
	if err != nil {
		return err
	}
	defer files.Close()
	quiet := slog.New(slog.DiscardHandler)
	seen := func(pxe.Transfer) {}
	switch kind {
	case "tftp":
		return (&pxe.TFTPServer{Addr: serverAddr + ":69", Files: files, Observe: seen, Logger: quiet}).ListenAndServe(ctx)
	case "pin":
		s := tftp.NewServer(func(name string, rf io.ReaderFrom) error {
			f, _, err := files.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = rf.ReadFrom(f)
			return err
		}, nil)
		s.SetBlockSize(1450)
		context.AfterFunc(ctx, s.Shutdown)
		return s.ListenAndServe(serverAddr + ":69")
	case "http":
		l, err := net.Listen("tcp", serverAddr+":8080")
		if err != nil {
			return err
		}
		s := &http.Server{Handler: &pxe.Handler{Artifacts: files, Observe: seen, Logger: quiet}, ReadHeaderTimeout: 10 * time.Second}
		context.AfterFunc(ctx, func() { _ = s.Close() })
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
	return fmt.Errorf("unknown server %q", kind)
}
