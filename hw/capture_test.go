//go:build linux

package hw

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func captureOf(t testing.TB, root string, o CaptureOptions) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Capture(context.Background(), root, &b, o))
	file := filepath.Join(t.TempDir(), "machine.hw")
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
	return file
}

func detectIn(t testing.TB, root string, opts ...Option) *Facts {
	t.Helper()
	f, err := Detect(context.Background(), append(opts, WithRoot(root))...)
	require.NoError(t, err)
	return f
}

func TestCapturedMachineIsDetectedAsTheMachineItself(t *testing.T) {
	for name, root := range trees(t) {
		t.Run(name, func(t *testing.T) {
			want := detectIn(t, root)
			file := captureOf(t, root, CaptureOptions{})
			require.Equal(t, want, detectIn(t, file))
			again := captureOf(t, file, CaptureOptions{})
			first, err := os.ReadFile(file)
			require.NoError(t, err)
			second, err := os.ReadFile(again)
			require.NoError(t, err)
			require.Equal(t, string(first), string(second), "a capture of a capture is the same capture")
		})
	}
}

func TestTreesOfTheTestsAreCapturesToo(t *testing.T) {
	for _, name := range []string{"virtio-vm", "uefi-box", "qemu-hbas"} {
		require.Equal(t, detectIn(t, plant(t, "testdata/"+name+".tree")), detectIn(t, "testdata/"+name+".tree"), name)
	}
}

func TestErrorsOfFilesAreCaptured(t *testing.T) {
	root := plant(t, "testdata/uefi-box.tree")
	n := 0
	require.NoError(t, filepath.WalkDir(root, func(name string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		switch n++; n % 7 {
		case 0:
			require.NoError(t, os.Remove(name))
			require.NoError(t, os.Mkdir(name, 0o755))
		case 1:
			require.NoError(t, os.Remove(name))
			require.NoError(t, os.Symlink("/etc/passwd", name))
		case 2:
			require.NoError(t, os.Remove(name))
			require.NoError(t, os.Symlink(filepath.Base(name), name))
		}
		return nil
	}))
	want := detectIn(t, root)
	require.Contains(t, facts(t, want), "not a regular file")
	require.Equal(t, want, detectIn(t, captureOf(t, root, CaptureOptions{})))
}

func facts(t testing.TB, f *Facts) string {
	t.Helper()
	encoded, err := json.MarshalIndent(f, "", " ")
	require.NoError(t, err)
	return string(encoded)
}

func TestCaptureOfThisMachineIsDetectedAsThisMachine(t *testing.T) {
	file := captureOf(t, "", CaptureOptions{Health: 5 * time.Second})
	got, want := detectIn(t, file, WithHealth(time.Second)), detectIn(t, "", WithHealth(5*time.Second))
	for _, f := range []*Facts{got, want} { // what changes from one second to the next
		for i := range f.Disks {
			if h := f.Disks[i].Health; h != nil {
				h.PowerOnHours, h.TemperatureC = nil, nil
			}
		}
	}
	require.Equal(t, facts(t, want), facts(t, got))

	hidden := detectIn(t, captureOf(t, "", CaptureOptions{Anonymise: true}))
	require.Len(t, hidden.NICs, len(want.NICs))
	require.Len(t, hidden.PCI, len(want.PCI))
	for i, n := range hidden.NICs {
		if want.NICs[i].MAC != "" {
			require.NotEqual(t, want.NICs[i].MAC, n.MAC)
		}
	}
}

