package configrepo

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/strictyaml"
)

// pointers, as %+v prints them.
var pointers = regexp.MustCompile(`0x[0-9a-f]+`)

// answer is what a template makes of a machine.
func answer(t testing.TB, template string, s Subject) (string, error) {
	t.Helper()
	repo := load(t, with(small, "-- templates/preseed.cfg.tmpl --\n"+template+"\n"))
	p, err := repo.Render(s)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(p.Installer.Answers["preseed.cfg"], "\n"), nil
}

func TestVariablesResolveFromSiteToProfileToMachine(t *testing.T) {
	files := with(small, `
-- vars/all.yaml --
a: {type: string, description: only a default, default: default}
b: {type: string, description: the site's, default: default}
c: {type: string, description: the profile's, default: default}
d: {type: int, description: the machine's, default: 1, values: [1, 2, 3]}
e: {type: list, description: the machine's, default: [x]}
f: {type: bool, description: the machine's, default: false}
g: {type: size, description: a size, default: 1536MiB}
h: {type: cidr, description: a network, default: 10.1.2.3/20}
i: {type: hostname, description: its own, per_machine: true}
ntp: {type: ip, description: x, default: 10.0.0.1}
packages: {type: list, description: x, default: []}
root_hash: {type: secret, description: x}
-- sites/fra.yaml --
vars: {b: site, c: site, d: 2}
-- profiles/web.yaml --
match: {vendor: Dell Inc.}
os: debian
vars: {c: profile, d: 2, e: [y]}
-- templates/preseed.cfg.tmpl --
{{ with .vars }}{{ .a }} {{ .b }} {{ .c }} {{ .d }} {{ join "," .e }} {{ .f }} {{ .g }} {{ mib .g }} {{ .h }} {{ netmask .h }} {{ .i }}{{ end }}
-- os/debian.yaml --
kind: installer
installer: preseed
kernel: {path: linux, sha256: `+sha+`}
answers: {preseed.cfg: templates/preseed.cfg.tmpl}
`)
	delete(files, "templates/snippets/report.tmpl")
	delete(files, "scripts/settings.sh")
	repo := load(t, files)
	require.Len(t, repo.Warnings(), 3, "ntp, packages, root_hash")
	m := dell()
	m.Labels = map[string]string{"d": "3", "e": "p, q,", "f": "true", "i": "db1", "unrelated": "x"}
	p, err := repo.Render(Subject{Site: "fra", Machine: m})
	require.NoError(t, err)
	require.Equal(t, "default site profile 3 p,q true 1536MiB 1536 10.1.2.3/20 255.255.240.0 db1\n",
		p.Installer.Answers["preseed.cfg"])

	m.Labels = map[string]string{"i": "db1"}
	p, err = repo.Render(Subject{Site: "ber", Machine: m})
	require.NoError(t, err)
	require.Equal(t, "default default profile 2 y false 1536MiB 1536 10.1.2.3/20 255.255.240.0 db1\n",
		p.Installer.Answers["preseed.cfg"])

	for label, want := range map[[2]string]string{
		{"d", "x"}:           `label d, a variable of type int: "x" is not a whole number`,
		{"d", "4"}:           "label d, a variable of type int: 4 is not allowed; want 1, 2 or 3",
		{"f", "yes"}:         `label f, a variable of type bool: "yes" is neither true nor false`,
		{"h", "10.0.0.1"}:    `label h, a variable of type cidr: "10.0.0.1" is not an address with a prefix length, such as 10.0.0.0/24`,
		{"i", "UP"}:          `label i, a variable of type hostname: "UP" is not a host name in small letters; want "up"`,
		{"root_hash", "x"}:   "label root_hash has the name of a secret of vars/all.yaml; rename the label",
		{"a", "two\nlines"}:  `label a contains control characters: "two\nlines"`,
		{"z", "@@loda.x:y@"}: "label z contains @@loda., which is kept for what is filled in later",
	} {
		m.Labels = map[string]string{"i": "db1", label[0]: label[1]}
		_, err = repo.Render(Subject{Site: "fra", Machine: m})
		require.ErrorContains(t, err, want)
		var re *RenderError
		require.ErrorAs(t, err, &re)
		require.Equal(t, "ABC1", re.Machine)
	}
	m.Labels = nil
	_, err = repo.Render(Subject{Site: "fra", Machine: m})
	require.ErrorContains(t, err,
		`render profile web for machine ABC1: templates/preseed.cfg.tmpl:1:131: "i" has no value for this machine`)
	_, err = repo.Render(Subject{Site: "nrt", Machine: m})
	require.ErrorContains(t, err, "there is no sites/nrt.yaml; want ber or fra")
}

