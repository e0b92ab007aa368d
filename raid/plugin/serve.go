package plugin

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/project-loda/loda/raid"
)

// Serve is the main of a plugin. It returns when the host has no more use for the plugin, or is gone, and the driver
// has finished what it was writing.
//
// It makes [slog.Default] a logger to the host.
func Serve(d raid.Driver) {
	if os.Getenv(handshake.MagicCookieKey) != handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "%s is a RAID driver for Loda, and of no use by itself: Loda starts it.\n",
			filepath.Base(os.Args[0]))
		os.Exit(2)
	}
	// go-plugin replaces os.Stderr later; this is the real one, which the host reads line by line.
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	log.SetFlags(0)

	s := newServer(d)
	leave := func() {
		s.stop()
		os.Exit(0)
	}
	go func() { // the host holds the other end: it closes it to end the plugin, and so does the kernel if the host dies
		_, _ = io.Copy(io.Discard, os.Stdin)
		leave()
	}()
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	go func() {
		<-terminate
		leave()
	}()

	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{ProtocolVersion: {driverName: &wire{server: s}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
				grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery / 2}))...)
		},
		// What goes wrong with its own start.
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
	})
	s.stop()
}
