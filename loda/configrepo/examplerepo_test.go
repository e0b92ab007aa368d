package configrepo

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/strictyaml"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/scripts/need"
)

var update = flag.Bool("update", false, "write the golden files anew")

const exampleRepo = "../../examples/config-repo"

// exampleSubjects are machines for the example's profiles: what the inventory says of them. Their facts are in
// testdata.
var exampleSubjects = map[string]Subject{
	"dell-r740": {Site: "fra", Machine: &inventory.Machine{Serial: "7XK4LN3", Name: "db1.fra.example.org", Rack: "R12",
		MACs: []inventory.MAC{"b0:7b:25:aa:00:10"}, Labels: map[string]string{"asset_tag": "A-1001"}}},
	"hpe-dl380": {Site: "fra", Machine: &inventory.Machine{Serial: "CZJ0430XYZ", Name: "app7.fra.example.org",
		Address: netip.MustParseAddr("10.10.0.77")}},
	"whitebox-storage": {Site: "lab", Machine: &inventory.Machine{Serial: "S318419X9C01234"}},
	"whitebox-suse": {Site: "fra", Machine: &inventory.Machine{Serial: "S318419X9C05678",
		Labels: map[string]string{"os": "suse"}}},
	"lab": {Site: "lab", Machine: &inventory.Machine{Serial: "LAB-LAB-M1", Name: "m1",
		Labels: map[string]string{"asset_tag": "none & no: \"one\"", "ntp_servers": "10.77.0.1, 10.77.0.2"}}},
}

func renderExample(t *testing.T, name string) *loda.Profile {
	t.Helper()
	repo, errs := Load(os.DirFS(exampleRepo))
	require.Empty(t, errs)
	repo.Revision = "0123456789abcdef0123456789abcdef01234567"
	s := exampleSubjects[name]
	s.Facts = exampleFacts(t, name)
	p, err := repo.Render(s)
	require.NoError(t, err)
	require.Equal(t, name, p.Name)
	return p
}

func TestExampleRepositoryLoadsWithoutAWord(t *testing.T) {
	root, err := os.OpenRoot(exampleRepo)
	require.NoError(t, err)
	defer root.Close()
	repo, errs := Load(root.FS())
	require.Empty(t, errs)
	require.Empty(t, repo.Warnings())
	for _, p := range repo.Profiles() {
		require.Contains(t, exampleSubjects, p.Name, "a profile without a golden file")
	}
}

func TestExampleRepositoryRendersWhatItAlwaysDid(t *testing.T) {
	for name := range exampleSubjects {
		t.Run(name, func(t *testing.T) {
			p := renderExample(t, name)
			var b strings.Builder
			if p.Installer != nil {
				for _, answer := range keys(p.Installer.Answers) {
					fmt.Fprintf(&b, "-- answers/%s --\n%s", answer, p.Installer.Answers[answer])
				}
				p.Installer.Answers = nil
			}
			if p.UserData != "" {
				fmt.Fprintf(&b, "-- user-data --\n%s", p.UserData)
				p.UserData = ""
			}
			p.Model = nil // it is the file as well; TestExampleModelsAreThoseOfTheirMachines
			for i := range p.Steps {
				p.Steps[i].Script = "" // it is the file, byte by byte
			}
			rest, err := json.MarshalIndent(p, "", "  ")
			require.NoError(t, err)
			fmt.Fprintf(&b, "-- profile.json --\n%s\n", rest)
			golden := "testdata/example/" + name + ".golden"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), b.String(), "if it is meant, run this test with -update")
		})
	}
}

// filled is a text as it leaves for the machine.
func filled(t *testing.T, text string) string {
	t.Helper()
	out, missing := loda.Fill(text, func(l loda.Late) (string, bool) {
		v, ok := map[loda.Late]string{loda.LateServer: "http://10.77.0.1:8080",
			loda.LateAnswers: "http://10.77.0.1:8080/answers/abc",
			loda.LateReport:  "http://10.77.0.1:8080/report/abc", loda.LateMAC: "52:54:00:00:00:01",
			loda.LateSecret("admin_password_hash"): "$6$abc$0123456789./abcdefABCDEF"}[l]
		return v, ok
	})
	require.Empty(t, missing)
	return out
}

// judge runs a distribution's own validator on a text; where there is a %, the name of the file goes.
func judge(t *testing.T, text string, command ...string) (string, error) {
	t.Helper()
	need.Command(t, command[0])
	file := filepath.Join(t.TempDir(), "answers")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	for i := range command {
		command[i] = strings.ReplaceAll(command[i], "%", file)
	}
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	return string(out), err
}

func TestDebconfAcceptsThePreseed(t *testing.T) {
	preseed := filled(t, renderExample(t, "dell-r740").Installer.Answers["preseed.cfg"])
	out, err := judge(t, preseed, "debconf-set-selections", "-c", "%")
	require.NoError(t, err, out)
	out, err = judge(t, preseed+"d-i nonsense\n", "debconf-set-selections", "-c", "%")
	require.Error(t, err, "it would see a mistake: %s", out)
}

