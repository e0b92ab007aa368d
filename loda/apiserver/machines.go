package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/api"
)

// body wraps what an operation answers.
type body[T any] struct{ Body T }

// MachinePath is the path parameter of most operations. It is exported because huma sets embedded fields by reflection.
type MachinePath struct {
	Serial string `path:"serial" maxLength:"64" doc:"serial number of the machine"`
}

func (p MachinePath) parse() (inventory.Serial, error) {
	serial, err := inventory.ParseSerial(p.Serial)
	if err != nil {
		return "", huma.Error422UnprocessableEntity(err.Error())
	}
	return serial, nil
}

func (s *server) machineOperations(a huma.API) {
	huma.Register(a, operation("GET", "/api/v1/machines", "list-machines", api.Viewer, "Machines by serial number, without facts"), s.listMachines)
	huma.Register(a, operation("GET", "/api/v1/machines/{serial}", "get-machine", api.Viewer, "One machine with its facts"), s.getMachine)
	huma.Register(a, operation("GET", "/api/v1/machines/{serial}/rendering", "render-machine", api.Viewer,
		"What the machine would get: plan, boot scripts, steps, answer files; without secrets"), s.rendering)
	huma.Register(a, operation("DELETE", "/api/v1/machines/{serial}", "delete-machine", api.Admin,
		"Forget a machine; its timeline and installations stay"), s.deleteMachine)
	huma.Register(a, operation("POST", "/api/v1/imports", "import-machines", api.Operator,
		"Import machines from CSV, all or none; every bad row is reported"), s.importMachines)
	huma.Register(a, operation("POST", "/api/v1/machines/{serial}/install", "install-machine", api.Operator,
		"Open an installation: the machine is installed when it netboots next"), s.install)
	for _, d := range []struct {
		id, summary string
		call        func(context.Context, inventory.Serial, string, string) (*inventory.Installation, error)
	}{
		{"cancel", "End the open installation", s.cancel},
		{"retry", "Begin the open installation anew after it failed", s.retry},
		{"release", "Let a held or quarantined machine go on", s.release},
		{"hold", "Keep a queued machine from beginning", s.hold},
	} {
		huma.Register(a, operation("POST", "/api/v1/machines/{serial}/"+d.id, d.id+"-machine", api.Operator, d.summary),
			func(ctx context.Context, in *struct {
				MachinePath
				Body api.ReasonRequest `required:"false"`
			}) (*body[api.Installation], error) {
				serial, err := in.parse()
				if err != nil {
					return nil, err
				}
				inst, err := d.call(ctx, serial, in.Body.Reason, by(ctx))
				if err != nil {
					return nil, s.fail(err)
				}
				return &body[api.Installation]{view(inst)}, nil
			})
	}
	huma.Register(a, operation("GET", "/api/v1/installations", "list-installations", api.Viewer, "Installations, newest first"), s.listInstallations)
	huma.Register(a, operation("GET", "/api/v1/installations/{id}", "get-installation", api.Viewer, "One installation"), s.getInstallation)
	huma.Register(a, operation("GET", "/api/v1/timeline/{machine}", "get-timeline", api.Viewer,
		"Everything that a machine did, oldest first, by serial number or MAC"), s.timeline)
}

func (s *server) cancel(ctx context.Context, serial inventory.Serial, reason, by string) (*inventory.Installation, error) {
	return s.Installer.Cancel(ctx, serial, reason, by)
}
func (s *server) retry(ctx context.Context, serial inventory.Serial, _, by string) (*inventory.Installation, error) {
	return s.Installer.Retry(ctx, serial, by)
}
func (s *server) release(ctx context.Context, serial inventory.Serial, reason, by string) (*inventory.Installation, error) {
	return s.Installer.Release(ctx, serial, reason, by)
}
func (s *server) hold(ctx context.Context, serial inventory.Serial, reason, by string) (*inventory.Installation, error) {
	return s.Installer.Hold(ctx, serial, reason, by)
}

