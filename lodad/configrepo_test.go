package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/gitsource/gitsourcetest"
	"github.com/project-loda/loda/scripts/need"
)

// team is a config repository with two profiles.
var team = map[string]string{
	"profiles/web.yaml": `match: {vendor: Acme, product: Web*}
os: debian
disk: {prefer: smallest}
steps:
  - name: greet
    script: scripts/greet.sh
    timeout: 1m
    env: {WHO: "{{ .machine.hostname }}", BMC: "{{ .vars.bmc_password }}", ROOM: "{{ .vars.room }}"}
`,
	"profiles/db.yaml": "match: {vendor: Acme, product: DB*}\nos: debian\n",
	"os/debian.yaml":   "kind: image\nimage: debian-12\nsha256: " + strings.Repeat("ab", 32) + "\n",
	"scripts/greet.sh": "echo \"hello $WHO\"\n\techo 'behind a tab'\n",
	"vars/site.yaml": "room: {type: string, description: of the rack, default: unknown}\n" +
		"bmc_password: {type: secret, description: of all BMCs}\n",
	"sites/fra.yaml": "vars: {room: R1}\n",
}

// changed is team with other files; an empty text leaves one out.
func changed(files map[string]string) map[string]string {
	all := maps.Clone(team)
	maps.Copy(all, files)
	maps.DeleteFunc(all, func(_, text string) bool { return text == "" })
	return all
}

// directory writes files below a new directory.
func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

// follow makes the office of a team whose profiles are in a repository. It is site fra.
func (o *office) follow(origin *gitsourcetest.Origin) *office {
	o.t.Helper()
	o.config.Site, o.config.Profiles = "fra", nil
	o.config.Repository = repositoryConfig{URL: origin.Dir, Poll: 1 << 40}
	return o.rewrite()
}

// rewrite writes lodad.yaml anew.
func (o *office) rewrite() *office {
	o.t.Helper()
	text, err := yaml.Marshal(o.config)
	require.NoError(o.t, err)
	require.NoError(o.t, os.WriteFile(o.file, text, 0o600))
	return o
}

// server is what a machine of the vendor Acme is made of.
func server(serial inventory.Serial, product string) *hw.Facts {
	no := false
	return &hw.Facts{Version: hw.Version, System: hw.System{Serial: string(serial), Vendor: "Acme", Product: product},
		Disks: []hw.Disk{{Name: "sda", Kind: hw.PhysicalDisk, Model: "Fast 400", Serial: "D-" + string(serial),
			Path: "pci-0000:00:04.0", Bytes: 400e9, Removable: &no, ReadOnly: &no}}}
}

// rack imports machines by serial number, each with its product; one without a product has not netbooted yet.
func (o *office) rack(products map[inventory.Serial]string) {
	o.t.Helper()
	list := "serial\n"
	for serial := range products {
		list += string(serial) + "\n"
	}
	o.must("machine", "import", o.csv(list))
	for serial, product := range products {
		if product != "" {
			o.report(server(serial, product))
		}
	}
}

// report keeps facts as the agent's report would.
func (o *office) report(facts *hw.Facts) {
	o.t.Helper()
	doc, err := json.Marshal(facts)
	require.NoError(o.t, err)
	_, err = o.store.UpdateMachine(o.t.Context(), inventory.Serial(facts.System.Serial),
		func(m *inventory.Machine) error {
			m.Facts, m.Vendor, m.Product = doc, facts.System.Vendor, facts.System.Product
			return nil
		})
	require.NoError(o.t, err)
}

// document writes facts to a file.
func document(t *testing.T, facts *hw.Facts) string {
	t.Helper()
	doc, err := json.Marshal(facts)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "facts.json")
	require.NoError(t, os.WriteFile(path, doc, 0o600))
	return path
}

// fails runs a command that fails with a status, and returns what it says about it.
func (o *office) fails(want int, args ...string) string {
	o.t.Helper()
	status, out, err := o.lodad(args...)
	require.Equal(o.t, want, status, "%v: %s%s", args, out, err)
	require.Empty(o.t, out, args)
	return err
}

func decoded[T any](t *testing.T, text string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&v), text)
	return v
}

type checked struct {
	Profiles         int
	Errors, Warnings []struct {
		File, Path, Message string
		Line, Column        int
	}
}

