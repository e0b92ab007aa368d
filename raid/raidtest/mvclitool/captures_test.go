package mvclitool_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/mvcli"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/mvclitool"
)

type capture struct {
	file, args string
	state      func() *raidtest.Controller
	// edited is what the capture's author put into the place of the tool's words.
	edited map[string]string
}

func captures() []capture {
	boss := func() *raidtest.Controller { return machine().Controllers[0] }
	// with puts a volume of the first drives on a card.
	with := func(c *raidtest.Controller, v raidtest.Volume, drives int) *raidtest.Controller {
		for _, d := range c.Drives[:drives] {
			d.State = raid.DiskOnline
			v.Members = append(v.Members, d.Serial)
		}
		c.Volumes = []*raidtest.Volume{&v}
		return c
	}
	kit := func() *raidtest.Controller {
		c := mvclitool.NVMeCard("0000:e5:00.0", "R2SH08B004S")
		c.Extra["Device"] = "/dev/nvme6"
		c.AddDrives(2, hw.NVMe, hw.BusNVMe, 1875385008*512)
		for i, serial := range []string{"S50NNA0NA00240", "S50NNA0NA00193"} {
			c.Drives[i].Serial, c.Drives[i].Model, c.Drives[i].Firmware = serial, "MZ1LB960HAJQ-000V7", "CR30"
		}
		return with(c, raidtest.Volume{Level: raid.Level1, Bytes: 894 << 30}, 2)
	}
	return []capture{
		{file: "mvcli/ironlib_info-hba.txt", args: "info -o hba", state: boss},
		{file: "mvcli/ironlib_info-vd.txt", args: "info -o vd", state: func() *raidtest.Controller {
			return with(boss(), raidtest.Volume{Name: "Test_MvcliCreateVirtualDisk", Level: raid.Level1, Bytes: 228872 << 20,
				Strip: 64 << 10}, 2)
		}},
		{file: "mvcli/ironlib_create-ok.txt", args: "create -o vd -r1 -d 0,1 -n os -b 64 --waiveconfirmation", state: boss},
		{file: "mvcli/pyarc_vd_offline.txt", args: "info -o vd", state: func() *raidtest.Controller {
			c := with(boss(), raidtest.Volume{Name: "created_ra", Level: raid.Level0, Bytes: 228818 << 20, Strip: 64 << 10}, 1)
			c.Drives[0].State, c.Extra["SG driver"] = raid.DiskFailed, ""
			return c
		}},
		{file: "mvcli/pyarc_hba.txt", args: "info -o hba", state: func() *raidtest.Controller {
			c := boss()
			c.Firmware, c.Capabilities.JBOD = "2.3.99.1009", true
			c.Capabilities.Levels = []raid.LevelCapability{{Level: raid.Level0, MinDisks: 1, MaxDisks: 2},
				{Level: raid.Level1, MinDisks: 2, MaxDisks: 2}}
			c.Capabilities.Strips = []hw.Size{32 << 10, 64 << 10}
			c.Extra["Sub Product"], c.Extra["Rom version"] = "1b4b-9230", "0.0.0.0000"
			c.Extra["Advanced features"] = "event sense code,multi VD,spc 4,image health,timer,ata pass through,oem data"
			delete(c.Extra, "BIOS version")
			return c
		},
			// Its first line is gone, and with it the tool's banner.
			edited: map[string]string{"controller ID:": "SG driver version 3.5.36.\nAdapter ID:"}},
		{file: "mnvcli/drp_hba.txt", args: "info -o hba", state: kit},
		{file: "mnvcli/drp_pd.txt", args: "info -o pd", state: kit},
	}
}

func TestTheEmulatorInTheSameStatePrintsWhatTheToolPrinted(t *testing.T) {
	for _, c := range captures() {
		t.Run(c.file, func(t *testing.T) {
			text := string(raidtest.Capture(t, c.file))
			chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"),
				&raidtest.State{Controllers: []*raidtest.Controller{c.state()}})
			require.NoError(t, err)
			got, exit, err := mvclitool.Run(t.Context(), chassis, strings.Fields(c.args))
			require.NoError(t, err)
			assert.Zero(t, exit)
			for edited, was := range c.edited {
				require.Contains(t, text, edited)
				text = strings.ReplaceAll(text, edited, was)
			}
			assert.Equal(t, words(text), words(got))
		})
	}
}

func TestNoCaptureOfTheToolIsLeftOut(t *testing.T) {
	var compared []string
	for _, c := range captures() {
		compared = append(compared, c.file)
	}
	raidtest.NoneLeftOut(t, compared, "mvcli", "mnvcli")
}

func words(text string) string { return strings.Join(strings.Fields(text), "\n") }

func TestACardOfNVMeDrivesIsReadByTheDriver(t *testing.T) {
	c := mvclitool.NVMeCard("0000:e5:00.0", "KIT1")
	c.AddDrives(2, hw.NVMe, hw.BusNVMe, 1875385008*512)
	c.Drives[1].SMARTAlert = true
	chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"),
		&raidtest.State{Controllers: []*raidtest.Controller{c}})
	require.NoError(t, err)
	var outputs [][]byte
	for _, list := range []string{"hba", "pd"} {
		text, _, err := mvclitool.Run(t.Context(), chassis, []string{"info", "-o", list})
		require.NoError(t, err)
		outputs = append(outputs, []byte(text))
	}
	inv, err := mvcli.Parse(outputs...)
	require.NoError(t, err)
	assert.Equal(t, raid.ControllerID("0000:e5:00.0"), inv.Controller.ID)
	assert.Equal(t, "KIT1", inv.Controller.Serial)
	require.Len(t, inv.Disks, 2)
	assert.EqualValues(t, 1875385008*512, inv.Disks[0].Bytes)
	assert.False(t, *inv.Disks[0].SMARTAlert)
	assert.True(t, *inv.Disks[1].SMARTAlert)
}