// view leaves out what only the agent needs.
func view(inst *inventory.Installation) api.Installation {
	v := api.Installation{ID: inst.ID, Serial: inst.Serial, State: inst.State, Reason: inst.Reason, Profile: inst.Profile,
		Attempt: inst.Attempt, Progress: inst.Progress, ProgressText: inst.ProgressText, CreatedAt: inst.CreatedAt,
		UpdatedAt: inst.UpdatedAt, StateSince: inst.StateSince, Entered: inst.Entered, Deadline: inst.Deadline}
	var plan struct { // what is needed of a loda.Plan; the rest takes longer to read than the inventory
		Image      struct{ Name string }
		FirstBoot  struct{ Address string } `json:"first_boot"`
		Revision   string
		Quarantine loda.Quarantine
	}
	if json.Unmarshal(inst.Plan, &plan) == nil {
		v.Image, v.Address = plan.Image.Name, plan.FirstBoot.Address
		v.Revision, v.Quarantine = plan.Revision, plan.Quarantine
	}
	return v
}

// whole is view with what is too much for a list.
func whole(inst *inventory.Installation) api.Installation {
	v := view(inst)
	var plan struct{ Differences []hw.Difference }
	if json.Unmarshal(inst.Plan, &plan) == nil {
		v.Differences = plan.Differences
	}
	return v
}

// latest finds the open installation of a machine, or the last one; nil if there was none.
func (s *server) latest(ctx context.Context, serial inventory.Serial,
	show func(*inventory.Installation) api.Installation) (*api.Installation, error) {
	inst, err := s.store.OpenInstallation(ctx, serial)
	if errors.Is(err, inventory.ErrNotFound) {
		page, err := s.store.Installations(ctx, inventory.InstallationFilter{Serial: serial, Newest: true, Limit: 1})
		if err != nil || len(page) == 0 {
			return nil, err
		}
		inst = &page[0]
	} else if err != nil {
		return nil, err
	}
	v := show(inst)
	return &v, nil
}

// brief is latest for a list.
func (s *server) brief(ctx context.Context, serial inventory.Serial) (*api.Installation, error) {
	return s.latest(ctx, serial, view)
}

// manyMachines is from how many on it is cheaper to read installations that may be of other machines.
const manyMachines = 50

// latestOfMany is latest for a page of machines. It reads the open installations and the newest ones at once, which
// are those of most machines, and asks the inventory one by one for the rest only.
func (s *server) latestOfMany(ctx context.Context) (
	func(context.Context, inventory.Serial) (*api.Installation, error), error) {
	const most = 1000
	open, err := s.store.Installations(ctx, inventory.InstallationFilter{OpenOnly: true, Limit: most})
	if err != nil {
		return nil, err
	}
	newest, err := s.store.Installations(ctx, inventory.InstallationFilter{Newest: true, Limit: most})
	if err != nil {
		return nil, err
	}
	found := map[inventory.Serial]*inventory.Installation{}
	for i := range open {
		found[open[i].Serial] = &open[i]
	}
	if len(open) < most { // otherwise an older one that is still open could be missing
		for i := range newest {
			if _, known := found[newest[i].Serial]; !known {
				found[newest[i].Serial] = &newest[i]
			}
		}
	}
	return func(ctx context.Context, serial inventory.Serial) (*api.Installation, error) {
		inst, ok := found[serial]
		if !ok {
			return s.brief(ctx, serial)
		}
		v := view(inst)
		return &v, nil
	}, nil
}