func TestConfigCheckNamesEveryMistakeWithItsPlace(t *testing.T) {
	status, out, err := lodad(t.Context(), "config", "check", "../examples/config-repo")
	require.Zero(t, status, out+err)
	require.Contains(t, out, "fine: 5 profiles")
	status, out, _ = lodad(t.Context(), "config", "check", "../examples/config-repo", "-o", "json")
	require.Zero(t, status)
	require.Equal(t, 5, decoded[checked](t, out).Profiles)
	require.Contains(t, out, `"errors": []`, "a list, also an empty one")

	dir := directory(t, changed(map[string]string{
		"profiles/web.yaml": strings.Replace(team["profiles/web.yaml"], "prefer: smallest", "prefre: smallest", 1),
		"profiles/db.yaml":  "match: {vendor: Acme, product: DB*}\nos: debain\n",
		"os/unused.yaml":    team["os/debian.yaml"],
		"scripts/lfs.sh":    "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
	}))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "scripts", "leaves.sh")))
	status, out, err = lodad(t.Context(), "config", "check", dir)
	require.Equal(t, 1, status)
	require.Empty(t, err, "everything is said already")
	for _, want := range []string{
		"profiles/db.yaml:2:5: os: ", "did you mean debian?",
		"profiles/web.yaml:3:8: disk.prefre: unknown key; did you mean prefer?",
		"scripts/lfs.sh:1:1: is a pointer of Git LFS", "scripts/leaves.sh: ", "\n4 mistakes\n",
	} {
		require.Contains(t, out, want)
	}
	status, out, _ = lodad(t.Context(), "config", "check", dir, "-o", "json")
	require.Equal(t, 1, status)
	result := decoded[checked](t, out)
	require.Len(t, result.Errors, 4)
	require.Equal(t, "profiles/db.yaml", result.Errors[0].File)
	require.Equal(t, 2, result.Errors[0].Line)
	require.Equal(t, 5, result.Errors[0].Column)

	dir = directory(t, changed(map[string]string{"os/unused.yaml": team["os/debian.yaml"]}))
	status, out, _ = lodad(t.Context(), "config", "check", dir)
	require.Zero(t, status, "a warning is no mistake")
	require.Regexp(t, `(?m)^warning: os/unused\.yaml`, out)
	require.Contains(t, out, "fine: 2 profiles")

	status, out, _ = lodad(t.Context(), "config", "check", t.TempDir())
	require.Equal(t, 1, status)
	require.Contains(t, out, "has no profile")
	status, _, err = lodad(t.Context(), "config", "check", filepath.Join(t.TempDir(), "nowhere"))
	require.Equal(t, 1, status)
	require.Contains(t, err, "nowhere")
	status, _, _ = lodad(t.Context(), "config", "check", "a", "b")
	require.Equal(t, 2, status)
}

func TestRenderingOfTheServerIsThatOfTheWorkTreeButForTheCommit(t *testing.T) {
	origin := gitsourcetest.New(t, team)
	o := newOffice(t).follow(origin).open()
	old := decoded[api.Repository](t, o.must("config", "sync", "-o", "json")).Commit.Hash
	o.rack(map[inventory.Serial]string{"SN-0001": "Web 1", "SN-0003": "DB 1"})
	commit := origin.Push(map[string]string{"profiles/db.yaml": team["profiles/db.yaml"] + "boot: kexec\n"})
	o.must("config", "sync")

	theirs := o.must("config", "render", "--machine", "SN-0001")
	require.Contains(t, theirs, "\ncommit "+commit+"\n")
	require.Contains(t, theirs, "run step 1 of 1, greet (/bin/sh")
	require.Contains(t, theirs, "D-SN-0001")
	ours := o.must("config", "render", origin.Dir, "--machine", "sn-0001")
	require.Equal(t, strings.Replace(theirs, "commit "+commit+"\n", "", 1), ours)
	require.Equal(t, ours, o.must("config", "render", origin.Dir, "--facts", document(t, server("SN-0001", "Web 1")),
		"--site", "fra"),
		"the same for facts")

	a := decoded[loda.Rendering](t, o.must("config", "render", "--machine", "SN-0001", "-o", "json"))
	b := decoded[loda.Rendering](t, o.must("config", "render", origin.Dir, "--machine", "SN-0001", "-o", "json"))
	require.Equal(t, commit, a.Revision)
	a.Revision = ""
	require.Equal(t, a, b)

	require.Equal(t, team["scripts/greet.sh"], o.must("config", "render", "--machine", "SN-0001", "--file",
		"steps/1-greet"), "to the byte")
	require.Equal(t, "BMC=@@loda.secret:bmc_password@@\nROOM=R1\nWHO=sn-0001\n",
		o.must("config", "render", "--machine", "SN-0001", "--file", "steps/1-greet.env"))
	require.Contains(t, o.fails(1, "config", "render", "--machine", "SN-0001", "--file", "steps/2"),
		"machine SN-0001 gets no file steps/2; it gets boot.ipxe, steps/1-greet, ")

	// An older commit is rendered as long as it is kept.
	before := decoded[loda.Rendering](t, o.must("config", "render", "--machine", "SN-0003", "-o", "json", "--revision", old))
	after := decoded[loda.Rendering](t, o.must("config", "render", "--machine", "SN-0003", "-o", "json"))
	require.Equal(t, old, before.Revision)
	require.Contains(t, before.Plan[2], "reboot into the installed system")
	require.Contains(t, after.Plan[2], "kexec into the installed system")
}

