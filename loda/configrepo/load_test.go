package configrepo

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
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

func TestARepositoryThatIsRightLoadsWithoutAWord(t *testing.T) {
	repo := load(t, small)
	require.Empty(t, repo.Warnings())
	require.Equal(t, []string{"ber", "fra"}, repo.Sites())
	require.Len(t, repo.Profiles(), 1)
	p, ok := repo.Profile("web")
	require.True(t, ok)
	require.Equal(t, "profiles/web.yaml", p.File)
	require.Equal(t, []loda.Late{loda.LateAnswers, loda.LateReport, loda.LateSecret("root_hash")}, p.Late())
	_, ok = repo.Profile("db")
	require.False(t, ok)
}

func TestEveryMistakeIsReportedWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ files, want string }{
		"unknown key": {`-- profiles/web.yaml --
mtach: {vendor: X}
os: debian
steps: [{scirpt: scripts/settings.sh}]
vars: {packages: []}
`, `
profiles/web.yaml:1:1: mtach: unknown key; did you mean match?
profiles/web.yaml:3:10: steps[0].scirpt: unknown key; did you mean script?
`},
		"wrong types": {`-- profiles/web.yaml --
match: {vendor: [Dell Inc., 5], labels: x}
os: [debian]
steps: [{script: scripts/settings.sh, timeout: 5, exit_codes: '0'}]
`, `
profiles/web.yaml:1:41: match.labels: is the text "x"; want a mapping
profiles/web.yaml:2:5: os: is a list; want a text
profiles/web.yaml:3:48: steps[0].timeout: "5" is not a duration; want a number with a unit, such as 30s, 5m or 1h30m
profiles/web.yaml:3:63: steps[0].exit_codes: is the quoted text "0"; want a list
`},
		"undeclared variable": {`-- templates/snippets/report.tmpl --
ntp = {{ .vars.ntpp }}
{{ if .machine.rack }}{{ range .vars.packages }}{{ $.vars.packges }}{{ end }}{{ end }}
{{ .vars.ntp }}
`, `
templates/snippets/report.tmpl:1:10: variable ntpp is not declared in vars/; did you mean ntp?
templates/snippets/report.tmpl:2:52: variable packges is not declared in vars/; did you mean packages?
`},
		"fields that are not there": {`-- templates/preseed.cfg.tmpl --
{{ .machin.serial }} {{ .machine.seriel }} {{ .machine.serial.x }} {{ .boot.token }}
{{ with .machine }}{{ .name }}{{ .nome }}{{ end }}
{{ .vars.root_hash }}{{ .vars.packages }}{{ .machine }}
{{ template "templates/snippets/report.tmpl" . }}{{ template "templates/snippets/report.tmpl" }}{{ template "templates/snippets/report.tmpl" .machine }}
`, `
templates/preseed.cfg.tmpl:1:4: there is no .machin; did you mean machine?
templates/preseed.cfg.tmpl:1:25: machine has no field seriel; did you mean serial?
templates/preseed.cfg.tmpl:1:47: machine.serial is a text and has no field x
templates/preseed.cfg.tmpl:1:71: boot has no field token; want answers, mac, report or server
templates/preseed.cfg.tmpl:2:34: machine has no field nome; did you mean name?
templates/preseed.cfg.tmpl:3:25: is a list and cannot be written; join it, as in {{ join " " .vars.packages }}, or use toJson
templates/preseed.cfg.tmpl:3:45: is the group machine and cannot be written
templates/snippets/report.tmpl:1:41: .boot: the template is included without a value; write {{ template "NAME" . }}
templates/snippets/report.tmpl:1:41: machine has no field boot; want address, hostname, labels, macs, name, product, rack, serial, uuid or vendor
templates/snippets/report.tmpl:1:67: .vars: the template is included without a value; write {{ template "NAME" . }}
templates/snippets/report.tmpl:1:67: machine has no field vars; want address, hostname, labels, macs, name, product, rack, serial, uuid or vendor
`},
		"the boot is not known outside of an installer": {`-- profiles/web.yaml --
os: debian
steps:
  - script: scripts/settings.sh
    env:
      URL: "x {{ .boot.report }}"
`, `
profiles/web.yaml:5:18: steps[0].env.URL: .boot is only known to the arguments and answers of an installer
`},
		"a secret is in nobody's command line": {`-- os/debian.yaml --
kind: installer
installer: preseed
kernel: {path: debian/linux, sha256: ` + sha + `}
initrds: [{path: debian/initrd.gz, sha256: ` + sha + `}]
args: "auto=true hash={{ .vars.root_hash }}"
answers:
  preseed.cfg: templates/preseed.cfg.tmpl
`, `
os/debian.yaml:5:26: args: root_hash is a secret, and everybody in the network can read a command line; want it in an answer file
`},
		"functions": {`-- templates/preseed.cfg.tmpl --
{{ lowr .site.name }}{{ lower }}{{ lower 5 }}{{ .vars.root_hash | upper }}{{ if eq .vars.root_hash "x" }}{{ end }}
{{ join .vars.packages "," }}{{ env "HOME" }}{{ printf "%5000d" 1 }}{{ printf "%d" "x" }}{{ printf .site.name }}
{{ html .site.name }}{{ call .site.name }}{{ or .vars.packages .site.name }}{{ eq .disk.bytes .site.name }}
{{ range 1000000000 }}x{{ end }}{{ range .site.name }}{{ end }}{{ toJson .vars }}{{ .site.name 5 }}
{{ $x := 1 }}{{ $x = "a" }}{{ dict "a" }}{{ template "templates/snippets/report.tmpl" . }}
`, `
templates/preseed.cfg.tmpl:1:4: function lowr is unknown; did you mean lower?
templates/preseed.cfg.tmpl:1:25: lower has 0 arguments; want 1
templates/preseed.cfg.tmpl:1:42: lower cannot take a number; want a text
templates/preseed.cfg.tmpl:1:67: upper cannot take secret:root_hash: it is filled in later and cannot be changed or compared; write it as it is
templates/preseed.cfg.tmpl:1:84: eq cannot take secret:root_hash: it is filled in later and cannot be changed or compared; write it as it is
templates/preseed.cfg.tmpl:2:9: join cannot take a list; want a text
templates/preseed.cfg.tmpl:2:24: join cannot take a text; want a list
templates/preseed.cfg.tmpl:2:33: function env is unknown; want add, address, and, b64enc, contains, dict, eq, first, ge, get, gib, gt, has, hasPrefix, hasSuffix, host, indent, join, le, len or one of 19 others
templates/preseed.cfg.tmpl:2:56: the format "%5000d" has a verb that is not supported; want %s, %d, %q, %v, %x or %t with a width of up to two digits
templates/preseed.cfg.tmpl:2:79: %d cannot print a text
templates/preseed.cfg.tmpl:2:93: the format of printf has to be written out, in quotes
templates/preseed.cfg.tmpl:3:4: function html is unknown; want add, address, and, b64enc, contains, dict, eq, first, ge, get, gib, gt, has, hasPrefix, hasSuffix, host, indent, join, le, len or one of 19 others
templates/preseed.cfg.tmpl:3:25: function call is unknown; want add, address, and, b64enc, contains, dict, eq, first, ge, get, gib, gt, has, hasPrefix, hasSuffix, host, indent, join, le, len or one of 19 others
templates/preseed.cfg.tmpl:3:46: or: a list and a text are given; want two of a kind
templates/preseed.cfg.tmpl:3:80: eq: a number and a text are given; want two of a kind
templates/preseed.cfg.tmpl:4:10: is a number; range goes over a list or labels
templates/preseed.cfg.tmpl:4:42: is a text; range goes over a list or labels
templates/preseed.cfg.tmpl:4:74: toJson cannot take the group vars; want a text or a number or true or false or a size or a list or labels
templates/preseed.cfg.tmpl:4:96: .site.name is not a function; it takes no arguments
templates/preseed.cfg.tmpl:5:17: $x holds a number; a text cannot be assigned to it
templates/preseed.cfg.tmpl:5:31: dict wants names and values by turns, as in dict "mac" .machine.name
`},
		"a template that cannot be parsed": {`-- templates/snippets/report.tmpl --
ok
  {{ if .machine.rack }}
-- templates/preseed.cfg.tmpl --
{{ .vars.ntp }}
  text {{ .vars.packages | }} 
`, `
templates/preseed.cfg.tmpl:2:11: is a list and cannot be written; join it, as in {{ join " " .vars.packages }}, or use toJson
templates/snippets/report.tmpl:3:1: cannot be parsed: the text ends where {{ end }} of an if, range or with is still missing
`},
		"undefined template variable": {`-- templates/preseed.cfg.tmpl --
{{ template "templates/snippets/report.tmpl" . }}
  a {{ $nothing }}
`, `
templates/preseed.cfg.tmpl:2:8: cannot be parsed: undefined variable "$nothing"
`},
		"definitions": {`-- templates/snippets/report.tmpl --
{{ .vars.ntp }}
 {{- define "x" }}{{ end }}
`, `
templates/snippets/report.tmpl:2:2: templates cannot be defined within a file; put it into a file of its own and include it: {{ template "templates/NAME.tmpl" . }}
`},
		"missing files": {`-- profiles/web.yaml --
os: debain
model: models/r640.yaml
steps: [{script: scripts/setings.sh}, {script: ../x}]
user_data: templates/x.tmpl
-- os/debian.yaml --
kind: installer
installer: preseed
kernel: {path: l, sha256: ` + sha + `}
answers: {a: templates/presed.cfg.tmpl, b: x.tmpl}
`, `
os/debian.yaml:4:14: answers.a: there is no file templates/presed.cfg.tmpl; did you mean templates/preseed.cfg.tmpl?
os/debian.yaml:4:44: answers.b: "x.tmpl" is not the path of a file in templates/
profiles/web.yaml:1:5: os: there is no os/debain.yaml; did you mean debian?
profiles/web.yaml:2:8: model: there is no file models/r640.yaml; there is none
profiles/web.yaml:3:18: steps[0].script: there is no file scripts/setings.sh; did you mean scripts/settings.sh?
profiles/web.yaml:3:48: steps[1].script: "../x" is not the path of a file in scripts/
profiles/web.yaml:4:12: user_data: there is no file templates/x.tmpl; want templates/preseed.cfg.tmpl or templates/snippets/report.tmpl
`},
		"missing snippet": {`-- templates/preseed.cfg.tmpl --
x {{ template "templates/snippets/raport.tmpl" . }}
{{ .vars.ntp }}{{ .vars.packages | join " " }}{{ .vars.root_hash }}
`, `
templates/preseed.cfg.tmpl:1:15: there is no template templates/snippets/raport.tmpl; did you mean templates/snippets/report.tmpl?
`},
		"cyclic snippets": {`-- templates/snippets/report.tmpl --
{{ .vars.ntp }}
  {{ template "templates/preseed.cfg.tmpl" . }}
-- templates/self.tmpl --
{{ template "templates/self.tmpl" . }}
`, `
templates/self.tmpl:1:13: the templates include each other in a circle: templates/self.tmpl → templates/self.tmpl
templates/snippets/report.tmpl:2:15: the templates include each other in a circle: templates/preseed.cfg.tmpl → templates/snippets/report.tmpl → templates/preseed.cfg.tmpl
`},
		"two profiles for one machine": {`-- profiles/other.yaml --
description: x
match:
  vendor: dell*
os: debian
`, `
profiles/other.yaml:2:1: match: a machine can be matched by profiles/web.yaml:2 too; want conditions that exclude each other: a label, a site, or the other's machines below except
profiles/web.yaml:2:1: match: a machine can be matched by profiles/other.yaml:2 too; want conditions that exclude each other: a label, a site, or the other's machines below except
`},
		"two profiles for one machine, excluded in part": {`-- profiles/other.yaml --
match:
  vendor: Dell Inc.
  except: [{product: PowerEdge R640}, {product: '*', site: ber}]
os: debian
`, `
profiles/other.yaml:1:1: match: a machine can be matched by profiles/web.yaml:2 too; want conditions that exclude each other: a label, a site, or the other's machines below except
profiles/web.yaml:2:1: match: a machine can be matched by profiles/other.yaml:1 too; want conditions that exclude each other: a label, a site, or the other's machines below except
`},
		"digests": {`-- os/debian.yaml --
kind: installer
installer: preseed
kernel: {path: debian/linux}
initrds:
  - {path: debian/initrd.gz, sha256: ABC}
  - {path: ../x, sha256: ` + sha + `}
args: auto
answers: {preseed.cfg: templates/preseed.cfg.tmpl}
-- os/image.yaml --
kind: image
image: debian-12
`, `
os/debian.yaml:3:9: kernel.sha256: missing; want the SHA-256 of the file, 64 hexadecimal digits: nothing is installed whose digest is not pinned
os/debian.yaml:5:38: initrds[0].sha256: is not a SHA-256; want 64 hexadecimal digits in small letters
os/debian.yaml:6:12: initrds[1].path: "../x" is not a path below the site's artifacts; want one such as debian-12/linux
os/image.yaml:1:1: sha256: missing; want the SHA-256 of the file, 64 hexadecimal digits: nothing is installed whose digest is not pinned
`},
		"kinds": {`-- os/debian.yaml --
kind: image
installer: preseed
image: x
sha256: ` + sha + `
-- os/a.yaml --
kind: installer
installer: presed
image: x
-- os/b.yaml --
kind: container
-- os/c.yaml --
description: x
`, `
os/a.yaml:1:1: kernel: missing; want path and sha256 of the installer's kernel
os/a.yaml:2:12: installer: installer "presed" is unknown; did you mean preseed?
os/a.yaml:3:1: image: is for kind image, and this is an installer
os/b.yaml:1:7: kind: kind "container" is unknown; want image or installer
os/c.yaml:1:1: kind: missing; want image or installer
os/debian.yaml:2:1: installer: is for kind installer, and this is an image
`},
		"variables": {`-- vars/more.yaml --
ntp: {type: ip, description: again}
Bad-Name: {type: string, description: x}
a: {type: text, description: x}
b: {type: string}
c: {description: x}
d: {type: int, description: x, default: '5'}
e: {type: string, description: x, values: [a, b], default: c}
f: {type: string, description: x, pattern: '[', default: c}
g: {type: list, description: x, pattern: '[a-z]+', default: [a, B]}
h: {type: secret, description: x, default: hunter2}
i: {type: cidr, description: x, default: 10.0.0.0}
j: {type: hostname, description: x, default: Web_1}
k: {type: size, description: x, default: 40G}
l: {type: bool, description: x, default: yes}
m: {type: ip, description: x, default: 10.0.0}
n: {type: string, description: x, default: '@@loda.secret:root_hash@@'}
`, "\nvars/more.yaml:1:1: ntp: is declared in vars/all.yaml too; want it once\nvars/more.yaml:2:1: Bad-Name: is not the name of a variable; want small letters, digits and underscores, a letter first\nvars/more.yaml:3:11: a.type: type \"text\" is unknown; want bool, cidr, hostname, int, ip, list, secret, size or string\nvars/more.yaml:4:1: b: has no description; say what the variable is for\nvars/more.yaml:5:1: c: has no type; want one of string, int, bool, list, ip, cidr, hostname, size, secret\nvars/more.yaml:6:41: d.default: is the text \"5\"; want a whole number\nvars/more.yaml:7:60: e.default: c is not allowed; want a or b\nvars/more.yaml:8:44: f.pattern: is not a regular expression: error parsing regexp: missing closing ]: `[)$`\nvars/more.yaml:9:61: g.default: element 1 \"B\" does not match the pattern [a-z]+\nvars/more.yaml:10:44: h.default: a secret has no default: its value is not in the repository\nvars/more.yaml:11:42: i.default: \"10.0.0.0\" is not an address with a prefix length, such as 10.0.0.0/24\nvars/more.yaml:12:46: j.default: \"web_1\" is not a host name (letters, digits and dashes, up to 63 between dots)\nvars/more.yaml:13:42: k.default: size \"40G\": unknown unit \"G\" (want B, kB, MB, GB, TB, PB for decimal or KiB, MiB, GiB, TiB, PiB for binary)\nvars/more.yaml:14:42: l.default: is the text \"yes\"; want true or false\nvars/more.yaml:15:40: m.default: \"10.0.0\" is not an IP address, such as 10.0.0.1\nvars/more.yaml:16:44: n.default: contains @@loda., which is kept for what is filled in later\n"},
		"values": {`-- sites/fra.yaml --
vars:
  ntp: 10.0.0
  pakages: [a]
  packages: a
  root_hash: hunter2
`, `
sites/fra.yaml:2:8: vars.ntp: "10.0.0" is not an IP address, such as 10.0.0.1
sites/fra.yaml:3:3: vars.pakages: variable pakages is not declared in vars/; did you mean packages?
sites/fra.yaml:4:13: vars.packages: is the text "a"; want a list of texts
sites/fra.yaml:5:14: vars.root_hash: a secret has no value in the repository; the site keeps it
`},
		"a variable without a value": {`-- sites/fra.yaml --
description: no time server
-- sites/muc.yaml --
vars: {packages: []}
`, `
templates/snippets/report.tmpl:1:67: variable ntp has no value for profile web at site fra, profile web at site muc; want one in the site, in the profile, as default in vars/all.yaml, or per_machine: true there for one that each machine's label brings
`},
		"settings of the profile": {`-- profiles/web.yaml --
os: debian
boot: kexec
ssh_keys: [abc]
kernel_args: [ok, 'a b', '${x}']
user_data: "#cloud-config\n"
disk: {medium: tape}
steps:
  - {script: scripts/settings.sh, timeout: 0s, exit_codes: [0, 256], env: {9: x, LODA_X: y}}
  - {script: scripts/settings.sh, interpreter: ''}
`, `
profiles/web.yaml:2:7: boot: kexec is for images; an installer boots what it has installed
profiles/web.yaml:3:11: ssh_keys: SSH key 1 is not one line of TYPE KEY COMMENT
profiles/web.yaml:4:19: kernel_args[1]: "a b" is not one printable word without spaces or $
profiles/web.yaml:4:26: kernel_args[2]: "${x}" is not one printable word without spaces or $
profiles/web.yaml:5:12: user_data: is for images; debian is an installer, whose answers are templates of os/debian.yaml
profiles/web.yaml:6:7: disk: disk rule: medium "tape": want hdd, ssd or nvme
profiles/web.yaml:8:64: steps[0].exit_codes[1]: 256 is no exit code; want 0 to 255
profiles/web.yaml:8:76: steps[0].env.9: is not a name for a variable of the environment; want letters, digits and underscores, and not LODA_ at the beginning
profiles/web.yaml:8:82: steps[0].env.LODA_X: is not a name for a variable of the environment; want letters, digits and underscores, and not LODA_ at the beginning
profiles/web.yaml:9:5: steps[1]: a step before it has the name settings too; give it another one
profiles/web.yaml:9:48: steps[1].interpreter: names no program; want one such as /bin/sh -e
`},
		"conditions": {`-- profiles/web.yaml --
match: {except: [{}]}
os: debian
-- profiles/b.yaml --
match: {vendor: '', product: 'x\', sku: [], site: [fra, nrt]}
os: debian
`, `
profiles/b.yaml:1:17: match.vendor: is empty; want a text, or * for any
profiles/b.yaml:1:30: match.product: ends in a backslash; a backslash itself is written \\
profiles/b.yaml:1:41: match.sku: is an empty list; want a text or a list of alternatives, or leave it out
profiles/b.yaml:1:57: match.site[1]: nrt matches no file of sites/; want ber or fra
profiles/web.yaml:1:8: match: has no condition; leave match out for a profile that is only used when it is asked for by name
profiles/web.yaml:1:18: match.except[0]: has no condition, it would take everything; want at least one
`},
		"tools and drivers":             {"-- tools/storcly.yaml --\nurl: https://files.example.net/storcli64\nsha256: 3d2456cbf9f2a15637d101c0cbba01d512fb3b864a4cdae1039c12d0a558b816\n-- tools/ssacli.yaml --\nurl: ftp://files.example.net/ssacli\nartifact: x\nsha256: abc\n-- tools/arcconf.yaml --\nartifact: ../arcconf\nfiles: {lib.so: {url: https://u:p@h/lib.so, sha256: 3d2456cbf9f2a15637d101c0cbba01d512fb3b864a4cdae1039c12d0a558b816}, a/b: {}}\nsha: 1\n-- profiles/a.yaml --\nos: x\nraid: {controllers: [{rest: jbod}]}\nraid_drivers:\n- {name: acme, url: https://h/acme, sha256: 3d2456cbf9f2a15637d101c0cbba01d512fb3b864a4cdae1039c12d0a558b816, for: [1000:5D]}\n- {name: acme, url: https://h/acme, sha256: 3d2456cbf9f2a15637d101c0cbba01d512fb3b864a4cdae1039c12d0a558b816}\n-- os/x.yaml --\nkind: image\nimage: x\nsha256: 3d2456cbf9f2a15637d101c0cbba01d512fb3b864a4cdae1039c12d0a558b816\n", "\nprofiles/a.yaml:4:117: raid_drivers[0].for[0]: is a mapping; want a text\nprofiles/a.yaml:5:3: raid_drivers[1]: for: want the PCI ids of 1 to 64 controllers, such as 1000:005d\nprofiles/a.yaml:5:10: raid_drivers[1].name: a driver before it has the name acme too; give it another one\ntools/arcconf.yaml:2:23: files[\"lib.so\"].url: it holds a password, and everybody can read a repository\ntools/arcconf.yaml:2:125: files[\"a/b\"]: sha256: want the digest of the file, 64 hexadecimal digits in small letters\ntools/arcconf.yaml:2:125: files[\"a/b\"]: url: missing; want where the site gets the file, or artifact: a file below its artifacts\ntools/arcconf.yaml:3:1: sha: unknown key; want artifact, description, files, sha256 or url\ntools/ssacli.yaml:1:1: url, artifact: both are given; want one of them\ntools/ssacli.yaml:3:9: sha256: want the digest of the file, 64 hexadecimal digits in small letters\ntools/storcly.yaml: no controller asks for a tool of that name; did you mean storcli?\n"},
		"files that are not understood": {"-- profile/x.yaml --\nx\n-- TODO --\nx\n-- profiles/x.yml --\nx\n-- profiles/dell/r640.yaml --\nx\n-- templates/motd --\nx\n-- templates/a b.tmpl --\nx\n-- scripts/x.sh --\necho\r\n-- vars/x.yaml --\na: [\n-- README.md --\nfree text {{\n-- docs/x --\nÿ\n-- profiles/.swp --\nx\n-- templates/snippets/README --\nx\n", "\nTODO: has no meaning at the top of a repository; want models, os, profiles, scripts, sites, templates, tools or vars\nprofile: has no meaning at the top of a repository; did you mean profiles?\nprofiles/dell: is a directory; want the files of profiles directly in it\nprofiles/x.yml: is not a file of profiles; want a name that ends in .yaml\nscripts/x.sh:1:5: the line ends in a carriage return (CRLF); want a line feed alone: dos2unix, or `* text eol=lf` in .gitattributes\ntemplates/a b.tmpl: is not a name that other files could use; want letters, digits and . _ + @ -\ntemplates/motd: is not a file of templates; want a name that ends in .tmpl\nvars/x.yaml:1:4: is not YAML: sequence end token ']' not found\n"},
		"Git LFS and submodules": {`-- scripts/tool --
version https://git-lfs.github.com/spec/v1
oid sha256:` + sha + `
size 123
-- .gitmodules --
[submodule "shared"]
	path = shared
`, `
.gitmodules:1:1: submodules are not supported: an installation pins one commit of one repository; copy the files into it
scripts/tool:1:1: is a pointer of Git LFS, not the file; LFS is not supported: commit the text itself, or put large files among the site's artifacts
`},
		"several in several files": {`-- profiles/web.yaml --
disc: {}
os: debian
-- os/debian.yaml --
kind: installer
installer: preseed
kernel: {path: debian/linux}
answers: {preseed.cfg: templates/preseed.cfg.tmpl}
-- sites/fra.yaml --
vars: {ntp: 5}
-- templates/snippets/report.tmpl --
{{ .vars.npt }}
`, `
os/debian.yaml:3:9: kernel.sha256: missing; want the SHA-256 of the file, 64 hexadecimal digits: nothing is installed whose digest is not pinned
profiles/web.yaml:1:1: disc: unknown key; did you mean disk?
sites/fra.yaml:1:13: vars.ntp: is the number 5; want a text, in quotes
templates/snippets/report.tmpl:1:4: variable npt is not declared in vars/; did you mean ntp?
`},
		"no profile": {`-- profiles/web.yaml --
`, `
profiles/web.yaml:1:1: is empty; want a mapping
`},
	} {
		t.Run(name, func(t *testing.T) {
			repo, errs := Load(with(small, c.files))
			require.Nil(t, repo)
			var got []string
			for _, e := range errs {
				got = append(got, e.Error())
			}
			require.Equal(t, strings.TrimSpace(c.want), strings.Join(got, "\n"))
		})
	}
}
