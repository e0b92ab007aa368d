package loda

import (
	"regexp"
	"strings"
)

// Late is a value that is not known when a profile is pinned: a secret of the site, or an address of the boot that is
// to come. In the pinned texts it is a placeholder, so that neither the plan nor the database holds secrets, and the same
// commit always renders the same bytes. The value is put in when the text leaves for the machine.
//
// It is a type of its own so that no function of a template takes it for a text that can be changed or encoded.
type Late string

// The late values of a boot, as templates name them below `.boot`.
const (
	// LateServer is the base URL of the boot server, such as http://10.77.0.1:8080.
	LateServer Late = "boot:server"
	// LateAnswers is the URL below which the answer files lie, with the one-time token of this boot.
	LateAnswers Late = "boot:answers"
	// LateReport is the URL below which the installer reports, with the same token: LateReport/stage?name=...,
	// LateReport/log, LateReport/done, LateReport/failed, and, from the installed system, LateReport/installed.
	LateReport Late = "boot:report"
	// LateMAC is the hardware address that the machine boots by.
	LateMAC Late = "boot:mac"
)

// LateSecret is a secret of the site.
func LateSecret(name string) Late { return Late("secret:" + name) }

// String is the placeholder.
func (l Late) String() string { return "@@loda." + string(l) + "@@" }

var placeholder = regexp.MustCompile(`@@loda\.([a-z]+:[A-Za-z0-9_.-]+)@@`)

// LateIn lists the late values that a text waits for, each once, in order.
func LateIn(text string) []Late {
	var all []Late
	seen := map[string]bool{}
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		if !seen[m[1]] {
			seen[m[1]] = true
			all = append(all, Late(m[1]))
		}
	}
	return all
}

// Fill puts values in. missing are those that value does not know; they stay placeholders.
func Fill(text string, value func(Late) (string, bool)) (filled string, missing []Late) {
	if !strings.Contains(text, "@@loda.") {
		return text, nil
	}
	filled = placeholder.ReplaceAllStringFunc(text, func(m string) string {
		l := Late(placeholder.FindStringSubmatch(m)[1])
		v, ok := value(l)
		if !ok {
			missing = append(missing, l)
			return m
		}
		return v
	})
	return filled, missing
}
