package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/sqlite"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/api"
)

// office is a lodad that serves in this process, without DHCP, and the commands of its operator.
type office struct {
	t      *testing.T
	config *config
	file   string
	store  *sqlite.Store // a second look into its database
}

func newOffice(t *testing.T) *office {
	t.Helper()
	dir, err := os.MkdirTemp("", "loda") // a Unix socket's name must be short
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	o := &office{t: t, config: defaultConfig(), file: filepath.Join(dir, "lodad.yaml")}
	o.config.Data, o.config.Log.Level = filepath.Join(dir, "data"), "error"
	o.config.PXE.NBPDirs = []string{dir}
	o.config.Profiles = map[string]loda.Profile{"debian": {Image: "debian-12"}}
	for _, addr := range []*string{&o.config.Listen.API, &o.config.Listen.Boot, &o.config.Listen.TFTP} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		*addr = l.Addr().String()
	}
	images := filepath.Join(o.config.Data, "artifacts", "images")
	require.NoError(t, os.MkdirAll(images, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(images, "debian-12.raw"), []byte("image"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(images, "debian-12.json"), fmt.Appendf(nil,
		`{"name":"debian-12","file":"debian-12.raw","format":"raw","bytes":5,"raw_bytes":5,"sha256":"%s","created":"2030-01-02T03:04:05Z"}`,
		strings.Repeat("ab", 32)), 0o644))
	text, err := yaml.Marshal(o.config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(o.file, text, 0o600))
	return o
}

// open starts lodad.
func (o *office) open() *office {
	t := o.t
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, o.config) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", o.config.socket())
		if err == nil {
			c.Close()
		}
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	var err error
	o.store, err = sqlite.Open(t.Context(), o.config.database())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.store.Close()) })
	return o
}

// lodad runs a command.
func (o *office) lodad(args ...string) (status int, stdout, stderr string) {
	return lodad(o.t.Context(), append([]string{"--config", o.file}, args...)...)
}

func lodad(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(ctx, args, &out, &err)
	return status, out.String(), err.String()
}

// must runs a command that succeeds.
func (o *office) must(args ...string) string {
	o.t.Helper()
	status, out, err := o.lodad(args...)
	require.Zero(o.t, status, "%v: %s%s", args, out, err)
	require.Empty(o.t, err)
	return out
}

