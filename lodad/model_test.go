package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/gitsource/gitsourcetest"
)

// models puts the model of a web server into the team's repository.
func models(t *testing.T) map[string]string {
	t.Helper()
	status, model, err := lodad(t.Context(), "model", "generate", "--facts", document(t, server("SN-0001", "Web 1")))
	require.Zero(t, status, err)
	return changed(map[string]string{"models/web.yaml": model,
		"profiles/web.yaml": strings.Replace(team["profiles/web.yaml"], "os: debian\n",
			"os: debian\nmodel: models/web.yaml\n", 1)})
}

// larger is server with another disk than was ordered.
func larger(serial inventory.Serial, product string) *hw.Facts {
	f := server(serial, product)
	f.Disks[0].Bytes, f.Disks[0].Model = 960e9, "Fast 960"
	return f
}

func TestGeneratedModelIsEqualToItsMachineAndOnlyToSuch(t *testing.T) {
	for _, doc := range []string{"sas-server", "uefi-box", "virtio-vm", "qemu-hbas"} {
		facts := filepath.Join("../hw/testdata", doc+".json")
		status, model, err := lodad(t.Context(), "model", "generate", "--facts", facts)
		require.Zero(t, status, err)
		file := filepath.Join(t.TempDir(), "model.yaml")
		require.NoError(t, os.WriteFile(file, []byte(model), 0o600))
		status, out, err := lodad(t.Context(), "model", "compare", "--facts", facts, "--model", file)
		require.Zero(t, status, out+err)
		require.Contains(t, out, ": equals its model\n")
		status, out, _ = lodad(t.Context(), "model", "compare", "--facts", facts, "--model", file, "-o", "json")
		require.Zero(t, status)
		require.Contains(t, out, `"differences": []`, "a list, also an empty one")
		status, out, _ = lodad(t.Context(), "model", "generate", "--facts", facts, "-o", "json")
		require.Zero(t, status)
		decoded[map[string]any](t, out)
	}
	file := filepath.Join(t.TempDir(), "model.yaml")
	require.NoError(t, os.WriteFile(file, []byte(models(t)["models/web.yaml"]), 0o600))
	status, out, _ := lodad(t.Context(), "model", "compare", "--facts", document(t, larger("", "Web 1")), "--model",
		file)
	require.Equal(t, 1, status)
	require.Regexp(t, `^-: \d+ differences\n  FAIL  .*960`, out)
}

func TestModelsOfTheSiteAreComparedOneByOneOrInABatch(t *testing.T) {
	origin := gitsourcetest.New(t, models(t))
	o := newOffice(t).follow(origin).open()
	o.must("config", "sync")
	o.must("machine", "import", o.csv("serial,profile,rack\nSN-0001,,r1\nSN-0002,,r1\nSN-0003,web,r2\nSN-0004,,r1\n"))
	o.report(server("SN-0001", "Web 1"))
	o.report(larger("SN-0002", "Web 1"))
	o.report(server("SN-0003", "Web 1"))

	require.Equal(t, o.must("model", "generate", "SN-0001"), o.must("model", "generate", "sn-0003"),
		"nothing of the machine itself")
	require.Equal(t, "SN-0001, profile web: equals its model\n", o.must("model", "compare", "SN-0001"))
	compare := func(args ...string) (int, []comparison) {
		status, out, err := o.lodad(append([]string{"model", "compare", "-o", "json"}, args...)...)
		require.Empty(t, err)
		return status, decoded[[]comparison](t, out)
	}
	status, results := compare("SN-0001", "SN-0002", "SN-0004", "SN-0009")
	require.Equal(t, 1, status)
	require.Len(t, results, 4)
	require.Equal(t, "web", results[0].Profile)
	require.NotEmpty(t, results[0].Revision)
	require.Empty(t, results[0].Differences)
	require.NotNil(t, results[0].Differences)
	require.NotEmpty(t, results[1].Differences)
	require.Equal(t, hw.Fail, results[1].Differences[0].Severity)
	require.Contains(t, results[2].Error, "hardware is not known yet")
	require.Contains(t, results[3].Error, "SN-0009")

	status, out, _ := o.lodad("model", "compare", "--rack", "r1")
	require.Equal(t, 1, status)
	require.Regexp(t, `(?s)^SN-0001, profile web: equals its model\nSN-0002, profile web: \d differences\n  FAIL  .*`+
		`2 machines, 1 of them would be quarantined; 1 more were left out, since their hardware is not known yet\n$`, out)
	status, results = compare("--rack", "r2")
	require.Zero(t, status)
	require.Len(t, results, 1)
	status, results = compare("--profile", "web")
	require.Zero(t, status)
	require.Len(t, results, 1)
	require.Equal(t, "SN-0003", results[0].Machine)
	_, results = compare("--all")
	require.Len(t, results, 3)
	status, results = compare("--rack", "r9")
	require.Zero(t, status)
	require.NotNil(t, results, "a list, also an empty one")
	require.Contains(t, o.must("model", "compare", "--rack", "r9"), "0 machines")

	// A file decides instead of the profile.
	file := filepath.Join(t.TempDir(), "model.yaml")
	require.NoError(t, os.WriteFile(file, []byte(o.must("model", "generate", "SN-0002")), 0o600))
	status, results = compare("--all", "--model", file)
	require.Equal(t, 1, status)
	require.NotEmpty(t, results[0].Differences)
	require.Empty(t, results[0].Profile)
	require.Empty(t, results[1].Differences)
	require.NotEmpty(t, results[2].Differences)
	status, results = compare("SN-0004", "--model", file)
	require.Equal(t, 1, status)
	require.Contains(t, results[0].Error, "hardware is not known yet")
}