func (s *server) listMachines(ctx context.Context, in *struct {
	Source  string `query:"source" enum:"imported,discovered"`
	Profile string `query:"profile"`
	Rack    string `query:"rack"`
	Query   string `query:"q" doc:"part of serial number, name, MAC, vendor or product"`
	After   string `query:"after" doc:"next of the previous page"`
	Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}) (*body[api.MachinePage], error) {
	machines, err := s.store.Machines(ctx, inventory.MachineFilter{Source: inventory.Source(in.Source), Profile: in.Profile,
		Rack: in.Rack, Query: in.Query, After: inventory.Serial(in.After), Limit: in.Limit})
	if err != nil {
		return nil, s.fail(err)
	}
	latest := s.brief
	if len(machines) > manyMachines {
		if latest, err = s.latestOfMany(ctx); err != nil {
			return nil, s.fail(err)
		}
	}
	page := api.MachinePage{Items: make([]api.Machine, 0, len(machines))}
	for _, m := range machines {
		m.Facts = nil
		inst, err := latest(ctx, m.Serial)
		if err != nil {
			return nil, s.fail(err)
		}
		page.Items = append(page.Items, api.Machine{Machine: m, Installation: inst})
	}
	if len(machines) == in.Limit {
		page.Next = string(machines[len(machines)-1].Serial)
	}
	return &body[api.MachinePage]{page}, nil
}

func (s *server) getMachine(ctx context.Context, in *MachinePath) (*body[api.Machine], error) {
	serial, err := in.parse()
	if err != nil {
		return nil, err
	}
	m, err := s.store.Machine(ctx, serial)
	if err != nil {
		return nil, s.fail(named(err, serial))
	}
	inst, err := s.latest(ctx, serial, whole)
	if err != nil {
		return nil, s.fail(err)
	}
	return &body[api.Machine]{api.Machine{Machine: *m, Installation: inst}}, nil
}

func (s *server) deleteMachine(ctx context.Context, in *MachinePath) (*struct{}, error) {
	serial, err := in.parse()
	if err != nil {
		return nil, err
	}
	switch inst, err := s.store.OpenInstallation(ctx, serial); {
	case err == nil:
		return nil, huma.Error409Conflict("machine " + string(serial) + " has an open installation (" + string(inst.State) + "); cancel it first")
	case !errors.Is(err, inventory.ErrNotFound):
		return nil, s.fail(err)
	}
	if err := s.store.DeleteMachine(ctx, serial); err != nil {
		return nil, s.fail(named(err, serial))
	}
	return nil, s.fail(s.store.AppendEvents(ctx, inventory.Event{Serial: serial, Kind: inventory.KindAudit, Message: "machine deleted, by " + by(ctx)}))
}

// importTime bounds one import.
const importTime = 5 * time.Minute

func (s *server) importMachines(ctx context.Context, in *struct {
	DryRun  bool   `query:"dry_run" doc:"check everything, store nothing"`
	Install bool   `query:"install" doc:"open an installation for every machine"`
	RawBody []byte `contentType:"text/csv"`
}) (*body[api.ImportResult], error) {
	// A caller that hangs up does not leave half of the installations unopened.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), importTime)
	defer cancel()
	res, err := s.Installer.Import(ctx, bytes.NewReader(in.RawBody), loda.ImportOptions{DryRun: in.DryRun, Install: in.Install, By: by(ctx)})
	if err != nil {
		return nil, s.fail(err)
	}
	return &body[api.ImportResult]{*res}, nil
}

func (s *server) install(ctx context.Context, in *struct {
	MachinePath
	Body api.InstallRequest `required:"false"`
}) (*body[api.Installation], error) {
	serial, err := in.parse()
	if err != nil {
		return nil, err
	}
	inst, err := s.Installer.Install(ctx, serial, loda.InstallOptions{Profile: in.Body.Profile, Hold: in.Body.Hold, By: by(ctx)})
	if err != nil {
		return nil, s.fail(err)
	}
	return &body[api.Installation]{view(inst)}, nil
}

