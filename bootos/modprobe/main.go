// Modprobe loads kernel modules by name or alias, with what they depend on. The kernel starts it as
// `/sbin/modprobe -q -- NAME` when it wants a file system, a cipher or a network protocol; scripts may as well.
// Options that begin with a dash are ignored.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/project-loda/loda/bootos/early"
	"github.com/project-loda/loda/bootos/modules"
)

func main() {
	quiet := false
	var names []string
	for _, arg := range os.Args[1:] {
		if strings.HasPrefix(arg, "-") {
			quiet = quiet || arg == "-q"
			continue
		}
		names = append(names, arg)
	}
	if err := load(names); err != nil {
		if !quiet || !errors.Is(err, modules.ErrNoModule) {
			fmt.Fprintln(os.Stderr, "modprobe:", err)
		}
		os.Exit(1)
	}
}

// load takes what follows the first name as the module's parameters, as everybody's modprobe does.
func load(args []string) error {
	if len(args) == 0 {
		return errors.New("no module given")
	}
	cmdline, err := early.ReadCmdline()
	if err != nil {
		return err
	}
	loader, err := early.NewLoader(cmdline)
	if err != nil {
		return err
	}
	if params := args[1:]; len(params) > 0 {
		name := modules.CanonicalName(args[0])
		loader.Params[name] = strings.TrimSpace(loader.Params[name] + " " + strings.Join(params, " "))
	}
	return loader.Load(args[0])
}
