package configrepo

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
)

// archive is a repository in one text: files after lines of `-- NAME --`.
func archive(text string) fstest.MapFS {
	files := fstest.MapFS{}
	name := ""
	for line := range strings.SplitAfterSeq(text, "\n") {
		if strings.HasPrefix(line, "-- ") && strings.HasSuffix(line, " --\n") {
			name = line[3 : len(line)-4]
			files[name] = &fstest.MapFile{Mode: 0o644}
		} else if name != "" {
			files[name].Data = append(files[name].Data, line...)
		}
	}
	return files
}

// with is a repository with files replaced or added.
func with(base fstest.MapFS, text string) fstest.MapFS {
	files := fstest.MapFS{}
	for name, f := range base {
		files[name] = f
	}
	for name, f := range archive(text) {
		files[name] = f
	}
	return files
}

const sha = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// small is a repository with one of everything.
var small = archive(`
-- profiles/web.yaml --
description: Web servers
match:
  vendor: Dell Inc.
  product: PowerEdge R6*
os: debian
disk: {prefer: smallest}
steps:
  - name: settings
    script: scripts/settings.sh
    env: {NTP: "{{ .vars.ntp }}"}
vars:
  packages: [nginx]
-- os/debian.yaml --
kind: installer
installer: preseed
kernel: {path: debian/linux, sha256: ` + sha + `}
initrds: [{path: debian/initrd.gz, sha256: ` + sha + `}]
args: >-
  auto=true url={{ .boot.answers }}/preseed.cfg
  hostname={{ .machine.hostname }}
answers:
  preseed.cfg: templates/preseed.cfg.tmpl
-- vars/all.yaml --
ntp: {type: ip, description: time server}
packages: {type: list, description: what else is installed, default: []}
root_hash: {type: secret, description: hash of root's password}
-- sites/fra.yaml --
description: Frankfurt
vars: {ntp: 10.0.0.1}
-- sites/ber.yaml --
description: Berlin
vars: {ntp: 10.1.0.1}
-- templates/preseed.cfg.tmpl --
d-i passwd/root-password-crypted password {{ .vars.root_hash }}
d-i pkgsel/include string {{ join " " .vars.packages }}
{{ template "templates/snippets/report.tmpl" . }}
-- templates/snippets/report.tmpl --
d-i preseed/late_command string wget {{ .boot.report }}/done # {{ .vars.ntp }}
-- scripts/settings.sh --
#!/bin/sh
echo "$NTP"
`)

func load(t testing.TB, fsys fstest.MapFS) *Repo {
	t.Helper()
	repo, errs := Load(fsys)
	require.Empty(t, errs)
	return repo
}

func dell() *inventory.Machine {
	return &inventory.Machine{Serial: "ABC1", Name: "web1.example.org", Vendor: "Dell Inc.", Product: "PowerEdge R640"}
}

func TestSmall(t *testing.T) {
	repo := load(t, small)
	for _, w := range repo.Warnings() {
		fmt.Println(w)
	}
	p, err := repo.Render(Subject{Site: "fra", Machine: dell()})
	require.NoError(t, err)
	fmt.Printf("%+v\n%+v\n", p, p.Installer)
}
