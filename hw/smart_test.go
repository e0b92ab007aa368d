//go:build linux

package hw

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func answered(pairs ...any) smartAnswers {
	a := smartAnswers{}
	for i := 0; i < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case []byte:
			a[pairs[i].(string)] = smartAnswer{data: v}
		case error:
			a[pairs[i].(string)] = smartAnswer{err: v}
		}
	}
	return a
}

func ptr[T any](v T) *T { return &v }

func nvmePage(warning, used byte, kelvin uint16, hours, mediaErrors uint64) []byte {
	b := make([]byte, 512)
	b[0], b[3], b[4], b[5] = warning, 100, 10, used
	binary.LittleEndian.PutUint16(b[1:], kelvin)
	binary.LittleEndian.PutUint64(b[128:], hours)
	binary.LittleEndian.PutUint64(b[160:], mediaErrors)
	return b
}

// ataPage has attributes as id → the first bytes of the raw value.
func ataPage(attributes map[byte][]byte) []byte {
	b := make([]byte, 512)
	i := 2
	for id, raw := range attributes {
		b[i], b[i+3], b[i+4] = id, 100, 99
		copy(b[i+5:i+11], raw)
		b[i+11] = 0x55 // reserved, and not a part of the value
		i += 12
	}
	return withChecksum(b)
}

func withChecksum(b []byte) []byte {
	b[511] = 0
	var sum byte
	for _, v := range b {
		sum += v
	}
	b[511] = -sum
	return b
}

