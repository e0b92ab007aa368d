package sasircu_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/sasircu"
)

const list = `
         Adapter      Vendor  Device                       SubSys  SubSys 
 Index    Type          ID      ID    Pci Address          Ven ID  Dev ID 
 -----  ------------  ------  ------  -----------------    ------  ------ 
   0     SAS2008     1000h    72h   00h:03h:00h:00h      1000h   3020h 

         Adapter      Vendor  Device                       SubSys  SubSys 
 Index    Type          ID      ID    Pci Address          Ven ID  Dev ID 
 -----  ------------  ------  ------  -----------------    ------  ------ 
   1     SAS2308_1   1000h    87h   00h:82h:00h:00h      1000h   3040h 
SAS2IRCU: Utility Completed Successfully.
`

const status = `Background command progress status for controller 1...
IR Volume 1
  Volume ID                               : 286
  Current operation                       : Synchronize
  Volume status                           : Enabled
  Volume state                            : Degraded
  Percentage complete                     : 4.19%
SAS2IRCU: Command STATUS Completed Successfully.
`

func TestAllControllersOfAMachineAreReadFromItsOutputs(t *testing.T) {
	display, err := os.ReadFile("testdata/degraded.txt")
	require.NoError(t, err)
	one, err := sasircu.Parse(display, []byte(status), []byte(list))
	require.NoError(t, err)
	require.Equal(t, "1", one.Controller.ToolID)
	require.Equal(t, "Synchronize", one.Volumes[0].Progress.What)
	require.InDelta(t, 0.0419, one.Volumes[0].Progress.Fraction, 1e-9)

	other := bytes.Replace(display, []byte(": 130\n"), []byte(": 3\n"), 1)
	all, err := sasircu.ParseAll(append(append([]byte(list), other...), display...), []byte(status))
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, raid.ControllerID("0000:03:00.0"), all[0].Controller.ID)
	require.Equal(t, raid.ControllerID("0000:82:00.0"), all[1].Controller.ID)
	require.Equal(t, all[0].Disks, all[1].Disks)
	require.Nil(t, all[0].Volumes[0].Progress, "of which of both does nobody tell")

	_, err = sasircu.Parse(other, display)
	require.ErrorContains(t, err, "two controllers")
	_, err = sasircu.ParseAll([]byte("SAS2IRCU: there are no IR volumes on the controller!\n"))
	require.ErrorContains(t, err, "none of this")
}