func TestModelCommandsSayWhatIsWrong(t *testing.T) {
	o := newOffice(t).open()
	o.rack(map[inventory.Serial]string{"SN-0001": "Web 1", "SN-0002": ""})
	facts := document(t, server("SN-0001", "Web 1"))
	dir := directory(t, map[string]string{"bad.yaml": "system:\n  vndor: Acme\ndisks:\n- cuont: 1\n", "empty.yaml": "",
		"text.yaml":   "just text\n",
		"broken.json": "{", "old.json": `{"version": 0}`})
	for _, c := range []struct {
		status int
		args   string
		want   []string
	}{
		{2, "generate", []string{"want the serial number of a machine, or --facts FILE"}},
		{2, "generate SN-0001 --facts " + facts, []string{"want the serial number of a machine, or --facts FILE"}},
		{2, "generate SN-0001 SN-0002", []string{"usage"}},
		{1, "generate SN-0002", []string{"machine SN-0002: its hardware is not known yet"}},
		{1, "generate SN-0009", []string{"machine SN-0009: not found"}},
		{1, "generate --facts " + dir + "/nowhere.json", []string{"facts: ", "nowhere.json"}},
		{1, "generate --facts " + dir + "/broken.json", []string{"broken.json: decode hardware facts"}},
		{1, "generate --facts " + dir + "/old.json", []string{"old.json: ", "version 0"}},
		{2, "compare", []string{"want serial numbers, or --facts FILE, or one of --all, --rack, --profile"}},
		{2, "compare SN-0001 --all", []string{"want serial numbers, or"}},
		{2, "compare SN-0001 --facts " + facts, []string{"want serial numbers, or"}},
		{2, "compare --rack r1 --facts " + facts, []string{"want serial numbers, or"}},
		{2, "compare --facts " + facts, []string{"--facts needs --model"}},
		{1, "compare SN-0001 --model " + dir + "/nowhere.yaml", []string{"model: ", "nowhere.yaml"}},
		{1, "compare SN-0001 --model " + dir + "/bad.yaml",
			[]string{"bad.yaml:2:3: system.vndor: unknown key; did you mean vendor?",
				"bad.yaml:4:3: disks[0].cuont: unknown key; did you mean count?"}},
		{1, "compare SN-0001 --model " + dir + "/empty.yaml", []string{"empty.yaml"}},
		{1, "compare SN-0001 --model " + dir + "/text.yaml", []string{"text.yaml:1:1"}},
	} {
		said := o.fails(c.status, append([]string{"model"}, strings.Fields(c.args)...)...)
		for _, want := range c.want {
			require.Contains(t, said, want, c.args)
		}
	}
	// A profile of lodad.yaml has no model, and this one is of a machine that has no profile.
	status, out, _ := o.lodad("model", "compare", "SN-0001")
	require.Equal(t, 1, status)
	require.Contains(t, out, "SN-0001: ")
	require.Contains(t, newOffice(t).fails(1, "model", "generate", "SN-0001"), "lodad serve")
}
