package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
)

func TestMachinesOfARackAreComparedOnceTheirHardwareIsKnown(t *testing.T) {
	o := newOffice(t).open()
	o.must("machine", "import", o.csv("serial,profile\nSN-0001,debian\nSN-0002,debian\n"))
	doc, err := json.Marshal(hw.Facts{Version: 1, System: hw.System{Serial: "SN-0001", Product: "Lab"}})
	require.NoError(t, err)
	facts := filepath.Join(t.TempDir(), "facts.json")
	require.NoError(t, os.WriteFile(facts, doc, 0o600))
	model := filepath.Join(t.TempDir(), "model.yaml")
	require.NoError(t, os.WriteFile(model, []byte(o.must("model", "generate", "--facts", facts)), 0o600))

	status, _, stderr := o.lodad("model", "generate", "SN-0001")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "its hardware is not known yet")
	require.Equal(t, "[]\n", o.must("model", "compare", "--all", "--model", model, "-o", "json"))
	_, err = o.store.UpdateMachine(t.Context(), "SN-0001", func(m *inventory.Machine) error { m.Facts = doc; return nil })
	require.NoError(t, err)
	for _, args := range [][]string{{"--all"}, {"--profile", "debian"}, {"--facts", facts}} {
		out := o.must(append([]string{"model", "compare", "--model", model, "-o", "json"}, args...)...)
		require.Contains(t, out, `"machine": "SN-0001"`)
		require.Contains(t, out, `"differences": []`, "a list, for whoever counts them")
		require.NotContains(t, out, "SN-0002")
	}
	status, out, _ := o.lodad("model", "compare", "--model", model, "SN-0001", "SN-0002")
	require.Equal(t, 1, status, "one that was named is to be compared")
	require.Contains(t, out, "SN-0001: equals its model")
	require.Contains(t, out, "SN-0002: machine SN-0002: its hardware is not known yet")
}
