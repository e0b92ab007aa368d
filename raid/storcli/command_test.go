package storcli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
)

// script answers questions with the files of a directory of testdata, and commands that write as a test says.
type script struct {
	t       *testing.T
	dir     string
	write   func(line string) (string, error)
	written []string
	asked   []string
}

const head7 = "CLI Version = 007.2408.0000.0000 Nov 15, 2022\nOperating system = Linux 6.1\nController = 0\n"

func (s *script) Run(_ context.Context, argv ...string) (*raid.Output, error) {
	line := strings.Join(argv[1:], " ")
	line = strings.TrimSuffix(strings.TrimSuffix(line, " nolog"), " J")
	if s.dir == "generation1" && line != strings.Join(argv[1:], " ") {
		// What 1.x says to words that it does not know, with 0.
		return &raid.Output{Stdout: []byte("syntax error, unexpected TOKEN_STRING, expecting $end\n")}, nil
	}
	where, question, asks := strings.Cut(line, " show")
	if !asks {
		s.written = append(s.written, line)
		out, err := s.write(line)
		return &raid.Output{Stdout: []byte(out)}, err
	}
	s.asked = append(s.asked, line)
	name := strings.ReplaceAll(strings.Trim(strings.ReplaceAll(where, "call", "c0")+" show"+question, "/"), "/", "_")
	name = filepath.Join("testdata", s.dir, strings.ReplaceAll(name, " ", "_"))
	for _, ext := range []string{".json", ".txt"} {
		if out, err := os.ReadFile(name + ext); err == nil {
			return &raid.Output{Stdout: out}, nil
		}
	}
	return &raid.Output{Stdout: []byte(head7 + "Status = Failure\nDescription = Un-supported command\n"), ExitCode: 4}, nil
}

func open(t *testing.T, dir, tool string) (*script, *Driver, *raid.Inventory) {
	s := &script{t: t, dir: dir, write: func(string) (string, error) {
		return head7 + "Status = Success\nDescription = None\n", nil
	}}
	d := New(s, tool)
	controllers, err := d.Probe(t.Context())
	require.NoError(t, err)
	require.Len(t, controllers, 1)
	inv, err := d.Inventory(t.Context(), controllers[0].ID)
	require.NoError(t, err)
	return s, d, inv
}

func refs(t *testing.T, inv *raid.Inventory, ids ...raid.DiskID) []raid.DiskRef {
	var all []raid.DiskRef
	for _, id := range ids {
		for _, d := range inv.Disks {
			if d.ID == id {
				all = append(all, raid.DiskRef{ID: d.ID, Location: d.Location, DiskIdentity: d.Identity()})
			}
		}
	}
	require.Len(t, all, len(ids))
	return all
}