func TestWhatTemplatesAreGiven(t *testing.T) {
	m := dell()
	m.MACs, m.Rack, m.UUID = []inventory.MAC{"52:54:00:00:00:01", "52:54:00:00:00:02"}, "R1", "4c4f"
	m.Labels = map[string]string{"b": "2", "a": "1"}
	facts := &hw.Facts{System: hw.System{Vendor: "Dell Inc.\n", Product: "PowerEdge\x1b R640"},
		Disks: []hw.Disk{{Name: "sda", Kind: hw.PhysicalDisk,
			Serial: "S1", WWN: "naa.5", Path: "pci-0000:00:1f.2-ata-1", Bytes: 480e9, Medium: hw.SSD, ReadOnly: new(bool),
			Removable: new(bool)}}}
	s := Subject{Site: "fra", Machine: m, Facts: facts}
	for template, want := range map[string]string{
		`{{ .machine.serial }} {{ .machine.name }} {{ .machine.hostname }} {{ .machine.rack }} {{ .machine.uuid }}`:                                     "ABC1 web1.example.org web1 R1 4c4f",
		`{{ .machine.vendor }}|{{ .machine.product }}|{{ .machine.address }}|`:                                                                          "Dell Inc.|PowerEdge R640||",
		`{{ join " " .machine.macs }} {{ first .machine.macs }}`:                                                                                        "52:54:00:00:00:01 52:54:00:00:00:02 52:54:00:00:00:01",
		`{{ range $k, $v := .machine.labels }}{{ $k }}={{ $v }};{{ end }}{{ .machine.labels.a }}`:                                                       "a=1;b=2;1",
		`{{ get "a" "x" .machine.labels }}{{ get "z" "x" .machine.labels }}`:                                                                            "1x",
		`{{ .disk.serial }} {{ .disk.wwn }} {{ .disk.path }} {{ .disk.by_path }} {{ .disk.bytes }}`:                                                     "S1 naa.5 pci-0000:00:1f.2-ata-1 /dev/disk/by-path/pci-0000:00:1f.2-ata-1 480000000000",
		`{{ .site.name }} {{ .profile.name }} {{ .os.name }} {{ len .profile.ssh_keys }}`:                                                               "fra web debian 0",
		`{{ .boot.server }} {{ .boot.mac }} {{ .vars.root_hash }}`:                                                                                      "@@loda.boot:server@@ @@loda.boot:mac@@ @@loda.secret:root_hash@@",
		`{{ range $i, $m := .machine.macs }}{{ if $i }}, {{ end }}{{ add $i 1 }}{{ end }}`:                                                              "1, 2",
		`{{ if and (eq .site.name "fra") (not (has "x" .machine.macs)) (gt (len .machine.macs) 1) }}y{{ end }}`:                                         "y",
		`{{ $x := "a" }}{{ range .machine.macs }}{{ $x = printf "%s%02d" $x 7 }}{{ end }}{{ $x }}`:                                                      "a0707",
		`{{ with .machine }}{{ .serial }}{{ else }}none{{ end }}{{ range list }}x{{ else }}none{{ end }}`:                                               "ABC1none",
		`{{ quote "it's" }} {{ toJson "a\"<b>" }} {{ toJson .machine.labels }} {{ xml "<&>" }} {{ b64enc "hi" }}`:                                       `'it'\''s' "a\"<b>" {"a":"1","b":"2"} &lt;&amp;&gt; aGk=`,
		`{{ "A b" | lower | replace " " "-" }} {{ upper "x" }} {{ trim " x " }} {{ indent 2 "a\n\nb" }}`:                                                "a-b X x   a\n\n  b",
		`{{ network "10.0.3.7/22" }} {{ address "10.0.3.7/22" }} {{ prefixLen "10.0.3.7/22" }} {{ host 1 "10.0.3.7/22" }} {{ host 258 "10.0.0.0/22" }}`: "10.0.0.0 10.0.3.7 22 10.0.0.1 10.0.1.2",
		`{{ contains "b" "abc" }}{{ hasPrefix "a" "abc" }}{{ hasSuffix "a" "abc" }} {{ join "+" (split "," "a,b") }}`:                                   "truetruefalse a+b",
		`{{ sub 5 2 }} {{ le 1 2 }} {{ or "" "x" }} {{ printf "%-5s|%q|%t" "a" "b" true }}`:                                                             `3 true x a    |"b"|true`,
	} {
		got, err := answer(t, template, s)
		require.NoError(t, err, template)
		require.Equal(t, want, got, template)
	}
	require.Empty(t, undocumented(), "every function is documented")
}

