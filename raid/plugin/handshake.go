package plugin

import (
	"context"
	"errors"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/project-loda/loda/raid/plugin/raidpb"
)

// ProtocolVersion is what host and plugin must agree on. It is raised when a plugin of before could not be understood;
// fields that are new in documents do not raise it.
const ProtocolVersion = 1

// handshake lets a plugin know that it was started as one.
var handshake = goplugin.HandshakeConfig{
	ProtocolVersion:  ProtocolVersion,
	MagicCookieKey:   "LODA_RAID_PLUGIN",
	MagicCookieValue: "project-loda/raid",
}

// driverName is the name of the one thing that a plugin offers.
const driverName = "driver"

// maxMessage bounds what either side reads. A controller with 240 drives is 200 KB.
const maxMessage = 32 << 20

// pingEvery is how often the protocol itself asks whether the other side is there, while a call lasts. gRPC does it no
// more often than that, and a server has to allow it.
const pingEvery = 10 * time.Second

// wire is what go-plugin wants to know of both sides.
type wire struct {
	goplugin.NetRPCUnsupportedPlugin
	server raidpb.DriverServer
}

func (w *wire) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	if w.server == nil {
		return errors.New("this side of a RAID plugin serves nothing")
	}
	raidpb.RegisterDriverServer(s, w.server)
	return nil
}

func (w *wire) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return raidpb.NewDriverClient(c), nil
}