func TestXmllintAcceptsTheAutoYaSTProfile(t *testing.T) {
	profile := filled(t, renderExample(t, "whitebox-suse").Installer.Answers["autoinst.xml"])
	out, err := judge(t, profile, "xmllint", "--noout", "%")
	require.NoError(t, err, out)
	_, err = judge(t, strings.Replace(profile, "</user>", "", 1), "xmllint", "--noout", "%")
	require.Error(t, err, "it would see a mistake")
}

func TestCloudInitAcceptsUserDataAndAutoinstall(t *testing.T) {
	for what, text := range map[string]string{
		"user data":   renderExample(t, "lab").UserData,
		"autoinstall": renderExample(t, "whitebox-storage").Installer.Answers["user-data"],
	} {
		out, err := judge(t, filled(t, text), "cloud-init", "schema", "--config-file", "%")
		require.NoError(t, err, "%s: %s", what, out)
	}
	out, err := judge(t, "#cloud-config\nntp: [x]\n", "cloud-init", "schema", "--config-file", "%")
	require.Error(t, err, "it would see a mistake: %s", out)
}

// Nothing in Debian 12 checks a kickstart; the shell in it can be checked.
func TestShellAcceptsTheScripts(t *testing.T) {
	scripts := map[string]string{}
	for name := range exampleSubjects {
		p := renderExample(t, name)
		for _, s := range p.Steps {
			scripts[s.File] = s.Script
		}
		if p.Installer == nil {
			continue
		}
		for answer, text := range p.Installer.Answers {
			switch answer {
			case "first-boot.sh":
				scripts[name+"/"+answer] = filled(t, text)
			case "ks.cfg":
				for i, section := range strings.Split(filled(t, text), "\n%p")[1:] {
					if first, script, _ := strings.Cut(section, "\n"); !strings.HasPrefix(first, "ackages") {
						script, _, _ = strings.Cut(script, "\n%end")
						scripts[fmt.Sprintf("%s/%s %d", name, answer, i)] = script
					}
				}
			}
		}
	}
	require.Len(t, scripts, 8)
	for name, script := range scripts {
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		require.NotEmpty(t, strings.TrimSpace(script), name)
	}
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader("if true; then\n")
	require.Error(t, cmd.Run(), "it would see a mistake")
}

// What the README shows is what the loader takes.
func TestTheReadmeShowsWhatIsRead(t *testing.T) {
	text, err := os.ReadFile(exampleRepo + "/README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?ms)^```yml\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 8)
	for i, into := range []any{new(profileYAML), new(profileYAML), new(profileYAML), new(toolYAML), new(profileYAML), new(osYAML),
		new(osYAML), new(map[string]*Variable)} {
		require.Empty(t, strictyaml.Decode("README.md", []byte(blocks[i][1]), into))
	}
	for _, kind := range slices.Concat(variableTypes, installers, keys(folders)) {
		require.Contains(t, string(text), kind)
	}
	for _, v := range []any{profileYAML{}, stepYAML{}, osYAML{}, Variable{}, Conditions{}, hw.DiskRule{}} {
		for i := range reflect.TypeOf(v).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("yaml"), ",")
			require.Contains(t, string(text), name)
		}
	}
}

func exampleFacts(t *testing.T, name string) *hw.Facts {
	t.Helper()
	text, err := os.ReadFile("testdata/example/" + name + ".facts.json")
	require.NoError(t, err)
	facts, err := hw.Decode(text)
	require.NoError(t, err)
	return facts
}

// exampleMachines are the machines of a profile that have facts in testdata.
func exampleMachines(profile string) []string {
	if profile == "lab" { // `lodad lab up` makes them by turns
		return []string{"lab", "lab-uefi"}
	}
	return []string{profile}
}

func TestExampleModelsAreThoseOfTheirMachines(t *testing.T) {
	repo, errs := Load(os.DirFS(exampleRepo))
	require.Empty(t, errs)
	for _, p := range repo.Profiles() {
		require.NotNil(t, p.Model, p.Name)
		for _, machine := range exampleMachines(p.Name) {
			facts := exampleFacts(t, machine)
			require.Empty(t, p.Model.Compare(facts), machine)
			for _, other := range repo.Profiles() {
				if other.Name != p.Name {
					require.NotEmpty(t, other.Model.Compare(facts), "%s by the model of %s", machine, other.Name)
				}
			}
		}
	}
}