// undocumented are functions that the README does not name.
func undocumented() (missing []string) {
	text, err := os.ReadFile(exampleRepo + "/README.md")
	if err != nil {
		return []string{err.Error()}
	}
	for name := range functions {
		if !strings.Contains(string(text), "`"+name) {
			missing = append(missing, name)
		}
	}
	return missing
}

func TestWhatCannotBeRenderedIsSaidWithItsPlace(t *testing.T) {
	m := dell()
	for template, want := range map[string]string{
		"x\n {{ .machine.labels.role }}":              `templates/preseed.cfg.tmpl:2:5: "role" has no value for this machine; want a label of that name`,
		`{{ first .machine.macs }}`:                   "the list is empty, it has no first element",
		`{{ netmask "10.0.0.0" }}`:                    `"10.0.0.0" is not an address with a prefix length`,
		`{{ host 256 "10.0.0.0/24" }}`:                "10.0.0.0/24 has no address number 256",
		`{{ netmask "fd00::/64" }}`:                   "IPv6 has no netmasks",
		`{{ indent 99 "x" }}`:                         "99 blanks; want 0 to 64",
		`{{ .disk.serial }}`:                          "its templates use .disk, and the machine's disks are not known yet; want its facts",
		"{{ \"@@\" }}loda.secret:root_hash{{\"@@\"}}": "the result has a placeholder for secret:root_hash, which no template names",
	} {
		_, err := answer(t, template, Subject{Site: "fra", Machine: m})
		require.ErrorContains(t, err, want, template)
	}
	_, err := answer(t, `{{ .disk.serial }}`, Subject{Site: "fra", Machine: m,
		Facts: &hw.Facts{System: hw.System{Vendor: "Dell Inc.", Product: "PowerEdge R640"}}})
	require.ErrorContains(t, err, "its templates use .disk: choose disk: the machine shows no disk at all")
	for field, change := range map[string]func(*inventory.Machine){
		"machine.rack": func(m *inventory.Machine) { m.Rack = "@@loda.secret:root_hash@@" },
		"label x": func(m *inventory.Machine) {
			m.Labels = map[string]string{"x": "a\nd-i preseed/late_command string rm -rf /"}
		},
		"machine.name": func(m *inventory.Machine) { m.Name = "a\x00b" },
	} {
		m := dell()
		change(m)
		_, err := answer(t, "x", Subject{Site: "fra", Machine: m})
		require.ErrorContains(t, err, field+" contains")
	}
}

func TestTheCommandLineIsOneThatBootLoadersTake(t *testing.T) {
	for args, want := range map[string]string{
		"a $x":                         `the command line has "$" in it; want printable ASCII on one line, without $`,
		"{{ .vars.ntp }} ü":            "want printable ASCII",
		`{{ "a" }}{{ "\n" }}b`:         `the command line has "\n" in it`,
		strings.Repeat("quiet ", 300):  "the command line has 1799 bytes; want at most 1500",
		"{{ join \"\\t\" (list 1) }} ": "",
	} {
		files := with(small, "-- os/debian.yaml --\nkind: installer\ninstaller: preseed\nkernel: {path: debian/linux, sha256: "+sha+"}\nargs: >-\n  "+
			args+"\nanswers: {preseed.cfg: templates/preseed.cfg.tmpl}\n")
		repo, errs := Load(files)
		if want == "" {
			require.NotEmpty(t, errs, "a number is no text")
			continue
		}
		require.Empty(t, errs)
		_, err := repo.Render(Subject{Site: "fra", Machine: dell()})
		require.ErrorContains(t, err, want, args)
	}
}

