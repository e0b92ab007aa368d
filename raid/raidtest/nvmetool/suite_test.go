package nvmetool_test

import (
	"bytes"
	"context"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/nvmens"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/nvmetool"
)

const (
	address = raid.ControllerID("0000:3b:00.0")
	serial  = "PHLN0042001X1P6A"
)

// machine has one drive, all of which is one namespace.
func machine() *raidtest.State {
	c := raidtest.NVMe(address, serial, 1600321314816)
	if _, err := c.CreateVolume(raidtest.NewVolume{Level: raid.Level0, Drives: []string{serial}}); err != nil {
		panic(err) // it is a constant
	}
	return &raidtest.State{Controllers: []*raidtest.Controller{c}}
}

func layout(sizes ...raid.VolumeSize) *raid.Layout {
	l := &raid.Layout{Controllers: []raid.ControllerLayout{{Unlisted: raid.UnlistedRemove}}}
	for i, size := range sizes {
		v := raid.Volume{Name: string(rune('a' + i)), Level: raid.Level0, Disks: raid.DiskChoice{Count: 1}, Size: size}
		if i > 0 {
			v.Disks = raid.DiskChoice{SameAs: "a"}
		}
		l.Controllers[0].Volumes = append(l.Controllers[0].Volumes, v)
	}
	return l
}

func driver(c *raidtest.Chassis) *nvmens.Driver {
	d := nvmens.New(nvmetool.Runner(c), "nvme")
	d.Patience = 50 * time.Millisecond
	return d
}

func TestTheDriverStandsTheSuite(t *testing.T) {
	for _, version := range []string{"1", "2"} {
		suite := raidtest.Suite{
			Make: func() *raidtest.State {
				s := machine()
				s.Controllers[0].Extra = map[string]string{"nvme-cli": version}
				return s
			},
			Layout: layout(100<<30, raid.Max), Then: layout(100<<30, 200<<30, raid.Max),
			New: func(_ *testing.T, c *raidtest.Chassis) raid.Driver { return driver(c) },
		}
		for _, c := range suite.Cases() {
			t.Run(version+" "+c.Name, func(t *testing.T) {
				t.Parallel() // each has machines of its own
				require.NoError(t, c.Run(t))
			})
		}
	}
}

func chassis(t *testing.T, s *raidtest.State) *raidtest.Chassis {
	t.Helper()
	c, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), s)
	require.NoError(t, err)
	return c
}

func inventory(t *testing.T, c *raidtest.Chassis) *raid.Inventory {
	t.Helper()
	inv, err := driver(c).Inventory(t.Context(), address)
	require.NoError(t, err)
	return inv
}

func apply(t *testing.T, c *raidtest.Chassis, l *raid.Layout) error {
	t.Helper()
	p, err := raid.NewPlan([]*raid.Inventory{inventory(t, c)}, l)
	require.NoError(t, err)
	g := raid.Guard{Machine: "SN1", Approval: &raid.Approval{Machine: "SN1", Plan: p.Digest(), Allow: p.Needs()},
		InUse: func(context.Context) ([]raid.Use, error) { return nil, nil }}
	return raid.Apply(t.Context(), driver(c), p, g, nil)
}

func TestTheEmulatedDriveCanDoWhatTheDriverSays(t *testing.T) {
	assert.Equal(t, machine().Controllers[0].Capabilities, inventory(t, chassis(t, machine())).Controller.Capabilities)
}