func TestEachStepIsSaidInTheGrammarOfTheGeneration(t *testing.T) {
	type said struct {
		step raid.Step
		want []string
	}
	policies := raid.Policies{Read: raid.ReadAhead, Write: raid.WriteBack, IO: raid.IODirect,
		DiskCache: raid.DiskCacheDisable}
	for _, c := range []struct {
		dir, tool, name, end string
		says                 func(inv *raid.Inventory) []said
		cannot               []raid.Step
	}{
		{"generation7", "/opt/MegaRAID/perccli/perccli64", "perccli", " J nolog", func(inv *raid.Inventory) []said {
			os := &raid.VolumeRef{ID: "239", WWN: inv.Volumes[0].WWN}
			return []said{
				{raid.Step{Kind: raid.StepMode, Mode: raid.ModeJBOD}, []string{"/c0 set personality=JBOD"}},
				{raid.Step{Kind: raid.StepDiscardCache}, []string{"/c0/v12 delete preservedcache force"}},
				{raid.Step{Kind: raid.StepClearForeign}, []string{"/c0/fall delete"}},
				{raid.Step{Kind: raid.StepImportForeign}, []string{"/c0/fall import"}},
				{raid.Step{Kind: raid.StepDeleteVolume, Volume: os}, []string{"/c0/v239 delete force"}},
				{raid.Step{Kind: raid.StepBoot, Volume: os}, []string{"/c0/v239 set bootdrive=on"}},
				{raid.Step{Kind: raid.StepBoot, Volume: &raid.VolumeRef{Name: "new"}}, []string{"/c0/vNEW set bootdrive=on"}},
				{raid.Step{Kind: raid.StepInitialize, Volume: os, Initialize: raid.InitializeFull},
					[]string{"/c0/v239 start init full force"}},
				{raid.Step{Kind: raid.StepPolicies, Volume: os, Policies: policies}, []string{"/c0/v239 set wrcache=wb",
					"/c0/v239 set rdcache=ra", "/c0/v239 set iopolicy=direct", "/c0/v239 set pdcache=off"}},
				{raid.Step{Kind: raid.StepRemoveSpare, Disks: refs(t, inv, "252:5")},
					[]string{"/c0/e252/s5 delete hotsparedrive"}},
				{raid.Step{Kind: raid.StepAddSpare, Disks: refs(t, inv, "252:10")}, []string{"/c0/e252/s10 add hotsparedrive"}},
				// Two volumes of one group, which is named once.
				{raid.Step{Kind: raid.StepAddSpare, Disks: refs(t, inv, "252:10"), SpareFor: []raid.VolumeRef{{Name: "data"},
					{Name: "logs"}, {Name: "os"}}}, []string{"/c0/e252/s10 add hotsparedrive DGs=1,0"}},
				{raid.Step{Kind: raid.StepReady, Disks: refs(t, inv, "252:7", "252:9", "252:10")},
					[]string{"/c0/e252/s7 set good force", "/c0/e252/s9 set good"}},
				{raid.Step{Kind: raid.StepJBOD, Disks: refs(t, inv, "252:7", "252:10")}, []string{"/c0/e252/s10 set jbod"}},
				{raid.Step{Kind: raid.StepCreateVolume, Disks: refs(t, inv, "252:10", "252:9"), Create: &raid.NewVolume{
					Name: "new", Level: raid.Level1, Bytes: 100<<30 + 5, Policies: policies, Strip: 64 << 10,
					Initialize: raid.InitializeFast}}, []string{"/c0 add vd r1 size=102400MB name=new drives=252:10,252:9 " +
					"pdcache=off wb ra direct Strip=64", "/c0/vNEW start init force"}},
				{raid.Step{Kind: raid.StepCreateVolume, Disks: refs(t, inv, "252:10", "252:9", "252:8", "252:7", "252:6", "252:5"),
					Create: &raid.NewVolume{Level: raid.Level10, Spans: 3}},
					[]string{"/c0 add vd r10 drives=252:10,252:9,252:8,252:7,252:6,252:5 PDperArray=2"}},
			}
		}, []raid.Step{{Kind: "format"}, {Kind: raid.StepDeleteVolume}, {Kind: raid.StepMode, Mode: raid.ModeMixed},
			{Kind: raid.StepDeleteVolume, Volume: &raid.VolumeRef{ID: "239", WWN: "naa.6000"}},
			{Kind: raid.StepPolicies, Volume: &raid.VolumeRef{Name: "os"}, Policies: raid.Policies{Read: raid.ReadAdaptive}}}},
		{"generation1", "storcli64", "storcli", "", func(inv *raid.Inventory) []said {
			return []said{
				{raid.Step{Kind: raid.StepCreateVolume, Disks: refs(t, inv, "64:1"), Create: &raid.NewVolume{Name: "a",
					Level: raid.Level0, Policies: raid.Policies{Write: raid.WriteAlwaysBack}}},
					[]string{"/c0 add vd type=raid0 size=all name=a drives=64:1 awb"}},
				{raid.Step{Kind: raid.StepDeleteVolume, Volume: &raid.VolumeRef{ID: "0"}}, []string{"/c0/v0 delete force"}},
				{raid.Step{Kind: raid.StepJBOD, Disks: refs(t, inv, "64:1")},
					[]string{"/c0 set jbod=on", "/c0/e64/s1 set jbod"}},
			}
		}, []raid.Step{{Kind: raid.StepMode, Mode: raid.ModeHBA}}},
		{"generation8", "/opt/perccli2/perccli2", "perccli2", " J nolog", func(inv *raid.Inventory) []said {
			return []said{
				{raid.Step{Kind: raid.StepReady, Disks: refs(t, inv, "306:4")}, []string{"/c0/e306/s4 set uconf"}},
				{raid.Step{Kind: raid.StepJBOD, Disks: refs(t, inv, "306:10")}, []string{"/c0/e306/s10 set jbod"}},
				{raid.Step{Kind: raid.StepCreateVolume, Disks: refs(t, inv, "306:10"), Create: &raid.NewVolume{Name: "a",
					Level: raid.Level0, Policies: raid.Policies{Write: raid.WriteThrough, Read: raid.ReadNone}}},
					[]string{"/c0 add vd r0 name=a drives=306:10 wt nora"}},
			}
		}, []raid.Step{{Kind: raid.StepMode, Mode: raid.ModeHBA}, {Kind: raid.StepBoot, Volume: &raid.VolumeRef{Name: "os"}},
			{Kind: raid.StepCreateVolume, Create: &raid.NewVolume{Level: raid.Level0, Bytes: 1 << 30}},
			{Kind: raid.StepPolicies, Volume: &raid.VolumeRef{Name: "os"}, Policies: raid.Policies{IO: raid.IODirect}}}},
	} {
		t.Run(c.dir, func(t *testing.T) {
			s, d, inv := open(t, c.dir, c.tool)
			require.Equal(t, c.name, d.Name())
			require.Equal(t, c.name, inv.Controller.Driver)
			for _, said := range c.says(inv) {
				lines, err := d.Commands(inv, said.step)
				require.NoError(t, err, said.want)
				var got []string
				for _, l := range lines {
					require.Equal(t, c.tool, l[0])
					line := strings.Join(l[1:], " ")
					require.True(t, strings.HasSuffix(line, c.end), line)
					got = append(got, strings.TrimSuffix(line, c.end))
				}
				require.Equal(t, said.want, got)
			}
			for _, step := range c.cannot {
				_, err := d.Commands(inv, step)
				require.Error(t, err, step)
			}
			require.Empty(t, s.written, "a dry run writes nothing")
		})
	}
}