// identifiers are those of a machine, by what they are.
func identifiers(f *Facts) []string {
	list := []string{f.System.Serial, f.System.UUID, f.System.AssetTag, f.Board.Serial, f.Board.AssetTag,
		f.Chassis.Serial, f.Chassis.AssetTag, f.BMC.GUID}
	for _, c := range f.CPUs {
		list = append(list, c.Serial)
	}
	for _, d := range f.Memory.DIMMs {
		list = append(list, d.Serial)
	}
	for _, d := range f.Disks {
		list = append(list, d.Serial, d.WWN)
	}
	for _, n := range f.NICs {
		list = append(list, n.MAC, n.CurrentMAC)
	}
	for _, p := range f.PSUs {
		list = append(list, p.Serial)
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" || isFiller(s) })
}

// withoutIdentifiers is everything else that facts say, in an order that does not depend on addresses.
func withoutIdentifiers(f *Facts) string {
	f.System.Serial, f.System.UUID, f.System.AssetTag, f.BMC.GUID = "", "", "", ""
	f.Board.Serial, f.Board.AssetTag, f.Chassis.Serial, f.Chassis.AssetTag = "", "", "", ""
	for i := range f.CPUs {
		f.CPUs[i].Serial = ""
	}
	for i := range f.Memory.DIMMs {
		f.Memory.DIMMs[i].Serial = ""
	}
	sas := regexp.MustCompile(`0x[0-9a-f]{16}`)
	for i := range f.Disks {
		d := &f.Disks[i]
		d.Serial, d.WWN, d.Path = "", "", sas.ReplaceAllString(d.Path, "ADDRESS")
	}
	slices.SortFunc(f.Disks, func(a, b Disk) int { return strings.Compare(a.Name, b.Name) })
	for i := range f.NICs {
		f.NICs[i].MAC, f.NICs[i].CurrentMAC = "", ""
	}
	for i := range f.PSUs {
		f.PSUs[i].Serial = ""
	}
	encoded, _ := json.MarshalIndent(f, "", " ")
	return string(encoded)
}

func TestAnonymisedCaptureHasNoneOfTheOriginals(t *testing.T) {
	for name, root := range trees(t) {
		t.Run(name, func(t *testing.T) {
			before := detectIn(t, root)
			file := captureOf(t, root, CaptureOptions{Anonymise: true})
			after := detectIn(t, file)

			data, err := os.ReadFile(file)
			require.NoError(t, err)
			c, err := parseCapture(data)
			require.NoError(t, err)
			var raw []byte // with what is quoted in the file
			var walk func(n *node)
			walk = func(n *node) {
				raw = append(append(append(raw, n.content...), n.target...), '\n')
				for name, child := range n.children {
					raw = append(append(raw, name...), '\n')
					walk(child)
				}
			}
			walk(c.top)
			searched := 0
			for _, id := range identifiers(before) {
				forms := []string{id, strings.ToUpper(id), strings.ToLower(id), hex.EncodeToString([]byte(id))}
				plain := strings.NewReplacer(":", "", "-", "", "naa.", "", "eui.", "", "uuid.", "").Replace(id)
				forms = append(forms, plain, strings.ToUpper(plain))
				if b, err := hex.DecodeString(strings.ToLower(plain)); err == nil && len(b) >= 6 {
					forms = append(forms, string(b))
				}
				forms = append(forms, string(swapBytes([]byte(id))))
				for _, form := range forms {
					if len(form) >= 5 { // shorter ones are a part of anything
						searched++
						require.NotContains(t, string(raw), form, id)
					}
				}
			}
			if name == "sas-server" {
				require.Greater(t, searched, 100)
			}

			// Shapes, and the vendors' parts.
			ids, hidden := identifiers(before), identifiers(after)
			require.Len(t, hidden, len(ids))
			require.Equal(t, withoutIdentifiers(before), withoutIdentifiers(after), "everything else is the same")
		})
	}
}

func TestReplacementsKeepTheirShapeAndAreConsistent(t *testing.T) {
	a, err := newAnonymiser()
	require.NoError(t, err)
	require.Regexp(t, `^b8:59:9f:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}$`, a.mac("b8:59:9f:00:00:a0"))
	require.Equal(t, a.mac("b8:59:9f:00:00:a0"), a.mac("b8:59:9f:00:00:a0"))
	require.NotEqual(t, a.mac("b8:59:9f:00:00:a0"), a.mac("b8:59:9f:00:00:a1"))
	require.Regexp(t, `^naa\.5002538[0-9a-f]{9}$`, a.wwid("naa.5002538e40000001"))
	require.Regexp(t, `^eui\.0000000000000001002538[0-9a-f]{10}$`, a.wwid("eui.00000000000000010025384b71b02d32"))
	require.Regexp(t, `^[A-Z]{3}\d{4}$`, a.text("ABC1234"))
	board := a.text(".ABC1234.CNFCP0097100AB.")
	require.Regexp(t, `^\.[A-Z]{3}\d{4}\.[A-Z]{5}\d{7}[A-Z]{2}\.$`, board)
	require.Equal(t, a.text("ABC1234"), board[1:8], "a serial number within another one stays the same one")
	require.Equal(t, "To Be Filled By O.E.M.", a.text("To Be Filled By O.E.M."))
	require.Equal(t, "00000000-0000-0000-0000-000000000000", a.uuid("00000000-0000-0000-0000-000000000000"))
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$`,
		a.uuid("4c4c4544-0010-8020-30b3-c04f33323333"))

	other, err := newAnonymiser()
	require.NoError(t, err)
	require.NotEqual(t, a.text("ABC1234CNFCP0097100AB"), other.text("ABC1234CNFCP0097100AB"),
		"another capture has other replacements")
}

func TestAnonymisedCaptureHidesWhatTheMakerPutInTablesOfItsOwn(t *testing.T) {
	root := plant(t, "testdata/virtio-vm.tree")
	secret := smbiosStructure(221, 0x50, 12, []field{{4, []byte{0xb8, 0x59, 0x9f, 1, 2, 3}}}, "TAG-77123")
	write(t, root, "sys/firmware/dmi/tables/DMI", joinBytes(serverTables()[:0], secret,
		smbiosStructure(1, 1, 0x1b, []field{{4, 1}, {7, 2}, {6, 3}}, "Maker", "SN-1", "on TAG-77123"),
		endOfTable(), []byte("left over TAG-77123")))
	file := captureOf(t, root, CaptureOptions{Anonymise: true})
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	c, err := parseCapture(data)
	require.NoError(t, err)
	table, err := c.read("sys/firmware/dmi/tables/DMI")
	require.NoError(t, err)
	require.NotContains(t, string(table), "\xb8\x59\x9f")
	require.NotContains(t, string(table[:len(secret)]), "TAG-77123")
	f := detectIn(t, file)
	require.Equal(t, "Maker", f.System.Vendor)
	require.Regexp(t, `^[A-Z]{2}-\d$`, f.System.Serial)
	require.NotEqual(t, "SN-1", f.System.Serial)
}

func TestCaptureFilesAreCheckedLineByLine(t *testing.T) {
	for text, want := range map[string]string{
		"file a \"1\"\nmagic b":             "2: want dir, link, file, fails, seen or none, got \"magic\"",
		"file a 1":                          "1: the content of a is not a quoted string",
		"file /etc/passwd \"\"":             "is no path below the root",
		"file ../a \"\"":                    "is no path below the root",
		"dir \"a":                           "the quotes do not end",
		"dir":                               "the path: is missing",
		"link a":                            "the target of a",
		"link a ../..\nfile a/b \"\"":       "leads out of the machine",
		"link a b\nlink b a\nfile a/c \"\"": "too many levels",
	} {
		_, err := parseCapture([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
	file := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(file, []byte("# fine\n\nhello\n"), 0o600))
	_, err := Detect(context.Background(), WithRoot(file))
	require.ErrorContains(t, err, file+":3: ")
}

func FuzzCapture(f *testing.F) {
	for _, name := range []string{"virtio-vm", "uefi-box", "sas-server", "qemu-health"} {
		data, err := os.ReadFile("testdata/" + name + ".tree")
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte("link sys/class/net ../a\nfile a/eth0/address \"x\"\nfails sys/block EACCES\nseen \"b \\x00c\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCapture(data)
		if err != nil {
			return
		}
		ctx := context.Background()
		tree := &tree{files: c}
		want, err := tree.facts(ctx, options{health: time.Second, logger: discardLogger})
		require.NoError(t, err)
		encoded, err := json.Marshal(want)
		require.NoError(t, err)
		decoded, err := Decode(encoded)
		require.NoError(t, err)
		again, err := json.Marshal(decoded)
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(again))

		var b bytes.Buffer
		r := newRecorder(c)
		tree.files = r
		_, err = tree.facts(ctx, options{health: time.Second, logger: discardLogger})
		require.NoError(t, err)
		require.NoError(t, r.capture().write(&b))
		c2, err := parseCapture(b.Bytes())
		require.NoError(t, err)
		tree.files = c2
		got, err := tree.facts(ctx, options{health: time.Second, logger: discardLogger})
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}