func TestRenderSaysWhatIsMissing(t *testing.T) {
	origin := gitsourcetest.New(t, team)
	o := newOffice(t).follow(origin).open()
	o.must("config", "sync")
	o.rack(map[inventory.Serial]string{"SN-0001": "Web 1", "SN-0002": "", "SN-0003": "Other 1"})
	facts := document(t, server("SN-0001", "Web 1"))
	nobody := document(t, server("", "Web 1"))
	bad := filepath.Join(t.TempDir(), "bad.json")
	require.NoError(t, os.WriteFile(bad, []byte("{}"), 0o600))
	broken := directory(t, changed(map[string]string{"profiles/db.yaml": "match: {vendor: Acme, product: DB*}\nos: debain\n"}))

	for _, c := range []struct {
		status int
		args   []string
		want   []string
	}{
		{2, []string{}, []string{"want --machine SERIAL or --facts FILE"}},
		{2, []string{"--machine", "SN-0001", "--facts", facts}, []string{"want --machine SERIAL or --facts FILE"}},
		{2, []string{"--machine", "SN-0001", "--profile", "web"}, []string{"--profile and --site need DIR"}},
		{2, []string{origin.Dir, "--machine", "SN-0001", "--revision", "x"},
			[]string{"--revision goes with --machine alone"}},
		{2, []string{origin.Dir, "--facts", facts, "--revision", "x"}, []string{"--revision goes with --machine alone"}},
		{1, []string{"--machine", "SN-0009"}, []string{"machine SN-0009: not found", "import it"}},
		{1, []string{"--machine", "SN-0002"}, []string{"machine SN-0002: its hardware is not known yet", "netboot"}},
		{1, []string{origin.Dir, "--machine", "SN-0009"}, []string{"machine SN-0009: not found"}},
		{1, []string{origin.Dir, "--machine", "SN-0002"}, []string{"machine SN-0002: its hardware is not known yet"}},
		{1, []string{"--machine", "SN-0003"}, []string{"no profile is for machine SN-0003 (Acme Other 1)",
			"not web: product: want Web*, got Other 1"}},
		{1, []string{origin.Dir, "--machine", "SN-0003"}, []string{"no profile is for machine SN-0003 (Acme Other 1)"}},
		{1, []string{"--machine", "SN-0001", "--revision", strings.Repeat("ab", 20)}, []string{"abababab", "local copy"}},
		{1, []string{"--machine", "SN-0001", "--revision", "main"},
			[]string{`"main" is no full commit number of 40 hexadecimal digits`}},
		{1, []string{origin.Dir, "--machine", "SN-0001", "--profile", "wbe"}, []string{"wbe", "db, web"}},
		{1, []string{origin.Dir, "--machine", "SN-0001", "--profile", "db"},
			[]string{"profile db is not for machine SN-0001"}},
		{1, []string{origin.Dir, "--machine", "SN-0001", "--site", "fraa"}, []string{"sites/fraa.yaml",
			"did you mean fra?"}},
		{1, []string{broken, "--machine", "SN-0001"}, []string{"1 mistakes", "profiles/db.yaml:2:5", "lodad config check"}},
		{1, []string{t.TempDir() + "/nowhere", "--machine", "SN-0001"}, []string{"nowhere"}},
		{1, []string{origin.Dir, "--facts", "nowhere.json"}, []string{"facts: ", "nowhere.json"}},
		{1, []string{origin.Dir, "--facts", bad}, []string{bad, "is this a facts document?"}},
		{1, []string{origin.Dir, "--facts", nobody}, []string{nobody, "serial number"}},
	} {
		said := o.fails(c.status, append([]string{"config", "render"}, c.args...)...)
		for _, want := range c.want {
			require.Contains(t, said, want, c.args)
		}
	}
	refused := origin.Push(map[string]string{"profiles/db.yaml": "match: {vendor: Acme, product: DB*}\nos: debain\n"})
	o.lodad("config", "sync")
	require.Contains(t, o.fails(1, "config", "render", "--machine", "SN-0001", "--revision", refused),
		"profiles/db.yaml:2:5: os: there is no os/debain.yaml")
	origin.Push(map[string]string{"profiles/db.yaml": team["profiles/db.yaml"]})

	// Nothing has to run for a wrong command line, nor for facts.
	alone := newOffice(t)
	require.Contains(t, alone.fails(2, "config", "render", "--machine", "SN-0001", "--site", "fra"), "need DIR")
	require.Contains(t, alone.fails(2, "config", "render", ".", "--machine", "SN-0001", "--revision", "x"), "--revision")
	require.Contains(t, alone.must("config", "render", origin.Dir, "--facts", facts, "--site", "fra"), "ROOM=R1")
}

