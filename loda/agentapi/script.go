package agentapi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// maxArg: Linux takes no argument or variable that is longer (MAX_ARG_STRLEN).
const maxArg = 128<<10 - 1

// Validate reports everything that is wrong with a script, whatever machine it is for. The agent runs none that it
// refuses.
func (s *RunScript) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if strings.TrimSpace(s.Name) == "" || len(s.Name) > 128 {
		bad("name: want 1 to 128 bytes")
	}
	if s.Script == "" || len(s.Script) > MaxScript {
		bad("script: has %d bytes, want 1 to %d", len(s.Script), MaxScript)
	}
	if len(s.Interpreter) == 0 || len(s.Interpreter) > 64 || s.Interpreter[0] == "" {
		bad("interpreter: want a program and at most 63 arguments, such as /bin/sh -e")
	}
	for i, arg := range s.Interpreter {
		if strings.ContainsRune(arg, 0) || len(arg) > maxArg {
			bad("interpreter[%d]: holds a zero byte, or is longer than %d bytes", i, maxArg)
		}
	}
	if s.TimeoutSeconds < 1 || s.TimeoutSeconds > MaxScriptSeconds {
		bad("timeout: %d s, want 1 to %d", s.TimeoutSeconds, MaxScriptSeconds)
	}
	if len(s.Env) > 1000 {
		bad("env: %d variables, want at most 1000", len(s.Env))
	}
	for name, value := range s.Env {
		switch {
		case len(name) > 256 || !envName.MatchString(name):
			bad("env: %q is no name of a variable: want letters, digits and underscores", name)
		case strings.HasPrefix(name, "LODA_"):
			bad("env: %s: names with LODA_ are Loda's own", name)
		case strings.ContainsRune(value, 0) || len(name)+1+len(value) > maxArg:
			bad("env: %s: holds a zero byte, or is longer than %d bytes", name, maxArg)
		}
	}
	if strings.ContainsRune(s.Name+s.Serial+s.Installation, 0) {
		bad("name, serial and installation: one of them holds a zero byte")
	}
	if len(s.Secrets) > 1000 {
		bad("secrets: %d, want at most 1000", len(s.Secrets))
	}
	for _, code := range s.ExitCodes {
		if code < 0 || code > 255 {
			bad("exit_codes: %d is none, want 0 to 255", code)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