func (o *office) csv(text string) string {
	o.t.Helper()
	path := filepath.Join(filepath.Dir(o.file), "rack.csv")
	require.NoError(o.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// set puts the machine's installation into a state, as its agent would.
func (o *office) set(serial inventory.Serial, change func(*inventory.Installation)) {
	o.t.Helper()
	inst, err := o.store.OpenInstallation(o.t.Context(), serial)
	require.NoError(o.t, err)
	_, err = o.store.UpdateInstallation(o.t.Context(), inst.ID, func(i *inventory.Installation) ([]inventory.Event, error) {
		change(i)
		return nil, nil
	})
	require.NoError(o.t, err)
}

func TestExitStatusTellsFailureFromMisuse(t *testing.T) {
	o := newOffice(t)
	for _, c := range []struct {
		status int
		args   string
	}{
		{0, "help"}, {0, "--help"}, {0, "--version"}, {0, "machine"}, {0, "machine import --help"}, {0, "config init"}, {0, "config verify"},
		{1, "machine list"}, {1, "machine import nowhere.csv"}, {1, "config init " + o.file}, // nothing runs, nothing is there
		{2, "sevre"}, {2, "machine lst"}, {2, "config chekc"}, {2, "--bogus"}, {2, "machine list --bogus"}, {2, "machine show"},
		{2, "machine show A B"}, {2, "machine install"}, {2, "config init a b"}, {2, "status --every soon"}, {2, "-o xml machine list"},
		{2, "status --watch -o json"}, {2, "timeline A --last 1001"}, {2, "timeline"}, {2, "dhcp trace"}, {2, "pxe check"}, {2, "pxe check h --chain x"}, {2, "dhcp trace 52:54"}, {2, "dhcp trace 52:54:00:00:00:0a --last 0"}, {1, "dhcp leases --mac x"}, {2, "--server https://x machine list"},
		{2, "image build-debian a b"},
	} {
		status, out, err := o.lodad(strings.Fields(c.args)...)
		require.Equal(t, c.status, status, "lodad %s: %s%s", c.args, out, err)
		require.Equal(t, c.status == 0, err == "", "lodad %s: what went wrong is said, once: %s", c.args, err)
		require.Equal(t, c.status == 2, strings.Contains(err, "lodad help"), c.args)
	}
	_, _, err := o.lodad("machine", "isntall")
	require.Contains(t, err, "did you mean install")
	_, _, err = o.lodad("machine", "list")
	require.Contains(t, err, "lodad serve")
}

func TestHelpMentionsEveryCommand(t *testing.T) {
	_, out, _ := lodad(t.Context(), "help")
	var walk func(cmd *cobra.Command, above []string)
	walk = func(cmd *cobra.Command, above []string) {
		for _, c := range cmd.Commands() {
			path := append(append([]string{}, above...), c.Name())
			if c.IsAvailableCommand() {
				status, _, err := lodad(t.Context(), append(path, "--help")...)
				require.Zero(t, status)
				require.Empty(t, err)
				require.NotEmpty(t, c.Short, path)
				_, parent, _ := lodad(t.Context(), append(above, "--help")...)
				require.Regexp(t, `(?m)^  `+c.Name()+` +\S`, parent, path)
			}
			walk(c, path)
		}
	}
	walk(rootCommand(), nil)
	for _, c := range rootCommand().Commands() {
		if c.IsAvailableCommand() {
			require.Contains(t, out, "\n  "+c.Name()+" ")
		}
	}
}

func TestImportNamesEveryBadRowWithItsPlace(t *testing.T) {
	o := newOffice(t).open()
	file := o.csv("serial,profile,mac\nSN-0001,debian,52:54:00:00:00:01\nTo be filled by O.E.M.,debian,\nSN-0003,nothing,\nSN-0004,debian,52:54:00:00:00:01\n\"SN\x1b[2J-0005\",debian,\n")
	status, out, err := o.lodad("machine", "import", file, "--install")
	require.Equal(t, 1, status)
	require.Empty(t, out)
	lines := strings.Split(strings.TrimSpace(err), "\n")
	require.Len(t, lines, 5, err)
	for i, want := range []string{file + ":3: serial: serial number \"To be filled", file + ":4: profile: profile nothing: no such profile",
		file + ":5: MAC 52:54:00:00:00:01 is in line 2 already", file + ":6: serial: ", "lodad: nothing was imported: 4 "} {
		require.True(t, strings.HasPrefix(lines[i], want), "%q, want %q", lines[i], want)
	}
	require.NotContains(t, err, "\x1b")
	require.Equal(t, "[]\n", o.must("machine", "list", "-o", "json"), "nothing was imported")

	status, _, err = o.lodad("machine", "import", o.csv("name\nx\n"))
	require.Equal(t, 1, status)
	require.Contains(t, err, "rack.csv:1: no column serial")
	_, _, err = o.lodad("machine", "import", o.csv("\n"))
	require.Contains(t, err, "rack.csv: empty; want a header line")
}

func TestOperatorSeesWhatMachinesDo(t *testing.T) {
	o := newOffice(t).open()
	require.Contains(t, o.must("machine", "import", o.csv("serial,profile\nSN-0001,debian\nSN-0002,debian\n"), "--dry-run"), "2 machines are fine")
	require.Contains(t, o.must("machine", "import", o.csv("serial,profile\nSN-0001,debian\nSN-0002,debian\n"), "--install"), "2 machines imported, 2 installations opened")
	require.Regexp(t, `SN-0001 +- +debian +queued`, o.must("machine", "list"))
	require.Contains(t, o.must("status"), "2 machines, 2 queued")
	require.Contains(t, o.must("timeline", "SN-0001"), "installation opened: profile debian")
	require.Equal(t, 1, strings.Count(o.must("timeline", "SN-0001", "--last", "1"), "\n"))

	status, out, err := o.lodad("machine", "hold", "SN-9999", "SN-0001", "--reason", "wait")
	require.Equal(t, 1, status, "one of two failed")
	require.Contains(t, err, "SN-9999")
	require.Contains(t, out, "SN-0001  held")
	require.Contains(t, o.must("machine", "show", "sn-0001"), "held")
	require.Contains(t, o.must("machine", "release", "SN-0001"), "queued")
	require.Contains(t, o.must("machine", "cancel", "SN-0002", "--reason", "wrong rack"), "canceled")
	o.must("machine", "delete", "SN-0002")
	require.Contains(t, o.must("timeline", "SN-0002"), "machine deleted", "the timeline stays")

	secret := strings.TrimSpace(o.must("token", "create", "cmdb", "--role", "viewer"))
	status, _, err = o.lodad("--token", secret, "machine", "cancel", "SN-0001")
	require.Equal(t, 1, status)
	require.Contains(t, err, "has the role viewer, this call needs operator")
	var tokens []api.Token
	require.NoError(t, json.Unmarshal([]byte(o.must("token", "list", "-o", "json")), &tokens))
	require.Len(t, tokens, 2)
	require.NotContains(t, o.must("token", "list", "-o", "json"), secret)
	o.must("token", "revoke", tokens[1].ID)
	_, _, err = o.lodad("--token", secret, "machine", "list")
	require.Contains(t, err, "revoked")

	status, _, err = lodad(t.Context(), "--server", "https://"+o.config.Listen.API, "--token", "x", "machine", "list")
	require.Equal(t, 1, status)
	require.Contains(t, err, "certificate", "a server is not trusted without its authority")
	_, _, err = lodad(t.Context(), "--server", "https://"+o.config.Listen.API, "--ca", filepath.Join(o.config.Data, "ca", "ca.pem"),
		"--token", "x", "machine", "list")
	require.Contains(t, err, "this token is unknown")
}

func TestOperatorSeesWhyAMachineGotNoAddress(t *testing.T) {
	o := newOffice(t).open()
	const mac, stranger = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
	o.must("machine", "import", o.csv("serial,profile,mac,address\nSN-0001,debian,"+mac+" 52:54:00:00:00:0c,10.7.0.7\n"))
	hw, err := net.ParseMAC(mac)
	require.NoError(t, err)
	now := time.Now()
	require.NoError(t, o.store.SaveLease(t.Context(), dhcp.Lease{MAC: hw, Addr: netip.MustParseAddr("10.7.0.7"), Subnet: "rack-7",
		Hostname: "web-1", GrantedAt: now, ExpiresAt: now.Add(time.Hour)}))
	require.NoError(t, o.store.SaveLease(t.Context(), dhcp.Lease{MAC: dhcp.DeclinedMAC(netip.MustParseAddr("10.7.0.8")), Declined: true,
		Addr: netip.MustParseAddr("10.7.0.8"), Subnet: "rack-7", Hostname: "declined by " + mac, GrantedAt: now, ExpiresAt: now.Add(time.Hour)}))

	_, out, _ := o.lodad("dhcp", "trace", mac)
	require.Contains(t, out, mac+": machine SN-0001 (imported), address 10.7.0.7 reserved\nlease of 10.7.0.7 in subnet rack-7, active, until")
	require.Contains(t, out, "No DHCP packet from it has reached this site.")
	exchange := func(mac string, tr dhcp.Trace) {
		data, err := json.Marshal(tr)
		require.NoError(t, err)
		require.NoError(t, o.store.AppendEvents(t.Context(), inventory.Event{MAC: inventory.MAC(mac), Kind: inventory.KindDHCP, Message: "said", Data: data}))
	}
	exchange(mac, dhcp.Trace{Stage: dhcp.StagePXE, Interface: "eth1", Asked: "DISCOVER", XID: "01020304", Reason: "it is \x1b[2Jfull"})
	exchange("52:54:00:00:00:0c", dhcp.Trace{Stage: dhcp.StageOS, Interface: "eth2", Asked: "REQUEST", XID: "01020305"})
	out = o.must("dhcp", "trace", mac)
	require.Contains(t, out, "PXE ROM on eth1\n  asked       DISCOVER, xid 01020304\n  answered    nothing\n  why not     it is  [2Jfull\n")
	require.NotContains(t, out, "eth2", "another NIC of the machine has a trace of its own")
	require.Equal(t, 1, strings.Count(o.must("dhcp", "trace", mac, "-o", "json"), "\n"))

	status, out, _ := o.lodad("dhcp", "trace", stranger)
	require.Equal(t, 1, status, "nothing was seen")
	require.Contains(t, out, stranger+": nobody has imported a machine with it")
	require.Contains(t, out, "ip helper-address")

	require.Regexp(t, `10.7.0.7 +`+mac+` +rack-7 +active .*web-1\n10.7.0.8 +- +rack-7 +declined .*declined by`, o.must("dhcp", "leases"))
	require.NotContains(t, o.must("dhcp", "leases", "--mac", mac), "declined")
	require.NotContains(t, o.must("dhcp", "leases", "--subnet", "rack-8"), "rack-7")
}

func TestOperatorSeesWhatMachinesCanFetch(t *testing.T) {
	o := newOffice(t).open()
	port := func(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }
	args := []string{"pxe", "check", "127.0.0.1", "--tftp-port", port(o.config.Listen.TFTP), "--boot-port", port(o.config.Listen.Boot)}
	status, out, _ := o.lodad(args...)
	require.Equal(t, 1, status)
	require.Regexp(t, `failed +tftp://127.0.0.1:\d+/undionly.kpxe: .*not found`, out)
	require.Regexp(t, `ok +http://127.0.0.1:\d+/boot/ipxe: \d+ bytes in`, out)
	require.Regexp(t, `failed +http://127.0.0.1:\d+/artifacts/bootos/vmlinuz: the server answered 404`, out)

	for _, name := range []string{"undionly.kpxe", "snponly.efi"} {
		require.NoError(t, os.WriteFile(filepath.Join(o.config.PXE.NBPDirs[0], name), []byte("program"), 0o644))
	}
	bootos := filepath.Join(o.config.Data, "artifacts", "bootos")
	for _, name := range []string{"vmlinuz", "initramfs"} {
		require.NoError(t, os.WriteFile(filepath.Join(bootos, name), []byte("part"), 0o644))
	}
	var all []struct {
		URL   string
		Bytes int
		Error string
	}
	require.NoError(t, json.Unmarshal([]byte(o.must(append(args, "-o", "json")...)), &all))
	require.Len(t, all, 5)
	require.Equal(t, 7, all[0].Bytes)
	require.Empty(t, all[4].Error)
}

func TestListsAreJSONForMachines(t *testing.T) {
	o := newOffice(t).open()
	lists := []string{"machine list", "status", "image list", "token list", "dhcp leases"}
	for _, args := range lists {
		var list []any
		require.NoError(t, json.Unmarshal([]byte(o.must(append(strings.Fields(args), "-o", "json")...)), &list), args)
		require.NotNil(t, list, args)
	}
	o.must("machine", "import", o.csv("serial,profile\nSN-0001,debian\nSN-0002,debian\n"), "--install", "-o", "json")
	o.must("machine", "hold", "SN-0001", "--reason", "\x1b[2J\u009b2J\u202e")
	for _, args := range append(lists, "machine show SN-0001", "machine release SN-0001", "token create x", "bootos --help") {
		out := o.must(append(strings.Fields(args), "-o", "json")...)
		if strings.HasSuffix(args, "--help") {
			continue
		}
		require.True(t, json.Valid([]byte(out)), "%s: %s", args, out)
		require.NotContains(t, out, "\u009b", args)
		require.NotContains(t, out, "\u202e", args)
	}
	out := o.must("timeline", "SN-0001", "-o", "json")
	require.Equal(t, 4, strings.Count(out, "\n"), "imported, opened, held, released: %s", out)
	for line := range strings.Lines(out) {
		var e inventory.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		require.Equal(t, inventory.Serial("SN-0001"), e.Serial)
	}
}

func TestNothingThatMachinesSayMovesTheCursor(t *testing.T) {
	o := newOffice(t).open()
	o.must("machine", "import", o.csv("serial,profile\nSN-0001,debian\n"), "--install")
	const evil = "\x1b[2J\x1b]0;title\x07\u009b31m\r\b\x7f\u202e\u2028a line\nbroken"
	o.set("SN-0001", func(i *inventory.Installation) { i.State, i.Reason, i.ProgressText = inventory.Failed, evil, evil })
	_, err := o.store.UpdateMachine(t.Context(), "SN-0001", func(m *inventory.Machine) error {
		m.Vendor, m.Product, m.UUID = evil, evil, evil
		doc, err := json.Marshal(map[string]any{"version": 1, "system": map[string]any{"serial": "SN-0001", "vendor": evil, "product": evil},
			"disks": []map[string]any{{"name": evil, "model": evil, "serial": evil}}})
		m.Facts = doc
		return err
	})
	require.NoError(t, err)
	require.NoError(t, o.store.AppendEvents(t.Context(), inventory.Event{Serial: "SN-0001", Kind: inventory.KindLog, Message: evil}))
	for _, args := range []string{"machine list", "machine show SN-0001", "status", "timeline SN-0001", "machine hold SN-0001", "machine retry SN-" + evil,
		"machine list -o json", "machine show SN-0001 -o json", "status -o json", "timeline SN-0001 -o json", "status --until-done"} {
		_, out, err := o.lodad(strings.Split(args, " ")...)
		require.NotEmpty(t, out+err, args)
		for _, r := range out + err {
			require.True(t, r == '\n' || r >= ' ' && r < 0x7f || r > 0xa0 && r != '\u202e' && r != '\u2028', "%s: %q", args, out+err)
		}
	}
	require.NotRegexp(t, `(?m)^broken`, o.must("machine", "list"), "one line for each machine")
}

func TestStatusUntilDoneTellsWhetherAllAreInstalled(t *testing.T) {
	o := newOffice(t).open()
	o.must("machine", "import", o.csv("serial,profile\nSN-0001,debian\nSN-0002,debian\n"), "--install")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	status, out, _ := lodad(ctx, "--config", o.file, "status", "--until-done", "--every", "10ms")
	require.Equal(t, 1, status, "interrupted is not done")
	require.Contains(t, out, "queued")

	type result struct {
		status int
		out    string
	}
	ended := make(chan result, 1)
	go func() {
		status, out, _ := lodad(context.WithoutCancel(t.Context()), "--config", o.file, "status", "--until-done")
		ended <- result{status, out}
	}()
	install := func(i *inventory.Installation) { i.State, i.StateSince = inventory.Installed, time.Now() }
	o.set("SN-0001", install)
	select {
	case r := <-ended:
		t.Fatalf("one is still at work: %+v", r)
	case <-time.After(600 * time.Millisecond):
	}
	o.set("SN-0002", install)
	r := <-ended
	require.Zero(t, r.status, r.out)
	require.Contains(t, r.out, "SN-0002      installed")
	var machines []api.Machine
	require.NoError(t, json.Unmarshal([]byte(o.must("status", "--until-done", "-o", "json")), &machines))
	require.Len(t, machines, 2)

	o.must("machine", "install", "SN-0001")
	o.set("SN-0001", func(i *inventory.Installation) { i.State, i.Reason = inventory.Failed, "the disk is broken" })
	for _, args := range [][]string{{"status", "--until-done"}, {"status", "--until-done", "-o", "json"}} {
		status, out, err := o.lodad(args...)
		require.Equal(t, 1, status)
		require.Contains(t, out, "the disk is broken")
		require.Empty(t, err)
	}
	require.Contains(t, o.must("status"), "the disk is broken", "without --until-done it only shows")
}

func TestLastAdminCannotLockEverybodyOut(t *testing.T) {
	o := newOffice(t)
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "loda.db"))
	require.NoError(t, err)
	defer store.Close()
	file := filepath.Join(filepath.Dir(o.file), adminTokenFile)
	ids := map[string]bool{}
	for range 2 {
		require.NoError(t, firstToken(t.Context(), store, file))
		require.NoError(t, firstToken(t.Context(), store, file), "there is one")
		tokens, err := store.Tokens(t.Context())
		require.NoError(t, err)
		require.Len(t, tokens, 1)
		ids[tokens[0].ID] = true
		require.NoError(t, store.DeleteToken(t.Context(), tokens[0].ID))
	}
	require.Len(t, ids, 2)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}