// without returns copies of the facts that lack one part each, by a name for the part. A model that does not look at a
// kind of part has none of that kind.
func without(f *hw.Facts, m *hw.Model) map[string]*hw.Facts {
	all := map[string]*hw.Facts{}
	lack := func(format string, name any, change func(*hw.Facts)) {
		lacking := *f
		change(&lacking)
		all[fmt.Sprintf(format, name)] = &lacking
	}
	for i, d := range f.Memory.DIMMs {
		if !d.Empty {
			lack("DIMM %s", d.Slot, func(f *hw.Facts) {
				f.Memory.DIMMs = slices.Clone(f.Memory.DIMMs)
				f.Memory.DIMMs[i] = hw.DIMM{Slot: d.Slot, Bank: d.Bank, Empty: true}
			})
		}
	}
	for i, c := range f.CPUs {
		lack("CPU %s", c.Socket, func(f *hw.Facts) {
			f.CPUs = slices.Clone(f.CPUs)
			f.CPUs[i] = hw.CPU{Socket: c.Socket, Empty: true}
		})
	}
	for i, d := range f.Disks {
		if d.Kind == hw.PhysicalDisk {
			lack("disk %s", d.Name, func(f *hw.Facts) { f.Disks = slices.Delete(slices.Clone(f.Disks), i, i+1) })
		}
	}
	for i, n := range f.NICs {
		lack("NIC %s", n.Name, func(f *hw.Facts) { f.NICs = slices.Delete(slices.Clone(f.NICs), i, i+1) })
	}
	for i, c := range f.Controllers {
		lack("controller %s", c.Address, func(f *hw.Facts) {
			f.Controllers = slices.Delete(slices.Clone(f.Controllers), i, i+1)
		})
	}
	if m.PSUs != nil {
		for i := range f.PSUs {
			lack("PSU %d", i, func(f *hw.Facts) { f.PSUs = slices.Delete(slices.Clone(f.PSUs), i, i+1) })
		}
	}
	return all
}

func TestExampleMachinesThatLackAnyPartAreNotInstalled(t *testing.T) {
	repo, errs := Load(os.DirFS(exampleRepo))
	require.Empty(t, errs)
	for _, p := range repo.Profiles() {
		for _, machine := range exampleMachines(p.Name) {
			lacking := without(exampleFacts(t, machine), p.Model)
			require.Greater(t, len(lacking), 5, machine)
			for part, facts := range lacking {
				differences := p.Model.Compare(facts)
				require.Len(t, differences, 1, "%s without %s: %v", machine, part, differences)
				require.Equal(t, hw.Fail, differences[0].Severity, "%s without %s: %s", machine, part, differences[0])
				require.Contains(t, differences[0].Text, "got no", "%s without %s", machine, part)
			}
		}
	}
}

// What the machines' facts show is what the layouts make: the boot volume is the disk that the rule chooses.
func TestExampleLayoutsMakeTheDiskThatTheRuleChooses(t *testing.T) {
	repo, errs := Load(os.DirFS(exampleRepo))
	require.Empty(t, errs)
	layouts := map[string]bool{}
	for _, p := range repo.Profiles() {
		facts := exampleFacts(t, p.Name)
		root, err := p.Disk.Choose(facts.Disks)
		require.NoError(t, err, p.Name)
		if p.RAID == nil {
			continue
		}
		layouts[p.Name] = true
		cards := 0
		for _, c := range facts.Controllers {
			if r, ok := raid.Recognize(c); ok && r.Kind == raid.RAID {
				cards++
			}
		}
		require.Len(t, p.RAID.Controllers, 1, p.Name)
		layout := p.RAID.Controllers[0]
		if layout.Controller.MD {
			require.Zero(t, cards, p.Name)
			require.Len(t, layout.Volumes, 1, p.Name)
			require.False(t, fits(layout.Volumes[0].Disks, root), "%s: the layout takes %s", p.Name, root.Name)
			n := 0
			for i := range facts.Disks {
				if fits(layout.Volumes[0].Disks, &facts.Disks[i]) {
					n++
				}
			}
			require.Equal(t, layout.Volumes[0].Disks.Count, n, p.Name)
			continue
		}
		require.Equal(t, 1, cards, p.Name)
		require.Equal(t, hw.RAIDVolume, root.Kind, p.Name)
		require.Len(t, facts.Disks, len(layout.Volumes), p.Name)
		boot := slices.IndexFunc(layout.Volumes, func(v raid.Volume) bool { return v.Boot })
		require.Same(t, &facts.Disks[boot], root, p.Name)
		size := float64(layout.Volumes[boot].Size)
		if layout.Volumes[boot].Size == raid.Max { // of a mirror: one disk
			require.Equal(t, raid.Level1, layout.Volumes[boot].Level, p.Name)
			size = float64(layout.Volumes[boot].Disks.Size.Max)
		}
		require.InEpsilon(t, size, float64(root.Bytes), 0.03, p.Name)
	}
	require.Equal(t, map[string]bool{"dell-r740": true, "hpe-dl380": true, "whitebox-storage": true}, layouts)
}

// fits says whether a disk meets the conditions of a choice by medium and size.
func fits(c raid.DiskChoice, d *hw.Disk) bool {
	return d.Medium == c.Medium && hw.Size(d.Bytes) >= c.Size.Min && hw.Size(d.Bytes) <= c.Size.Max
}
