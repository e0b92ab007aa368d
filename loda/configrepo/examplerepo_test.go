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
	"github.com/project-loda/loda/scripts/need"
)

var update = flag.Bool("update", false, "write the golden files anew")

const exampleRepo = "../../examples/config-repo"

// exampleSubjects are machines for the example's profiles: what the inventory says of them. Their facts are in testdata.
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
	text, err := os.ReadFile("testdata/example/" + name + ".facts.json")
	require.NoError(t, err)
	s := exampleSubjects[name]
	s.Facts, err = hw.Decode(text)
	require.NoError(t, err)
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
	require.Len(t, blocks, 5)
	for i, into := range []any{new(profileYAML), new(profileYAML), new(osYAML), new(osYAML), new(map[string]*Variable)} {
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

func TestExampleModelsAreThoseOfTheirMachines(t *testing.T) {
	repo, errs := Load(os.DirFS(exampleRepo))
	require.Empty(t, errs)
	models := 0
	for _, p := range repo.Profiles() {
		if p.Model == nil {
			continue
		}
		models++
		text, err := os.ReadFile("testdata/example/" + p.Name + ".facts.json")
		require.NoError(t, err)
		facts, err := hw.Decode(text)
		require.NoError(t, err)
		require.Empty(t, p.Model.Compare(facts), p.Name)
		facts.Memory.DIMMs[3] = hw.DIMM{Slot: facts.Memory.DIMMs[3].Slot, Empty: true}
		require.NotEmpty(t, p.Model.Compare(facts), "%s without one of its modules", p.Name)
	}
	require.Positive(t, models)
}
