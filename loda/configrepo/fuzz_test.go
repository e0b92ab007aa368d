package configrepo

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
)

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"{{ .vars.ntp }}",
		"{{ range $i, $x := .vars.packages }}{{ $i }}{{ $x }}{{ break }}{{ end }}",
		"{{ with .machine }}{{ .name }}{{ else with .os }}{{ .name }}{{ end }}",
		`{{ template "templates/snippets/report.tmpl" . }}`, `{{ dict "a" .boot.report "b" (dict "c" 1) }}`,
		`{{ printf "%02d" (len .machine.macs) | upper }}`,
		`{{ define "x" }}{{ end }}`, "{{/* c */}}{{- if not .vars.packages -}} x {{- end -}}",
		`{{ get "a" "b" .machine.labels | quote }}`, "{{ (.machine).labels.x }}", "{{ $.os.name }}",
		"{{ nil }}", "{{ . }}", "{{ $x := .disk }}{{ $x.bytes }}", "{{ if and .vars.root_hash (or 1 2) }}{{ end }}",
		"{{ 1e3 }}{{ 'a' }}{{ 0x10 }}", "{{ and }}", "{{ .vars.root_hash | printf \"%s\" }}",
		"{{ continue }}", "{{ range .machine.labels }}{{ continue }}{{ end }}", "{{ block \"x\" . }}{{ end }}",
		"{{ eq .disk.bytes 5 }}", "{{ lt .vars.ntp \"a\" }}", "{{ `raw` }}", "{{ true | not }}"} {
		f.Add(s)
	}
	m := dell()
	m.Labels, m.MACs = map[string]string{"x": "1"}, []inventory.MAC{"52:54:00:00:00:01"}
	s := Subject{Site: "fra", Machine: m, Facts: &hw.Facts{System: hw.System{Vendor: "Dell Inc.",
		Product: "PowerEdge R640"},
		Disks: []hw.Disk{{Name: "sda", Path: "p", Bytes: 1, ReadOnly: new(bool), Removable: new(bool)}}}}
	f.Fuzz(func(t *testing.T, template string) {
		files := with(small, "")
		files["templates/preseed.cfg.tmpl"] = &fstest.MapFile{Data: []byte(template)}
		repo, errs := Load(files)
		for _, e := range errs {
			require.NotContains(t, e.Error(), "\n")
			require.Equal(t, "templates/preseed.cfg.tmpl", e.File)
		}
		if len(errs) > 0 {
			return
		}
		p, err := repo.Render(s)
		if err != nil {
			var re *RenderError
			require.ErrorAs(t, err, &re)
			// What the checker let through may fail on what a machine has, and on bounds, not on types.
			require.NotContains(t, err.Error(), "can't evaluate")
			require.NotContains(t, err.Error(), "wrong type")
			require.NotContains(t, err.Error(), "nil data")
			return
		}
		require.LessOrEqual(t, len(p.Installer.Answers["preseed.cfg"]), maxOutput)
	})
}

func FuzzLoad(f *testing.F) {
	for name, file := range small {
		f.Add(name, file.Data)
	}
	f.Add("profiles/x.yaml",
		[]byte("match: {vendor: [~, 5], except: [{labels: {a: ~}}], site: [~]}\nsteps: [~, {env: {A: ~}}]\nmodel: ~\nraid: {}\nos: debian\nvars: {a: ~}\n"))
	f.Add("os/x.yaml", []byte("kind: installer\nkernel: ~\ninitrds: [~]\nanswers: {a: ~}\n"))
	f.Add("vars/x.yaml", []byte("a: ~\nb: {type: list, values: [~], default: [~]}\nc: 5\n"))
	f.Add("models/x.yaml", []byte("{}"))
	f.Add(".gitmodules", []byte("[submodule"))
	f.Add("scripts/x", []byte("version https://git-lfs"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		files := with(small, "")
		files[name] = &fstest.MapFile{Data: text}
		repo, errs := Load(files)
		for _, e := range errs {
			require.NotContains(t, e.Error(), "\n")
			require.NotEmpty(t, e.File)
			require.NotEmpty(t, e.Message)
		}
		if len(errs) > 0 {
			require.Nil(t, repo)
			return
		}
		for _, s := range []Subject{{Site: "fra", Machine: dell()}, {}, {Site: "fra", Profile: "web", Machine: dell()}} {
			p, err := repo.Render(s)
			require.True(t, (p == nil) == (err != nil))
		}
	})
}