// A repository is reviewed, but a template must not be able to stop the daemon that renders it.
func TestATemplateThatDoesTooMuchIsStopped(t *testing.T) {
	var items strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&items, ", i%d", i)
	}
	m := dell()
	m.Labels = map[string]string{"packages": items.String()}
	loops := "{{ range $.vars.packages }}{{ range $.vars.packages }}{{ range $.vars.packages }}{{ range $.vars.packages }}"
	ends := "{{ end }}{{ end }}{{ end }}{{ end }}"
	for name, c := range map[string]struct{ template, want string }{
		"loops that print nothing": {loops + ends, "the template takes more than 1000000 steps; its loops are too long"},
		"loops that print":         {loops + "0123456789" + ends, "the result has more than 1048576 bytes"},
		"a text that doubles": {`{{ $x := "0123456789" }}` + strings.Repeat(`{{ $x = printf "%s%s" $x $x }}`, 40),
			"the text could have more than 1048576 bytes"},
		"a text that is replaced": {`{{ $x := "aaaaaaaaaa" }}` + strings.Repeat(`{{ $x = replace "a" "aaaaaaaaaa" $x }}`,
			12), "the text would have more than 1048576 bytes"},
		"a list that is split": {`{{ $x := "aaaaaaaaaa" }}{{ $x = replace "a" "aaaaaaaaaaaaaaaaaaaa" $x }}{{ $x = replace "a" "aaaaaaaaaaaaaaaaaaaa" $x }}{{ len (split "" $x) }}`, "the list would have more than 1000 elements"},
	} {
		begin := time.Now()
		_, err := answer(t, c.template, Subject{Site: "fra", Machine: m})
		require.ErrorContains(t, err, c.want, name)
		require.Less(t, time.Since(begin), 5*time.Second, name)
		require.Less(t, len(err.Error()), 2000, name)
	}

	// Snippets that include the next one twice: 2^60 of them.
	files := fstest.MapFS{}
	maps.Copy(files, small)
	for i := range 60 {
		next := fmt.Sprintf(`{{ template "templates/x%d.tmpl" . }}`, i+1)
		files[fmt.Sprintf("templates/x%d.tmpl", i)] = &fstest.MapFile{Data: []byte(next + next)}
	}
	files["templates/x60.tmpl"] = &fstest.MapFile{}
	files["templates/preseed.cfg.tmpl"] = &fstest.MapFile{Data: []byte(`{{ template "templates/x0.tmpl" . }}`)}
	repo := load(t, files)
	_, err := repo.Render(Subject{Site: "fra", Machine: dell()})
	require.ErrorContains(t, err, "the template takes more than 1000000 steps")
}

func TestSameInputsRenderTheSameBytes(t *testing.T) {
	var first string
	for range 20 {
		repo, errs := Load(os.DirFS(exampleRepo))
		require.Empty(t, errs)
		for range 5 {
			var b strings.Builder
			for _, name := range keys(exampleSubjects) {
				text, err := os.ReadFile("testdata/example/" + name + ".facts.json")
				require.NoError(t, err)
				s := exampleSubjects[name]
				s.Facts, err = hw.Decode(text)
				require.NoError(t, err)
				p, err := repo.Render(s)
				require.NoError(t, err)
				fmt.Fprintf(&b, "%+v %+v\n", *p, p.Installer)
			}
			// Addresses of what a profile points to are no content.
			got := pointers.ReplaceAllString(b.String(), "")
			if first == "" {
				first = got
			}
			require.Equal(t, first, got)
		}
	}
}

func TestRenderedProfilesShareNothingThatCanBeChanged(t *testing.T) {
	repo := load(t, small)
	p, err := repo.Render(Subject{Site: "fra", Machine: dell()})
	require.NoError(t, err)
	p.Steps[0].Env["NTP"], p.Steps[0].ExitCodes[0], p.Steps[0].Interpreter[0], p.Installer.Answers["preseed.cfg"] = "x",
		5, "x", "x"
	again, err := repo.Render(Subject{Site: "fra", Machine: dell()})
	require.NoError(t, err)
	require.Equal(t, []loda.Step{{Name: "settings", File: "scripts/settings.sh", Script: "#!/bin/sh\necho \"$NTP\"\n",
		Interpreter: []string{"/bin/sh"},
		Timeout:     10 * time.Minute, Env: map[string]string{"NTP": "10.0.0.1"}, ExitCodes: []int{0}}}, again.Steps)
}