func TestADriveWithoutNamespaceManagementSaysSo(t *testing.T) {
	s := machine()
	s.Controllers[0].Capabilities = raid.Capabilities{Levels: []raid.LevelCapability{}}
	c := chassis(t, s)
	inv := inventory(t, c)
	assert.Equal(t, s.Controllers[0].Capabilities, inv.Controller.Capabilities)
	assert.Empty(t, raidtest.Disagree(s.Controllers[0].Inventory(), inv))

	plan := func(l *raid.Layout) (*raid.Plan, error) { return raid.NewPlan([]*raid.Inventory{inv}, l) }
	p, err := plan(layout(raid.Max))
	require.NoError(t, err)
	assert.True(t, p.Empty(), "what it has may well be what is wanted")
	_, err = plan(layout(100 << 30))
	assert.ErrorContains(t, err, "can neither make nor delete volumes")
	l := layout(100 << 30)
	l.Controllers[0].Unlisted = raid.UnlistedKeep
	_, err = plan(l)
	assert.ErrorContains(t, err, "cannot be had on this machine")
	l = layout()
	l.Controllers[0].Volumes = nil
	_, err = plan(l)
	assert.ErrorContains(t, err, "list it as it is, or let unlisted be keep")

	// The tool says the same, and the driver does not ask it.
	state, err := c.State()
	require.NoError(t, err)
	assert.Zero(t, state.Commands)
	text, exit, err := nvmetool.Run(t.Context(), c, []string{"delete-ns", "/dev/nvme0", "--namespace-id=1"})
	require.NoError(t, err)
	assert.Equal(t, 1, exit)
	assert.Contains(t, text, "INVALID_OPCODE")
}

func TestAnErasureIsOverWhenTheCommandIs(t *testing.T) {
	for _, how := range []raid.Initialization{raid.InitializeFast, raid.InitializeFull} {
		c := chassis(t, machine())
		l := layout(100<<30, raid.Max)
		l.Controllers[0].Volumes[1].Initialize = how
		require.NoError(t, apply(t, c, l))

		for _, kind := range []raidtest.FaultKind{raidtest.DoneExit1, raidtest.Slow} { // it says that it is done
			c = chassis(t, machine())
			require.NoError(t, c.Edit(func(s *raidtest.State) error {
				s.Faults = []raidtest.Fault{{Kind: kind, Op: string(raid.StepInitialize)}}
				return nil
			}))
			require.NoError(t, apply(t, c, l), kind)
		}
		// Nobody can tell whether the data is gone.
		for _, kind := range []raidtest.FaultKind{raidtest.HangAfter, raidtest.HangBefore, raidtest.Refuse,
			raidtest.FailExit0} {
			c = chassis(t, machine())
			require.NoError(t, c.Edit(func(s *raidtest.State) error {
				s.Faults = []raidtest.Fault{{Kind: kind, Op: string(raid.StepInitialize)}}
				return nil
			}))
			var step *raid.StepError
			require.ErrorAs(t, apply(t, c, l), &step, kind)
			assert.ErrorContains(t, step, "does not say that it is erased")
		}
	}
}

func TestANamespaceThatIsNotAttachedIsOffline(t *testing.T) {
	s := machine()
	s.Controllers[0].Volumes[0].Stopped = true
	inv := inventory(t, chassis(t, s))
	assert.Empty(t, raidtest.Disagree(s.Controllers[0].Inventory(), inv))
	assert.Equal(t, raid.VolumeOffline, inv.Volumes[0].State.Is)
	assert.Empty(t, inv.Volumes[0].Path)
}

func TestTheExecutableFindsItsChassisInTheEnvironment(t *testing.T) {
	c := chassis(t, machine())
	t.Setenv(raidtest.ChassisVariable, c.Path())
	var stdout, stderr bytes.Buffer
	identify := []string{"id-ctrl", "/dev/nvme0", "--output-format=json"}
	require.Zero(t, nvmetool.Main(t.Context(), identify, &stdout, &stderr))
	inv, err := nvmens.Parse(stdout.Bytes())
	require.NoError(t, err)
	assert.Equal(t, serial, inv.Controller.Serial)
	for _, args := range [][]string{{}, {"list", "--blind"}, {"id-ctrl"}, {"id-ctrl", "/dev/nvme1"},
		{"sanitize", "/dev/nvme0"}, {"delete-ns", "/dev/nvme0", "--namespace-id=x"}, {"delete-ns", "/dev/nvme0", "--namespace-id=7"},
		{"attach-ns", "/dev/nvme0", "--namespace-id=1", "--controllers=6"},
		{"create-ns", "/dev/nvme0", "--nsze=8", "--ncap=8", "--block-size=4096"},
		{"create-ns", "/dev/nvme0", "--nsze=8", "--ncap=8", "--block-size=512"}} {
		stdout.Reset()
		assert.Equal(t, 1, nvmetool.Main(t.Context(), args, &stdout, &stderr), args)
		assert.NotEmpty(t, stdout.String(), args)
	}
	t.Setenv(raidtest.ChassisVariable, c.Path()+".missing")
	assert.Equal(t, 2, nvmetool.Main(t.Context(), []string{"list"}, &stdout, &stderr))
}

