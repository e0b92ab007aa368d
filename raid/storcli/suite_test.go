package storcli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
	emulator "github.com/project-loda/loda/raid/raidtest/storcli"
)

// emulated runs the emulator in this process: the suite runs it some thousand times.
type emulated struct {
	chassis *raidtest.Chassis
	// text leaves out that JSON is wanted.
	text bool
}

func (e emulated) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	var out bytes.Buffer
	args := argv[1:]
	if e.text {
		args = nil
		for _, a := range argv[1:] {
			if a != "J" {
				args = append(args, a)
			}
		}
	}
	exit := emulator.Main(ctx, e.chassis, args, &out)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if exit == raidtest.ExitPowerOff {
		return nil, errors.New("killed")
	}
	return &raid.Output{Stdout: out.Bytes(), ExitCode: exit}, nil
}

func TestTheDriverStandsTheSuite(t *testing.T) {
	suite := raidtest.Suite{New: func(t *testing.T, c *raidtest.Chassis) raid.Driver {
		return New(emulated{chassis: c}, "storcli64", WithLimits(time.Second, 100*time.Millisecond))
	}, Patience: 10 * time.Second}
	for _, c := range suite.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel() // each has machines of its own
			require.NoError(t, c.Run(t))
		})
	}
}

func TestTextIsReadAsJSONIsFromEveryReleaseOfTheTool(t *testing.T) {
	for _, release := range []string{"1.07", "1.16.06", "1.23.02", "007.0409.0000.0000 Nov 06, 2017",
		"007.1017.0000.0000 May 10, 2019", "007.2707.0000.0000 Dec 18, 2023"} {
		t.Run(release, func(t *testing.T) {
			c, err := raidtest.Create(t.TempDir()+"/chassis.json", raidtest.DefaultState())
			require.NoError(t, err)
			require.NoError(t, c.Edit(func(s *raidtest.State) error {
				ctl := s.Controllers[0]
				ctl.Extra = map[string]string{"CLI Version": release, "BBU Model": "iBBU-09"}
				ctl.Enclosures = []raidtest.Enclosure{{ID: 252, Slots: 8, Product: "SGPIO"}}
				return nil
			}))
			var all []*raid.Inventory
			for _, text := range []bool{false, true} {
				d := New(emulated{chassis: c, text: text}, "storcli64")
				controllers, err := d.Probe(t.Context())
				require.NoError(t, err)
				require.Len(t, controllers, 1)
				inv, err := d.Inventory(t.Context(), controllers[0].ID)
				require.NoError(t, err)
				require.Empty(t, inv.Warnings)
				all = append(all, inv)
			}
			require.Equal(t, all[0], all[1])
			state, err := c.State()
			require.NoError(t, err)
			require.Empty(t, raidtest.Disagree(state.Controllers[0].Inventory(), all[1]))
		})
	}
}

// TestMain is the emulator where a test starts it as a program.
func TestMain(m *testing.M) {
	if path := os.Getenv("LODA_CHASSIS"); path != "" {
		chassis, err := raidtest.Open(path)
		if err != nil {
			panic(err)
		}
		os.Exit(emulator.Main(context.Background(), chassis, os.Args[1:], os.Stdout))
	}
	os.Exit(m.Run())
}

// programs runs real processes.
type programs struct{ chassis string }

func (p programs) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Env = append(os.Environ(), "LODA_CHASSIS="+p.chassis)
	out, err := command.Output()
	exited := (*exec.ExitError)(nil)
	if err != nil && !errors.As(err, &exited) || ctx.Err() != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	return &raid.Output{Stdout: out, ExitCode: command.ProcessState.ExitCode()}, nil
}

func TestALayoutIsReachedThroughRealProcesses(t *testing.T) {
	c, err := raidtest.Create(t.TempDir()+"/chassis.json", raidtest.DefaultState())
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	d := New(programs{c.Path()}, self)
	plan := func() *raid.Plan {
		controllers, err := d.Probe(t.Context())
		require.NoError(t, err)
		inv, err := d.Inventory(t.Context(), controllers[0].ID)
		require.NoError(t, err)
		p, err := raid.NewPlan([]*raid.Inventory{inv}, raidtest.DefaultLayout())
		require.NoError(t, err)
		return p
	}
	p := plan()
	require.NotEmpty(t, p.Steps)
	require.NoError(t, raid.Apply(t.Context(), d, p, raid.Guard{Machine: "SN1", Approval: &raid.Approval{Machine: "SN1",
		Plan: p.Digest(), Allow: p.Needs()}, InUse: func(context.Context) ([]raid.Use, error) { return nil, nil }}, nil))
	require.True(t, plan().Empty())
}