func TestUserDataIsForImages(t *testing.T) {
	image := "-- os/debian.yaml --\nkind: image\nimage: debian-12\nsha256: " +
		sha + "\n-- profiles/web.yaml --\nmatch: {vendor: Dell Inc.}\nos: debian\nboot: kexec\n" +
		"ssh_keys: [ssh-ed25519 AAAA me]\nkernel_args: [quiet]\n"
	repo := load(t, with(small, image+"user_data: |\n  #cloud-config\n  ntp: {servers: [{{ toJson .vars.ntp }}]}\n"))
	repo.Revision = "abc"
	p, err := repo.Render(Subject{Site: "fra", Machine: dell()})
	require.NoError(t, err)
	require.Equal(t, &loda.Profile{Name: "web", Revision: "abc", Image: "debian-12", ImageSHA256: sha, Boot: "kexec",
		SSHKeys:    []string{"ssh-ed25519 AAAA me"},
		KernelArgs: []string{"quiet"}, UserData: "#cloud-config\nntp: {servers: [\"10.0.0.1\"]}\n"}, p)

	repo = load(t, with(small, image+"user_data: |\n  hostname: {{ .machine.name }}\n"))
	_, err = repo.Render(Subject{Site: "fra", Machine: dell()})
	require.ErrorContains(t, err,
		"profiles/web.yaml:7:3: user_data: ssh_keys, user_data: seed: user data must start with one of #cloud-config")

	// The place within a text in a YAML file is that in the file.
	_, errs := Load(with(small, image+"user_data: |\n  #cloud-config\n\n  ntp: {{ .vars.npt }}\n"))
	require.Len(t, errs, 1)
	require.Equal(t, "profiles/web.yaml:9:11: user_data: variable npt is not declared in vars/; did you mean ntp?",
		errs[0].Error())
}

func TestLinksMustStayInTheRepository(t *testing.T) {
	dir := t.TempDir()
	for name, f := range small {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), f.Data, 0o644))
	}
	secret := filepath.Join(t.TempDir(), "shadow.tmpl")
	require.NoError(t, os.WriteFile(secret, []byte("root:hash\n"), 0o644))
	outside, err := filepath.Rel(filepath.Join(dir, "templates"), secret)
	require.NoError(t, err)
	link := func(name, target string) {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	link("templates/snippets/inside.tmpl", "../preseed.cfg.tmpl")
	link("scripts/again.sh", "settings.sh")
	link("scripts/twice.sh", "again.sh")
	repo, errs := Load(os.DirFS(dir))
	require.Empty(t, errs)
	require.Len(t, repo.Warnings(), 3, "nobody uses them")

	link("templates/a.tmpl", secret)
	link("templates/b.tmpl", outside)
	link("templates/c.tmpl", "nothing.tmpl")
	link("templates/d.tmpl", "e.tmpl")
	link("templates/e.tmpl", "d.tmpl")
	link("templates/dir.tmpl", "snippets")
	link("profile.d", "profiles")
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	_, errs = Load(root.FS())
	_, same := Load(os.DirFS(dir))
	require.Equal(t, same, errs)
	var got []string
	for _, e := range errs {
		got = append(got, strings.ReplaceAll(strings.ReplaceAll(e.Error(), secret, "SECRET"), outside, "OUTSIDE"))
	}
	require.Equal(t, []string{
		"profile.d: has no meaning at the top of a repository; did you mean profiles?",
		"templates/a.tmpl: is a symbolic link to SECRET, outside of the repository; copy the file",
		"templates/b.tmpl: is a symbolic link to OUTSIDE, outside of the repository; copy the file",
		"templates/c.tmpl: is a symbolic link to templates/nothing.tmpl; want a file in one of the folders",
		"templates/d.tmpl: is a symbolic link that leads in a circle",
		"templates/dir.tmpl: is a symbolic link to templates/snippets; want a file in one of the folders",
		"templates/e.tmpl: is a symbolic link that leads in a circle",
	}, got)
}

func TestWhatNothingUsesIsAWarning(t *testing.T) {
	repo := load(t, with(small, `
-- templates/spare.tmpl --
{{ .anything.goes }}
-- scripts/old.sh --
true
-- os/old.yaml --
kind: image
image: old
sha256: `+sha+`
-- vars/old.yaml --
# comment
old: {type: string, description: x}
`))
	require.Equal(t, []strictyaml.Error{
		{File: "os/old.yaml", Message: "is used by nothing"},
		{File: "scripts/old.sh", Message: "is used by nothing"},
		{File: "templates/spare.tmpl", Message: "is used by nothing"},
		{File: "vars/old.yaml", Line: 2, Column: 1, Path: "old", Message: "the variable is used by nothing"},
	}, repo.Warnings())
}