func TestRenderSaysWhyATemplateDoesNotFitTheMachine(t *testing.T) {
	origin := gitsourcetest.New(t, changed(map[string]string{
		"profiles/db.yaml": "match: {vendor: Acme, product: DB*}\nos: debian\nsteps:\n" +
			"- {name: a, script: scripts/greet.sh, timeout: 1m, env: {ROLE: '{{ .machine.labels.role }}'}}\n"}))
	o := newOffice(t).follow(origin).open()
	o.must("config", "sync")
	o.rack(map[inventory.Serial]string{"SN-0001": "DB 1"})
	for _, args := range [][]string{{}, {origin.Dir}} {
		said := o.fails(1, append([]string{"config", "render", "--machine", "SN-0001"}, args...)...)
		require.Contains(t, said, "render profile db for machine SN-0001: profiles/db.yaml:4:")
		require.Contains(t, said, "want a label of that name on it")
	}
}

type affected struct {
	Compared        int
	HardwareUnknown int `json:"hardware_unknown"`
	Effects         []struct {
		Machines []inventory.Serial
		Old      string `json:"old_profile"`
		New      string `json:"new_profile"`
		Diff     string
		Error    string
	}
}

func TestAffectedGroupsMachinesToWhichTheSameHappens(t *testing.T) {
	origin := gitsourcetest.New(t, team)
	first := origin.Push(map[string]string{"README.md": "what this is\n"})
	o := newOffice(t).follow(origin).open()
	o.must("config", "sync")
	o.rack(map[inventory.Serial]string{"SN-0001": "Web 1", "SN-0002": "Web 1", "SN-0003": "DB 1", "SN-0004": "DB 2",
		"SN-0005": "DB 2",
		"SN-0006": "", "SN-0007": "Other"})

	require.Equal(t, "0 of 6 machines get something else; 1 more were left out, since their hardware is not known yet\n",
		o.must("config", "affected", "HEAD~1", "HEAD", origin.Dir))
	none := o.must("config", "affected", first, first, origin.Dir, "-o", "json")
	require.Contains(t, none, `"effects": []`)
	require.Equal(t, affected{Compared: 6, HardwareUnknown: 1, Effects: decoded[affected](t, none).Effects},
		decoded[affected](t, none))

	// The script changes for two, two get another profile, one is left without.
	second := origin.Push(map[string]string{
		"scripts/greet.sh":    strings.Replace(team["scripts/greet.sh"], "\techo", "    echo", 1),
		"profiles/db.yaml":    "match: {vendor: Acme, product: DB 3}\nos: debian\n",
		"profiles/newer.yaml": "match: {vendor: Acme, product: DB 2}\nos: debian\nboot: kexec\n",
	})
	result := decoded[affected](t, o.must("config", "affected", first, second, origin.Dir, "-o", "json"))
	require.Equal(t, 6, result.Compared)
	require.Len(t, result.Effects, 3)
	for i, want := range []struct {
		machines []inventory.Serial
		old, new string
		diff     []string
	}{
		{[]inventory.Serial{"SN-0001", "SN-0002"}, "web", "web", []string{"-\techo 'behind a tab'\n",
			"+    echo 'behind a tab'\n"}},
		{[]inventory.Serial{"SN-0003"}, "db", "", nil},
		{[]inventory.Serial{"SN-0004", "SN-0005"}, "db", "newer", []string{"kexec"}},
	} {
		got := result.Effects[i]
		require.Equal(t, want.machines, got.Machines)
		require.Equal(t, want.old, got.Old)
		require.Equal(t, want.new, got.New)
		for _, part := range want.diff {
			require.Contains(t, got.Diff, part)
		}
	}
	require.Contains(t, result.Effects[1].Error, "no profile is for machine SN-0003")
	require.Empty(t, result.Effects[1].Diff)
	text := o.must("config", "affected", first, second, origin.Dir)
	require.Contains(t, text, "SN-0001 SN-0002: profile web\n")
	require.Contains(t, text, "-\techo 'behind a tab'\n+    echo", "a tab stays one, or nobody sees the difference")
	require.Contains(t, text, "SN-0003: profile db → -\ncannot be rendered any more: no profile is for machine SN-0003 (Acme DB 1) at site fra; not db: ")
	require.Contains(t, text, "SN-0004 SN-0005: profile db → newer\n")
	require.Contains(t, text, "\n5 of 6 machines get something else; 1 more")
	require.Equal(t, 4, strings.Count(o.must("config", "affected", first, second, origin.Dir, "--brief"), "\n"))

	back := decoded[affected](t, o.must("config", "affected", second, first, origin.Dir, "-o", "json"))
	require.Equal(t, "", back.Effects[1].Old)
	require.Equal(t, "db", back.Effects[1].New)
	require.Contains(t, o.must("config", "affected", second, first, origin.Dir),
		"SN-0003: profile - → db\ncould not be rendered before: ")

	// Another site has other values.
	third := origin.Push(map[string]string{"sites/ber.yaml": "vars: {room: B1}\n"})
	fourth := origin.Push(map[string]string{"sites/ber.yaml": "vars: {room: B2}\n"})
	require.Contains(t, o.must("config", "affected", third, fourth, origin.Dir), "0 of 6")
	require.Contains(t, o.must("config", "affected", third, fourth, origin.Dir, "--site", "ber"), "-ROOM=B1\n+ROOM=B2\n")
}