// TestEmulatorPrintsWhatTheToolPrinted holds it against captures of one drive, up to the states of power.
func TestEmulatorPrintsWhatTheToolPrinted(t *testing.T) {
	for name, initialize := range map[string][]raid.Initialization{
		"ipa_id_ctrl_crypto.json":   {raid.InitializeNone, raid.InitializeFast, raid.InitializeFull},
		"ipa_id_ctrl_noformat.json": nil,
	} {
		t.Run(name, func(t *testing.T) {
			want, wantPower := idCtrl(t, raidtest.Capture(t, filepath.Join("nvme", name)))
			d := raidtest.NVMe(address, "1951B3444502", 256060514304)
			d.Model, d.Firmware = "WDC PC SN730 SDBQNTY-256G-1001", "11170101"
			d.Capabilities = raid.Capabilities{Initialize: initialize}
			_, err := d.CreateVolume(raidtest.NewVolume{})
			require.Error(t, err, "it cannot make namespaces")
			d.Volumes = []*raidtest.Volume{{Number: 1, Bytes: 256060514304, Level: raid.Level0, Members: []string{d.Serial}}}
			// What has to do with nothing that is emulated.
			d.Extra = map[string]string{"vid": "5559", "ssvid": "5559", "ieee": "6980", "mdts": "7", "cntlid": "8215",
				"ver": "66304", "oaes": "512", "ctratt": "2", "acl": "4", "aerl": "7", "frmw": "20", "lpa": "30", "elpe": "255",
				"npss": "4", "apsta": "1", "wctemp": "357", "cctemp": "361", "edstt": "26", "hctma": "1", "mntmt": "273",
				"mxtmt": "357", "sanicap": "1610612739", "oncs": "95", "vwc": "7"}
			if initialize == nil {
				d.Extra["oacs"] = "0"
			}
			c := chassis(t, &raidtest.State{Controllers: []*raidtest.Controller{d}})
			text, exit, err := nvmetool.Run(t.Context(), c, []string{"id-ctrl", "/dev/nvme0", "--output-format=json"})
			require.NoError(t, err)
			require.Zero(t, exit)
			got, gotPower := idCtrl(t, []byte(text))
			assert.Equal(t, want, got)
			assert.Equal(t, wantPower, gotPower)
		})
	}
}

var (
	blanks = regexp.MustCompile(`[ \t\n]+`)
	name   = regexp.MustCompile(`"subnqn" : "[^"]*"`)
)

// idCtrl are the lines of an output without blanks, and the names in a state of power.
func idCtrl(t *testing.T, text []byte) (lines []string, power []string) {
	t.Helper()
	head, tail, ok := strings.Cut(string(text), `"psds"`)
	require.True(t, ok)
	_, state, ok := strings.Cut(tail, "{")
	require.True(t, ok)
	state, _, _ = strings.Cut(state, "}")
	for line := range strings.Lines(state) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			power = append(power, strings.TrimSpace(name))
		}
	}
	head = name.ReplaceAllString(head, `"subnqn" : ""`) // which has a serial number in it
	return strings.Split(blanks.ReplaceAllString(head, ""), ","), power
}
