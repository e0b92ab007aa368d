package configrepo

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// fleet is a repository of a large owner: profiles, and four template files for each of them, with shared snippets.
func fleet(profiles int) fstest.MapFS {
	files := with(small, "")
	delete(files, "profiles/web.yaml")
	delete(files, "os/debian.yaml")
	delete(files, "templates/preseed.cfg.tmpl")
	put := func(name, format string, args ...any) {
		files[name] = &fstest.MapFile{Data: fmt.Appendf(nil, format, args...), Mode: 0o644}
	}
	vendors := []string{"Dell Inc.", "HPE", "Lenovo", "Supermicro"}
	body := strings.Repeat("d-i some/question string {{ .vars.ntp }} {{ if .machine.rack }}{{ lower .machine.rack }}{{ end }}\n", 12)
	for i := range profiles {
		put(fmt.Sprintf("profiles/p%d.yaml", i), `
description: Profile number %d
match:
  vendor: %s
  product: Model %d *
  except:
    - labels: {state: broken}
os: os%d
disk: {min_size: 400GB, medium: ssd, prefer: smallest}
steps:
  - name: settings
    script: scripts/settings.sh
    timeout: 5m
    env:
      NTP: "{{ .vars.ntp }}"
      HOST: "{{ .machine.hostname }}"
ssh_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0C8sKq8M7Yf2mXh0m8kTn2Yy0zv4vXo9Xb3E1rQp5u ops@example.org]
kernel_args: ["console=ttyS1,115200"]
vars:
  packages: [nginx, curl, jq]
`, i, vendors[i%len(vendors)], i, i)
		put(fmt.Sprintf("os/os%d.yaml", i), `
kind: installer
installer: preseed
kernel: {path: debian/linux, sha256: %[2]s}
initrds: [{path: debian/initrd.gz, sha256: %[2]s}]
args: auto=true url={{ .boot.answers }}/preseed.cfg hostname={{ .machine.hostname }}
answers:
  preseed.cfg: templates/t%[1]d/preseed.cfg.tmpl
  late.sh: templates/t%[1]d/late.sh.tmpl
`, i, sha)
		for _, name := range []string{"preseed.cfg", "late.sh"} {
			put(fmt.Sprintf("templates/t%d/%s.tmpl", i, name), `# {{ .machine.serial }}
{{ template "templates/t%[1]d/a.tmpl" . }}
{{ template "templates/t%[1]d/b.tmpl" dict "host" .machine.hostname "report" .boot.report }}
{{ range .vars.packages }}{{ . }} {{ end }}{{ .vars.root_hash }}
%[2]s`, i, body)
		}
		put(fmt.Sprintf("templates/t%d/a.tmpl", i), "{{ template \"templates/snippets/report.tmpl\" . }}\n%s", body)
		put(fmt.Sprintf("templates/t%d/b.tmpl", i), "{{ .host }} {{ .report }}\n")
	}
	return files
}

func benchmarkLoad(b *testing.B, fsys fs.FS) {
	b.ReportAllocs()
	for b.Loop() {
		if _, errs := Load(fsys); len(errs) > 0 {
			b.Fatal(errs[0])
		}
	}
}

// 500 profiles, 500 operating systems and 2,000 templates.
func BenchmarkLoad500Profiles2000Templates(b *testing.B) { benchmarkLoad(b, fleet(500)) }

// The same from a disk, as `config check` reads a work tree.
func BenchmarkLoad500Profiles2000TemplatesFromDisk(b *testing.B) {
	dir := b.TempDir()
	for name, f := range fleet(500) {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), f.Data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	benchmarkLoad(b, root.FS())
}

func BenchmarkRender(b *testing.B) {
	repo, errs := Load(fleet(500))
	if len(errs) > 0 {
		b.Fatal(errs[0])
	}
	m := dell()
	m.Vendor, m.Product = "Lenovo", "Model 402 SR650"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := repo.Render(Subject{Site: "fra", Machine: m}); err != nil {
			b.Fatal(err)
		}
	}
}