func (s *server) listInstallations(ctx context.Context, in *struct {
	Serial string `query:"serial"`
	State  string `query:"state" enum:"held,queued,netbooting,detecting,comparing,configuring,installing,finishing,installed,failed,quarantined,canceled"`
	After  string `query:"after" doc:"next of the previous page"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}) (*body[api.InstallationPage], error) {
	f := inventory.InstallationFilter{After: in.After, Newest: true, Limit: in.Limit}
	if in.Serial != "" {
		serial, err := MachinePath{in.Serial}.parse()
		if err != nil {
			return nil, err
		}
		f.Serial = serial
	}
	if in.State != "" {
		f.States = []inventory.State{inventory.State(in.State)}
	}
	installations, err := s.store.Installations(ctx, f)
	if err != nil {
		return nil, s.fail(err)
	}
	page := api.InstallationPage{Items: make([]api.Installation, 0, len(installations))}
	for i := range installations {
		page.Items = append(page.Items, view(&installations[i]))
	}
	if len(installations) == in.Limit {
		page.Next = installations[len(installations)-1].ID
	}
	return &body[api.InstallationPage]{page}, nil
}

func (s *server) getInstallation(ctx context.Context, in *struct {
	ID string `path:"id"`
}) (*body[api.Installation], error) {
	inst, err := s.store.Installation(ctx, in.ID)
	if err != nil {
		return nil, s.fail(err)
	}
	return &body[api.Installation]{whole(inst)}, nil
}

func (s *server) rendering(ctx context.Context, in *struct {
	MachinePath
	Revision string `query:"revision" maxLength:"64" doc:"commit; the one in use by default"`
}) (*body[api.Rendering], error) {
	serial, err := in.parse()
	if err != nil {
		return nil, err
	}
	if in.Revision != "" && s.Source == nil {
		return nil, errNoRepository
	}
	r, err := s.Installer.Render(ctx, serial, in.Revision)
	if err != nil {
		return nil, s.fail(named(err, serial))
	}
	return &body[api.Rendering]{*r}, nil
}

func (s *server) timeline(ctx context.Context, in *struct {
	Machine string `path:"machine" maxLength:"64" doc:"serial number, or MAC"`
	After   int64  `query:"after" doc:"next of the previous page"`
	Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Latest  bool   `query:"latest" doc:"the last events instead of those after"`

	Kinds []inventory.Kind `query:"kind,explode" maxItems:"16" doc:"only events of these kinds"`
}) (*body[api.EventPage], error) {
	events, err := s.eventsOf(ctx, in.Machine, inventory.EventFilter{After: in.After, Limit: in.Limit, Latest: in.Latest, Kinds: in.Kinds})
	if err != nil {
		return nil, s.fail(err)
	}
	page := api.EventPage{Items: events, Next: in.After}
	if page.Items == nil {
		page.Items = []inventory.Event{}
	}
	if n := len(events); n > 0 {
		page.Next = events[n-1].ID
	}
	return &body[api.EventPage]{page}, nil
}

// eventsOf finds a machine by what it is called. Twelve hexadecimal digits can be a MAC, and some vendor's serial
// number: that of a machine comes first.
func (s *server) eventsOf(ctx context.Context, machine string, f inventory.EventFilter) ([]inventory.Event, error) {
	serial, serialErr := MachinePath{machine}.parse()
	if serialErr == nil {
		events, err := s.Installer.Timeline(ctx, serial, f)
		if !errors.Is(err, inventory.ErrNotFound) {
			return events, err
		}
		serialErr = err
	}
	mac, err := inventory.ParseMAC(machine)
	if err != nil {
		return nil, serialErr
	}
	// A machine that was refused has no record; its MAC is all that is known of it.
	f.MACs = []inventory.MAC{mac}
	return s.store.Events(ctx, f)
}

func named(err error, serial inventory.Serial) error {
	if errors.Is(err, inventory.ErrNotFound) {
		return huma.NewError(http.StatusNotFound, "machine "+string(serial)+": not found; import it, or let it netboot to be discovered")
	}
	return err
}
