package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Action is what a person at the rack can do to a machine from another process, see [Control].
type Action string

// Actions.
const (
	ActionOn          Action = "on"           // Machine.PowerOn
	ActionOff         Action = "off"          // Machine.PowerOff; waits a minute for the guest
	ActionCut         Action = "cut"          // Machine.Cut
	ActionCycle       Action = "cycle"        // Machine.Cycle
	ActionReset       Action = "reset"        // Machine.Reset
	ActionBootNetwork Action = "boot-network" // Machine.BootNext(OrderNetwork)
	ActionBootDisk    Action = "boot-disk"    // Machine.BootNext(OrderDisk)
	ActionUnplug      Action = "unplug"       // Machine.Unplug of all network cards
	ActionPlug        Action = "plug"         // Machine.Plug of all network cards
)

// Actions are all actions, for help texts.
var Actions = []Action{
	ActionOn, ActionOff, ActionCut, ActionCycle, ActionReset, ActionBootNetwork, ActionBootDisk, ActionUnplug, ActionPlug,
}

// controlTimeout bounds one action; only a guest that is asked to shut down takes long.
const controlTimeout = time.Minute

// act does it.
func (m *Machine) act(ctx context.Context, action Action) error {
	switch action {
	case ActionOn:
		return m.PowerOn(ctx)
	case ActionOff:
		return m.PowerOff(ctx)
	case ActionCut:
		return m.Cut(ctx)
	case ActionCycle:
		return m.Cycle(ctx)
	case ActionReset:
		return m.Reset(ctx)
	case ActionBootNetwork:
		return m.BootNext(ctx, OrderNetwork)
	case ActionBootDisk:
		return m.BootNext(ctx, OrderDisk)
	case ActionUnplug, ActionPlug:
		var errs []error
		for nic := range m.Spec().NICs {
			errs = append(errs, m.setCable(ctx, nic, action == ActionPlug))
		}
		return errors.Join(errs...)
	}
	return fmt.Errorf("machine %s: %q: want one of %q", m.name, action, Actions)
}

// serveControl listens on a socket that only root can reach, as the directory around it says.
func (r *Rack) serveControl() error {
	listener, err := net.Listen("unix", r.state.Control)
	if err != nil {
		return fmt.Errorf("open control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /machines/{name}/{action}", func(w http.ResponseWriter, req *http.Request) {
		ctx, cancel := context.WithTimeout(req.Context(), controlTimeout)
		defer cancel()
		defer context.AfterFunc(r.alive, cancel)()
		at := slices.IndexFunc(r.machines, func(m *Machine) bool { return m.name == req.PathValue("name") })
		if at < 0 {
			http.Error(w, fmt.Sprintf("rack %s has no machine %q", r.ID(), req.PathValue("name")), http.StatusNotFound)
			return
		}
		if err := r.machines[at].act(ctx, Action(req.PathValue("action"))); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(r.alive, func() { server.Close() })
	r.wg.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			r.log.Error("control socket closed", "error", err)
		}
	})
	return nil
}

// Control does something to a machine of a rack that another process owns: a terminal beside the one in which
// `lodad lab up` runs. The rack is named by its ID, or by its name if only one has it.
func Control(ctx context.Context, rack, machine string, action Action, opts Options) error {
	state, err := find(rack, opts)
	if err != nil {
		return err
	}
	if !state.Owner.Alive() {
		return fmt.Errorf("rack %s: its owner, process %d, is dead: take it down", state.ID, state.Owner.PID)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", state.Control)
	}}
	defer transport.CloseIdleConnections()
	target := "http://rack/machines/" + url.PathEscape(machine) + "/" + url.PathEscape(string(action))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("rack %s: %w", state.ID, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNoContent {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("rack %s: %w", state.ID, err)
	}
	return errors.New(strings.TrimSpace(string(text)))
}