func TestAffectedNeedsACloneTwoRevisionsAndAServer(t *testing.T) {
	origin := gitsourcetest.New(t, team)
	o := newOffice(t).follow(origin)
	require.Contains(t, o.fails(1, "config", "affected", "HEAD", "HEAD", origin.Dir), "lodad serve", "nothing runs")
	o.open()
	broken := origin.Push(map[string]string{"os/debian.yaml": "kind: imgae\n",
		"profiles/db.yaml": "match: {vendor: Acme}\nos: x\n"})
	for _, c := range []struct {
		status int
		args   []string
		want   []string
	}{
		{2, nil, []string{"want OLD NEW [DIR]"}},
		{2, []string{"HEAD"}, []string{"want OLD NEW [DIR]"}},
		{2, []string{"a", "b", "c", "d"}, []string{"want OLD NEW [DIR]"}},
		{1, []string{"HEAD", "HEAD", t.TempDir()}, []string{"want a clone of the config repository"}},
		{1, []string{"HEAD", "HEAD", t.TempDir() + "/nowhere"}, []string{"nowhere",
			"want a clone of the config repository"}},
		{1, []string{"nosuch", "HEAD", origin.Dir}, []string{"nosuch in " + origin.Dir, "fetch"}},
		{1, []string{"HEAD~7", "HEAD", origin.Dir}, []string{"HEAD~7 in " + origin.Dir}},
		{1, []string{"HEAD~1", "^{}[@~", origin.Dir}, []string{"^{}[@~ in " + origin.Dir}},
		{1, []string{strings.Repeat("ab", 20), "HEAD", origin.Dir}, []string{"ababab"}},
		{1, []string{"HEAD~1", broken, origin.Dir}, []string{broken, "os/debian.yaml:1:7: kind: "}},
	} {
		said := o.fails(c.status, append([]string{"config", "affected"}, c.args...)...)
		for _, want := range c.want {
			require.Contains(t, said, want, c.args)
		}
	}
	require.Equal(t, "0 of 0 machines get something else\n", o.must("config", "affected", "HEAD~1", "HEAD~1",
		filepath.Join(origin.Dir, "profiles")),
		"from anywhere in the clone")
}

// People have a work tree for each branch, beside the first.
func TestAffectedWorksInALinkedWorkTree(t *testing.T) {
	need.Command(t, "git")
	origin := gitsourcetest.New(t, team)
	tree := filepath.Join(t.TempDir(), "tree")
	cmd := exec.CommandContext(t.Context(), "git", "-c", "safe.directory=*", "-C", origin.Dir, "worktree", "add", "-q",
		tree)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Run(), out.String())
	o := newOffice(t).follow(origin).open()
	require.Contains(t, o.must("config", "affected", "main", "HEAD", tree), "0 of 0")
}
