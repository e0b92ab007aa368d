package agentapi

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEverythingThatIsWrongWithAScriptIsReportedAtOnce(t *testing.T) {
	err := (&RunScript{Name: "\x00", TimeoutSeconds: -1, Interpreter: []string{"", "\x00"},
		Env:       map[string]string{"A=B": "", "": "", "LODA_SERIAL": "x", "OK": "\x00"},
		ExitCodes: []int{-1, 256}}).Validate()
	for _, want := range []string{"script: has 0 bytes", "interpreter: want a program", "interpreter[1]", "timeout: -1 s",
		`env: "A=B"`, `env: "" is`, "env: LODA_SERIAL", "env: OK", "exit_codes: -1", "exit_codes: 256", "zero byte"} {
		require.ErrorContains(t, err, want)
	}
	for says, change := range map[string]func(*RunScript){
		"":             func(*RunScript) {},
		"name":         func(s *RunScript) { s.Name = " " },
		"script":       func(s *RunScript) { s.Script = strings.Repeat("x", MaxScript+1) },
		"interpreter:": func(s *RunScript) { s.Interpreter = nil },
		"interpreter[": func(s *RunScript) { s.Interpreter = []string{"sh", strings.Repeat("x", 1<<17)} },
		"timeout":      func(s *RunScript) { s.TimeoutSeconds = MaxScriptSeconds + 1 },
		"env: A":       func(s *RunScript) { s.Env = map[string]string{"A": strings.Repeat("x", 1<<17)} },
		"secrets":      func(s *RunScript) { s.Secrets = make([]string, 1001) },
	} {
		s := RunScript{Name: "raid", Script: "true", Interpreter: []string{"/bin/sh"}, TimeoutSeconds: 1}
		change(&s)
		if err := s.Validate(); says == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, says)
		}
	}
}