// logPage has parameters as code, value, code, value.
func scsiPage(page byte, parameters ...any) []byte {
	b := []byte{page, 0, 0, 0}
	for i := 0; i < len(parameters); i += 2 {
		value, _ := hex.DecodeString(parameters[i+1].(string))
		b = binary.BigEndian.AppendUint16(b, uint16(parameters[i].(int)))
		b = append(append(b, 0x03, byte(len(value))), value...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return b
}

func endurancePage(statistic uint64) []byte {
	b := make([]byte, 512)
	b[0], b[2] = 1, 7
	binary.LittleEndian.PutUint64(b[8:], statistic)
	return b
}

const (
	passedSense = "72010 01d0000000e090c00000000000000 4f00c20050"
	failedSense = "7201001d0000000e090c00000000000000f4002c0050"
	fixedSense  = "70000100500000000000 4fc2001d0000000000"
)

func sense(t testing.TB, s string) []byte {
	t.Helper()
	clean := ""
	for _, r := range s {
		if r != ' ' {
			clean += string(r)
		}
	}
	b, err := hex.DecodeString(clean)
	require.NoError(t, err)
	return b
}

func TestHealthOfDisks(t *testing.T) {
	nvme := &Disk{Name: "nvme0n1", Kind: PhysicalDisk, Bus: BusNVMe, Medium: NVMe}
	ssd := &Disk{Name: "sda", Kind: PhysicalDisk, Bus: BusATA, Medium: SSD}
	hdd := &Disk{Name: "sdb", Kind: PhysicalDisk, Bus: BusATA, Medium: HDD}
	sas := &Disk{Name: "sdc", Kind: PhysicalDisk, Bus: BusSAS, Medium: HDD}
	sasSSD := &Disk{Name: "sdd", Kind: PhysicalDisk, Bus: BusSAS, Medium: SSD}
	for name, c := range map[string]struct {
		disk    *Disk
		answers smartAnswers
		want    DiskHealth
		unknown []string
	}{
		"NVMe": {nvme, answered(nvmeHealth, nvmePage(0, 3, 308, 12345, 0)),
			DiskHealth{Passed: ptr(true), WearPercent: ptr(3), MediaErrors: ptr[int64](0),
				PowerOnHours: ptr[int64](12345), TemperatureC: ptr(35)}, nil},
		"NVMe worn out, with an alert": {nvme, answered(nvmeHealth, nvmePage(0x04, 137, 0, 1, 7)),
			DiskHealth{Passed: ptr(false), WearPercent: ptr(137), MediaErrors: ptr[int64](7),
				PowerOnHours: ptr[int64](1)}, nil},
		"NVMe that answers with zeros": {nvme, answered(nvmeHealth, make([]byte, 512)), DiskHealth{},
			[]string{"passed", "wear_percent", "media_errors"}},
		"NVMe that refuses": {nvme, answered(nvmeHealth, syscall.EPERM), DiskHealth{},
			[]string{"passed", "wear_percent", "media_errors"}},
		"SATA SSD": {ssd, answered(
			ataData, ataPage(map[byte][]byte{5: {2, 0, 9}, 9: {0x10, 0x27, 0, 0xff}, 187: {1}, 194: {0xfb},
				197: {0, 1}}),
			ataStatus, sense(t, passedSense), ataEndurance, endurancePage(0xc000000000000063)),
			DiskHealth{Passed: ptr(true), WearPercent: ptr(99), MediaErrors: ptr[int64](1), Reallocated: ptr[int64](2),
				Pending: ptr[int64](256), PowerOnHours: ptr[int64](10000), TemperatureC: ptr(-5)}, nil},
		"SATA SSD that does not keep its endurance": {ssd, answered(
			ataData, ataPage(map[byte][]byte{5: {}, 187: {}, 197: {}}),
			ataStatus, sense(t, fixedSense), ataEndurance, endurancePage(0x8000000000000063)),
			DiskHealth{Passed: ptr(true), MediaErrors: ptr[int64](0), Reallocated: ptr[int64](0),
				Pending: ptr[int64](0)}, []string{"wear_percent"}},
		"SATA disk that predicts its end": {hdd, answered(
			ataData, ataPage(map[byte][]byte{5: {0xff, 0xff}}), ataStatus, sense(t, failedSense)),
			DiskHealth{Passed: ptr(false), Reallocated: ptr[int64](65535)}, []string{"media_errors", "pending"}},
		"SATA disk with a wrong checksum": {hdd, answered(
			ataData, append(ataPage(map[byte][]byte{5: {1}})[:511], 0xee), ataStatus, []byte{0}),
			DiskHealth{}, []string{"passed", "media_errors", "reallocated", "pending"}},
		"SATA disk with SMART switched off": {hdd, answered(
			ataData, error(senseError{0x0b, 0, 0}), ataStatus, error(senseError{0x0b, 0, 0})),
			DiskHealth{}, []string{"passed", "media_errors", "reallocated", "pending"}},
		"SAS disk": {sas, answered(
			scsiExceptions, scsiPage(0x2f, 0, "000021"),
			scsiWrite, scsiPage(0x02, 0, "01", 6, "00"), scsiRead, scsiPage(0x03, 5, "0102030405060708", 6, "0000000b"),
			scsiVerify, scsiPage(0x05, 6, "0002"), scsiTemperature, scsiPage(0x0d, 0, "0021", 1, "003c"),
			scsiScan, scsiPage(0x15, 0, "0000ea6008010000"), scsiDefects, []byte{0, 0x0c, 0, 0, 0, 0, 0, 24}),
			DiskHealth{Passed: ptr(true), MediaErrors: ptr[int64](13), Reallocated: ptr[int64](3),
				PowerOnHours: ptr[int64](1000), TemperatureC: ptr(33)}, nil},
		"SAS disk that predicts its end": {sas, answered(
			scsiExceptions, scsiPage(0x2f, 0, "5d1021"), scsiDefects, []byte{0, 0x04, 0, 0, 0, 0, 0, 24}),
			DiskHealth{Passed: ptr(false)}, []string{"media_errors", "reallocated"}},
		"SAS SSD": {sasSSD, answered(
			scsiExceptions, scsiPage(0x2f, 0, "0000ff"), scsiRead, scsiPage(0x03, 6, ""),
			scsiSolidState, scsiPage(0x11, 1, "00000007")),
			DiskHealth{Passed: ptr(true), WearPercent: ptr(7)}, []string{"media_errors"}},
		"SAS disk with another page": {sas, answered(scsiExceptions, scsiPage(0x2e, 0, "0000ff"),
			scsiWrite, scsiPage(0x02, 6, "ffffffffffffffff")), DiskHealth{},
			[]string{"passed", "media_errors", "reallocated"}},
		"silent disk": {hdd, smartAnswers{}, DiskHealth{},
			[]string{"passed", "media_errors", "reallocated", "pending"}},
	} {
		t.Run(name, func(t *testing.T) {
			// Through the text that a capture keeps.
			again, err := parseSmart(c.answers.format())
			require.NoError(t, err)
			got := again.health(c.disk)
			require.Equal(t, c.unknown, paths(got.Unknown))
			for _, u := range got.Unknown {
				require.NotEmpty(t, u.Reason)
			}
			got.Unknown = nil
			require.Equal(t, c.want, *got)
		})
	}
}

func TestHealthOfACapturedMachine(t *testing.T) {
	f, err := Detect(context.Background(), WithRoot("testdata/qemu-health.tree"), WithHealth(time.Second))
	require.NoError(t, err)
	encoded, err := json.MarshalIndent(f, "", "  ")
	require.NoError(t, err)
	golden(t, "qemu-health.json", append(encoded, '\n'))
	disks := map[string]*DiskHealth{}
	for _, d := range f.Disks {
		disks[d.Name] = d.Health
	}
	require.True(t, *disks["nvme0n1"].Passed)
	require.Equal(t, 50, *disks["nvme0n1"].TemperatureC)
	require.True(t, *disks["sda"].Passed, "RETURN STATUS through libata")
	require.Equal(t, 31, *disks["sda"].TemperatureC)
	require.Nil(t, disks["sda"].WearPercent)
	require.Nil(t, disks["sdb"].Passed)
	require.Contains(t, disks["sdb"].Unknown[0].Reason, "refuses the command")
	require.Nil(t, disks["vda"], "a virtio disk has none, and is not asked")
	for _, n := range f.NICs {
		if n.Driver == "e1000e" {
			require.Equal(t, 1000, n.MaxSpeedMbps, "the interface is down")
		}
	}

	anonymous := detectIn(t, captureOf(t, "testdata/qemu-health.tree", CaptureOptions{Anonymise: true}),
		WithHealth(time.Second))
	for i, d := range anonymous.Disks {
		require.Equal(t, f.Disks[i].Health, d.Health)
		require.NotEqual(t, f.Disks[i].Serial, d.Serial)
	}
}

func TestDiskThatDoesNotAnswerIsGivenUpAndNotAskedTwice(t *testing.T) {
	release := make(chan struct{})
	ask := func() ([]byte, error) { <-release; return []byte("late"), nil }
	start := time.Now()
	_, err := askPatiently(context.Background(), "test-hanging", 20*time.Millisecond, ask)
	require.ErrorContains(t, err, "did not answer within 20ms")
	require.Less(t, time.Since(start), 5*time.Second)

	_, err = askPatiently(context.Background(), "test-hanging", time.Minute, func() ([]byte, error) {
		t.Error("asked a disk that still owes an answer")
		return nil, nil
	})
	require.ErrorContains(t, err, "still owes an answer")

	close(release)
	require.Eventually(t, func() bool {
		data, err := askPatiently(context.Background(), "test-hanging", time.Second, func() ([]byte, error) {
			return []byte("alive"), nil
		})
		return err == nil && string(data) == "alive"
	}, 5*time.Second, 10*time.Millisecond, "it is asked again when it has answered")
}

func TestSilentDiskLacksWhatADiskOfItsSortTells(t *testing.T) {
	for _, d := range []Disk{{Name: "nvme0n1", Bus: BusNVMe, Medium: NVMe}, {Name: "sda", Bus: BusATA, Medium: SSD},
		{Name: "sda", Bus: BusATA, Medium: HDD}, {Name: "sda", Bus: BusSAS, Medium: SSD},
		{Name: "sda", Bus: BusSAS, Medium: HDD}, {Name: "sda", Bus: BusSCSI, Medium: MediumUnknown},
		{Name: "sda", Bus: BusNVMe, Medium: NVMe}} {
		require.ElementsMatch(t, healthFields(&d), paths(smartAnswers{}.health(&d).Unknown), "%s %s", d.Bus, d.Medium)
	}
}

func TestAskingADiskEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	release := make(chan struct{})
	defer close(release)
	_, err := askPatiently(ctx, "test-cancelled", time.Minute, func() ([]byte, error) { <-release; return nil, nil })
	require.ErrorIs(t, err, context.Canceled)
}

func TestOnlyDisksThatCanTellAreAsked(t *testing.T) {
	root := plantServer(t)
	for _, d := range []string{"sda", "sdb", "sdc", "sdd", "sde", "sdf", "sdg", "sdk", "nvme0n1"} {
		write(t, root, filepath.Join("ioctl/smart", d), answered(nvmeHealth, nvmePage(0, 1, 300, 2, 3)).format())
	}
	f, err := Detect(context.Background(), WithRoot(root), WithHealth(time.Second))
	require.NoError(t, err)
	for _, d := range f.Disks {
		asked := d.Kind == PhysicalDisk && d.Bus != BusUSB
		require.Equal(t, asked, d.Health != nil, d.Name)
	}
	require.Contains(t, paths(f.Unknowns()), "disks[sdb]/health/passed")

	without, err := Detect(context.Background(), WithRoot(root))
	require.NoError(t, err)
	for _, d := range without.Disks {
		require.Nil(t, d.Health)
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "ioctl/smart/sdb"), []byte("ata_data xyz\n"), 0o644))
	f, err = Detect(context.Background(), WithRoot(root), WithHealth(time.Second))
	require.NoError(t, err)
	for _, d := range f.Disks {
		if d.Name == "sdb" {
			require.Equal(t, []string{"passed", "media_errors", "wear_percent", "reallocated", "pending"},
				paths(d.Health.Unknown))
		}
	}
}

