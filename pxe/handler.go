package pxe

import (
	"log/slog"
	"net/http"
	"time"
)

// Handler is the HTTP side of the boot server. Set the fields, then use it as an [http.Handler] at the root of a
// server, or mount the paths below on a larger mux. The fields must not change after the first request.
//
//	GET /boot/ipxe      the script that makes iPXE introduce itself, boot file for iPXE in DHCP
//	GET /boot/script    asks the Booter and renders its Instruction as an iPXE script
//	GET /boot/{file}    the iPXE binaries of NBPs, for UEFI HTTP boot
//	GET /artifacts/...  the files of Artifacts
//
// HEAD works wherever GET does, but for /boot/script. It must be plain HTTP, as firmware speaks nothing else.
type Handler struct {
	// Booter decides. It is required.
	Booter Booter
	// NBPs are the network boot programs; nil serves none by HTTP. See [OpenNBPs].
	NBPs *Files
	// Artifacts are the files below /artifacts/; nil serves none. See [OpenDir].
	Artifacts *Files
	// BaseURL is where machines reach this handler, such as http://10.77.0.1:8080. If it is empty, each machine is
	// sent back to the address that it asked (the Host header), which is right unless there is a proxy.
	BaseURL string
	// BootTimeout is the deadline of [Booter]; 0 means 10 seconds.
	BootTimeout time.Duration
	// MaxAttempts is how often a machine asks in vain before it reboots; 0 means 20, about nine minutes.
	MaxAttempts int
	// Observe, if not nil, is told of every finished request, in order, from a goroutine of its own. The server
	// never waits for it: while it is slow, up to 4,096 transfers are kept, then the newest are dropped and counted
	// in the log.
	Observe func(Transfer)
	// Logger gets what an operator should see; nil means [slog.Default].
	Logger *slog.Logger
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.NotFound(w, r)
}
