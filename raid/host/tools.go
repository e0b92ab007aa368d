package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/command"
)

// places are where the makers' packages put their tools, and under which names they lie in PATH.
var places = map[raid.Tool][]string{
	raid.Storcli:  {"/opt/MegaRAID/storcli/storcli64", "storcli64", "storcli"},
	raid.Storcli2: {"/opt/MegaRAID/storcli2/storcli2", "storcli2"},
	raid.Perccli:  {"/opt/MegaRAID/perccli/perccli64", "perccli64", "perccli"},
	raid.Perccli2: {"/opt/MegaRAID/perccli2/perccli2", "perccli2"},
	raid.Megacli:  {"/opt/MegaRAID/MegaCli/MegaCli64", "MegaCli64", "megacli", "MegaCli"},
	raid.Ssacli: {"/opt/smartstorageadmin/ssacli/bin/ssacli", "ssacli", "/opt/hp/hpssacli/bld/hpssacli", "hpssacli",
		"hpacucli"},
	raid.Arcconf:  {"/usr/Arcconf/arcconf", "/usr/StorMan/arcconf", "arcconf"},
	raid.Mvcli:    {"/opt/dell/mvcli/mvcli", "mvcli"},
	raid.Mnvcli:   {"mnv_cli", "mnvcli"},
	raid.Sas2ircu: {"sas2ircu"},
	raid.Sas3ircu: {"sas3ircu"},
	raid.Mdadm:    {"mdadm"},
	raid.Nvme:     {"nvme"},
}

// LookPath finds a tool where its maker's package puts it, in [command.DefaultPath], in /usr/local, or in PATH, of
// which what is not absolute is left out. The error wraps [ErrNoTool].
func LookPath(_ context.Context, t raid.Tool) (string, error) {
	dirs := append(strings.Split(command.DefaultPath, ":"), "/usr/local/sbin", "/usr/local/bin")
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, place := range places[t] {
		files := []string{place}
		if !strings.HasPrefix(place, "/") {
			files = nil
			for _, dir := range dirs {
				files = append(files, filepath.Join(dir, place))
			}
		}
		for _, file := range files {
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("%w: %s is looked for as %s", ErrNoTool, t, strings.Join(places[t], ", "))
}