func TestWhatTheGenerationCannotIsNotClaimed(t *testing.T) {
	_, _, one := open(t, "generation1", "storcli64")
	require.Empty(t, one.Controller.Capabilities.Modes)
	_, _, eight := open(t, "generation8", "storcli2")
	caps := eight.Controller.Capabilities
	require.Empty(t, caps.Modes)
	require.Empty(t, caps.IO)
	require.False(t, caps.BootVolume)
	require.False(t, caps.PartialVolumes)
}

func TestNamesThatTheToolWouldTakeForSomethingElseAreRefused(t *testing.T) {
	_, d, inv := open(t, "generation7", "storcli64")
	for _, name := range []string{"a,b", "a b", "drives=252:0", "sixteencharacters", "ü", "a\nb"} {
		_, err := d.Commands(inv, raid.Step{Kind: raid.StepCreateVolume, Disks: refs(t, inv, "252:10"),
			Create: &raid.NewVolume{Name: name, Level: raid.Level0}})
		require.Error(t, err, name)
	}
}

func TestAnotherDriveInTheSlotIsNotTouched(t *testing.T) {
	s, d, inv := open(t, "generation7", "storcli64")
	ref := refs(t, inv, "252:9")
	ref[0].Serial = "WHOEVER"
	err := d.Exec(t.Context(), inv, raid.Step{Kind: raid.StepReady, Disks: ref}, nil)
	require.ErrorContains(t, err, "drive 252:9 is another one now")
	ref = refs(t, inv, "252:9")
	ref[0].ID = "252:77"
	err = d.Exec(t.Context(), inv, raid.Step{Kind: raid.StepReady, Disks: ref}, nil)
	require.ErrorContains(t, err, "not there any more")
	require.Empty(t, s.written)
}

func TestAFailureOfOneTargetAmongSuccessesIsAFailure(t *testing.T) {
	s, d, inv := open(t, "generation7", "storcli64")
	s.write = func(string) (string, error) {
		return `{"Controllers":[{"Command Status":{"Controller":0,"Status":"Success","Description":"None",` +
			`"Detailed Status":[{"VD":239,"Property":"wrCache","Value":"WT","Status":"Failure",` +
			`"ErrCd":3,"ErrMsg":"not now"}]}}]}`, nil
	}
	step := raid.Step{Kind: raid.StepPolicies, Volume: &raid.VolumeRef{Name: "os"}, Policies: raid.Policies{
		Write: raid.WriteThrough}}
	require.ErrorContains(t, d.Exec(t.Context(), inv, step, nil), "VD 239: not now (3)")
	require.Len(t, s.written, 1)
	// What it says does not matter where what was asked for is there.
	step.Policies.Write = raid.WriteBack
	require.NoError(t, d.Exec(t.Context(), inv, step, nil))
	require.Len(t, s.written, 2, "and nothing is said twice")
}

func TestAToolThatDoesNotAnswerIsToldAndTheStateIsRead(t *testing.T) {
	s, d, inv := open(t, "generation7", "storcli64")
	s.write = func(string) (string, error) { return "", errors.New("signal: killed") }
	before := len(s.asked)
	err := d.Exec(t.Context(), inv, raid.Step{Kind: raid.StepDeleteVolume, Volume: &raid.VolumeRef{Name: "os"}}, nil)
	require.ErrorContains(t, err, "signal: killed")
	require.Len(t, s.written, 1)
	require.Greater(t, len(s.asked)-before, 10, "read before and after")
}

func TestNothingIsWrittenOnceTheContextHasEnded(t *testing.T) {
	s, d, inv := open(t, "generation7", "storcli64")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, d.Exec(ctx, inv, raid.Step{Kind: raid.StepClearForeign}, nil), context.Canceled)
	require.Empty(t, s.written)
}