func TestHealthOfThisMachineIsKnownOrHasAReason(t *testing.T) {
	f, err := Detect(context.Background(), WithHealth(5*time.Second))
	require.NoError(t, err)
	for _, d := range f.Disks {
		if d.Health != nil && d.Health.Passed == nil {
			require.Contains(t, paths(d.Health.Unknown), "passed")
		}
	}
}

func FuzzSmart(f *testing.F) {
	f.Add("nvme0n1", "nvme", answered(nvmeHealth, nvmePage(0, 1, 300, 2, 3)).format())
	f.Add("sda", "ata", answered(ataData, ataPage(map[byte][]byte{5: {1}, 194: {30}}),
		ataStatus, []byte{0x72, 1, 0, 0x1d, 0, 0, 0, 14, 9, 12}, ataEndurance, endurancePage(3)).format())
	f.Add("sdb", "sas", answered(scsiExceptions, scsiPage(0x2f, 0, "5d00"), scsiRead, scsiPage(3, 6, "01"),
		scsiDefects, []byte{0, 8, 0, 0, 255, 255, 255, 255}).format())
	f.Add("sdb", "sas", []byte("scsi_exceptions error no\n"))
	f.Fuzz(func(t *testing.T, name, bus string, text []byte) {
		answers, err := parseSmart(text)
		if err != nil {
			return
		}
		for _, medium := range []Medium{HDD, SSD} {
			h := answers.health(&Disk{Name: name, Bus: Bus(bus), Medium: medium})
			if h.Passed == nil && len(h.Unknown) == 0 {
				t.Errorf("no verdict and no reason: %+v", h)
			}
			for _, n := range []*int64{h.MediaErrors, h.Reallocated, h.Pending, h.PowerOnHours} {
				if n != nil && *n < 0 {
					t.Errorf("a negative count: %+v", h)
				}
			}
			_, err := json.Marshal(h)
			require.NoError(t, err)
		}
		again, err := parseSmart(answers.format())
		require.NoError(t, err)
		require.Len(t, again, len(answers))
	})
}
