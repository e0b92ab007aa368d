// Sh is the shell of bootOS's scripts, `/bin/sh`:
//
//	sh [-aefnux] [-o pipefail] [--] [FILE [ARGUMENT...]]
//	sh [options] -c COMMAND [NAME [ARGUMENT...]]
//
// It is the shell language of mvdan.cc/sh, which is POSIX's with most of Bash's extensions, as in u-root's gosh; but
// gosh takes no options and passes no arguments, and what installs machines wants `-e`. Without a file it reads
// standard input, or is gosh when that is a terminal.
//
// What it lacks of other shells: a job in the background is no process of its own, so that `kill $!` does not find it
// (`wait` does); `trap` knows EXIT and ERR, and no signals; there are no descriptors but 0, 1 and 2, no `<&1`, `<>` and
// `>|`, no `ulimit` and no `umask`. A script that uses such a redirection is refused before any of it is run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// usage is the exit status of other shells for what they cannot begin with.
const usage = 2

func run(args []string, stdin *os.File, stdout, stderr io.Writer) (status int) {
	complain := func(err error) int {
		fmt.Fprintln(stderr, "sh:", err)
		return usage
	}
	options, command, isCommand, args, err := parse(args)
	if err != nil {
		return complain(err)
	}
	var source io.Reader = stdin
	name := "sh"
	switch {
	case isCommand:
		source = strings.NewReader(command)
		if len(args) > 0 {
			name, args = args[0], args[1:]
		}
	case len(args) > 0:
		name, args = args[0], args[1:]
		f, err := os.Open(name)
		if err != nil {
			_ = complain(err)
			return 127
		}
		defer f.Close()
		source = f
	default:
		if info, err := stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && len(options) == 0 {
			err := syscall.Exec("/bbin/gosh", []string{"gosh"}, os.Environ())
			return complain(fmt.Errorf("gosh: %w", err))
		}
	}
	program, err := syntax.NewParser().Parse(source, name)
	if err != nil {
		return complain(err)
	}
	if err := understood(program, name); err != nil {
		return complain(err)
	}
	params := append(append(options, "--"), args...)
	runner, err := interp.New(interp.StdIO(stdin, stdout, stderr), interp.Params(params...))
	if err != nil {
		return complain(err)
	}
	defer func() {
		if p := recover(); p != nil {
			status = complain(fmt.Errorf("%s: %v", name, p))
		}
	}()
	err = runner.Run(context.Background(), program)
	if err == nil {
		return 0
	}
	if exit, ok := interp.IsExitStatus(err); ok {
		return int(exit)
	}
	return complain(err)
}

// understood finds before anything is run what the interpreter would panic at, in the middle of an installation.
func understood(program *syntax.File, name string) error {
	var errs []error
	bad := func(n syntax.Node, what string) {
		errs = append(errs, fmt.Errorf("%s:%s: this shell has no %s", name, n.Pos(), what))
	}
	syntax.Walk(program, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CoprocClause:
			bad(n, "coproc")
		case *syntax.Redirect:
			to := ""
			if n.Word != nil {
				to = n.Word.Lit()
			}
			switch {
			case n.N != nil && !slices.Contains([]string{"0", "1", "2"}, n.N.Value):
				bad(n, "descriptors but 0, 1 and 2")
			case n.Op == syntax.DplOut && !slices.Contains([]string{"1", "2", "-"}, to):
				bad(n, "redirection to other descriptors than 1 and 2")
			case n.Op == syntax.DplIn && to != "-", n.Op == syntax.ClbOut, n.Op == syntax.RdrInOut:
				bad(n, n.Op.String()+" redirection")
			}
		}
		return true
	})
	return errors.Join(errs...)
}

// parse tells the shell's own options from the script's arguments.
func parse(args []string) (options []string, command string, isCommand bool, rest []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" {
			args = args[1:]
			break
		}
		if len(arg) < 2 || arg[0] != '-' && arg[0] != '+' {
			break
		}
		args = args[1:]
		for _, letter := range arg[1:] {
			switch {
			case letter == 'c' && arg[0] == '-':
				isCommand = true
			case letter == 'o':
				if len(args) == 0 {
					return nil, "", false, nil, fmt.Errorf("%s: which option?", arg)
				}
				options = append(options, arg[:1]+"o", args[0])
				args = args[1:]
			default:
				options = append(options, arg[:1]+string(letter))
			}
		}
	}
	if isCommand {
		if len(args) == 0 {
			return nil, "", false, nil, errors.New("-c: which command?")
		}
		command, args = args[0], args[1:]
	}
	return options, command, isCommand, args, nil
}
