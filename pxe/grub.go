package pxe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A GRUB answers the GRUB of a signed boot chain, which firmware with Secure Boot lets run, by TFTP:
//
//	firmware ── TFTP ──▶ shimx64.efi        signed by Microsoft: the firmware knows the key
//	shim     ── TFTP ──▶ grubx64.efi        signed by Debian: shim knows the key
//	GRUB     ── TFTP ──▶ grub/grub.cfg      who are you? (serial number, UUID, MAC)
//	         ── TFTP ──▶ grub/ask;...       Booter.Boot → GRUB script
//	         ── TFTP ──▶ artifacts/...      kernel and initrds, or by HTTP where that is on port 80
//
// Give it to a [TFTPServer], whose Files have Debian's shim and GRUB ([OpenNBPs]), and let DHCP give UEFI firmware the
// boot file shimx64.efi. Kernels must be signed by a key that shim or the firmware knows, as Debian's are.
//
// TFTP it is, although GRUB speaks HTTP: that of Debian 12 knows port 80 only, and finds no configuration at all when
// the firmware has loaded it by HTTP boot (seen with 2.06-13+deb12u2 and OVMF 2022.11).
type GRUB struct {
	// Booter decides. It is required, and may be that of [Handler]. Its Client has one MAC, the texts of [Client] but for
	// Asset, Platform [EFI] and Loader [LoaderGRUB]. A [Script] is none for GRUB and counts as an error.
	Booter Booter
	// BaseURL is where machines reach [Handler], for [Client.BaseURL], such as http://{server}:8080 where {server} stands
	// for the address that the machine's request came to. Empty: http://{server}.
	BaseURL string
	// BootTimeout is the deadline of Booter; 0 means 10 seconds.
	BootTimeout time.Duration
	// MaxAttempts is how often a machine asks in vain before it reboots; 0 means 20.
	MaxAttempts int
	// Logger gets what an operator should see; nil means [slog.Default].
	Logger *slog.Logger
}

// The names that GRUB asks for. It looks for grub.cfg-01-MAC and others first, which do not exist.
const (
	grubConfig = "grub/grub.cfg"
	grubAsk    = "grub/ask"
)

// grubTexts are what a machine says of itself at the end of the name that it asks for, since they can hold anything. One
// that holds the next one's name is cut there, and nothing else happens.
var grubTexts = []string{"serial", "manufacturer", "product"}

// answers says whether the name is one of GRUB's, and not one of a file.
func (g *GRUB) answers(name string) bool {
	name = strings.TrimLeft(name, "/")
	return g != nil && (name == grubConfig || strings.HasPrefix(name, grubAsk+";"))
}

// answer returns the text of one of GRUB's names.
func (g *GRUB) answer(ctx context.Context, name string, remote, local netip.Addr) (string, error) {
	said, ok := strings.CutPrefix(strings.TrimLeft(name, "/"), grubAsk+";")
	if !ok {
		return grubIntroduction(g.maxAttempts()), nil
	}
	c, err := parseGRUB(said, g.maxAttempts())
	if err != nil {
		return "", fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	c.Remote = remote
	if local.IsValid() {
		c.Local = netip.AddrPortFrom(local, 0)
	}
	base := g.BaseURL
	if base == "" {
		base = "http://{server}"
	}
	c.BaseURL = strings.TrimRight(strings.ReplaceAll(base, "{server}", bracketed(local)), "/")

	var text string
	in, err := decide(ctx, g.Booter, g.BootTimeout, c)
	if err == nil {
		text, err = renderGRUB(in, c, g.maxAttempts())
	}
	if err != nil {
		g.log().Error("cannot say what a machine boots; it asks again", "serial", c.Serial, "uuid", c.UUID,
			"macs", macs(c), "client", c.Remote, "attempt", c.Attempt, "err", err)
		s := newGRUBScript()
		s.say("the boot server cannot say now what this machine boots; its log has the reason")
		s.again(c.Attempt+1, g.maxAttempts())
		text = s.String()
	}
	return text, nil
}

func (g *GRUB) maxAttempts() int {
	if g.MaxAttempts <= 0 {
		return defaultAttempts
	}
	return g.MaxAttempts
}

func (g *GRUB) log() *slog.Logger {
	if g.Logger == nil {
		return slog.Default()
	}
	return g.Logger
}

func bracketed(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// parseGRUB reads what GRUB says of its machine: try=0;arch=x86_64;mac=...;uuid=...;serial=...;manufacturer=...;product=...
// What is malformed counts as not said.
func parseGRUB(said string, maxAttempts int) (Client, error) {
	texts := map[string]string{}
	for i := len(grubTexts) - 1; i >= 0; i-- {
		if before, after, ok := strings.Cut(said, ";"+grubTexts[i]+"="); ok {
			said, texts[grubTexts[i]] = before, after
		}
	}
	q := url.Values{}
	for _, field := range strings.Split(said[:min(len(said), maxText)], ";") {
		if name, value, ok := strings.Cut(field, "="); ok {
			q.Add(name, value)
		}
	}
	for name, value := range texts {
		q.Set(name, value)
	}
	q.Del("platform")
	c, err := parseClient(q)
	c.Platform, c.Loader = EFI, LoaderGRUB
	c.Attempt = parseAttempt(q, maxAttempts-1)
	return c, err
}

// expectedMiss tells names that boot programs ask for to see whether they are there, and can do without: recent iPXE's
// script; shim's revocations and certificates; GRUB's configuration by address, and the lists of modules that the signed
// GRUB has built in.
func expectedMiss(name string) bool {
	base := path.Base(name)
	switch {
	case base == "autoexec.ipxe",
		strings.HasPrefix(base, "revocations") && strings.HasSuffix(base, ".efi"),
		strings.HasPrefix(base, "shim_certificate") && strings.HasSuffix(base, ".efi"),
		strings.HasPrefix(base, "grub.cfg-"), base == "grub.cfg":
		return true
	}
	switch path.Ext(base) {
	case ".lst", ".mod":
		return strings.Contains(name, "-efi/")
	}
	return false
}

// How GRUB reads a script (GNU GRUB manual 2.06, section 6.1): a text in single quotes is taken as it is, whatever is in
// it, up to the next single quote; the value of a variable in double quotes is never read as script. Everything foreign
// is therefore one or the other. Before a kernel sees its command line, GRUB puts a backslash before each quote and
// backslash in it, and quotes around words with blanks (grub-core/lib/cmdline.c).

type grubScript struct {
	strings.Builder
	indent string
}

func newGRUBScript() *grubScript {
	s := &grubScript{}
	// So the machine knows that it has been answered, although `source` does not say whether it succeeded.
	s.line("set", "loda_told=yes")
	return s
}

func (s *grubScript) line(words ...string) {
	s.WriteString(s.indent + strings.Join(words, " ") + "\n")
}

// block writes the lines of f between open and end.
func (s *grubScript) block(open, end string, f func()) {
	s.line(open)
	s.indent += "\t"
	f()
	s.indent = s.indent[1:]
	s.line(end)
}

// grubQuote makes one word of a text that is printable ASCII.
func grubQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// say prints foreign text on the console.
func (s *grubScript) say(msg string) {
	for _, l := range messageLines(msg) {
		l = strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '?'
			}
			return r
		}, l)
		s.line("echo", grubQuote("Loda: "+l[:min(len(l), maxMessageLine)]))
	}
}

// again pauses; then the script is at its end, and the introduction asks once more.
func (s *grubScript) again(attempt, maxAttempts int) {
	if attempt >= maxAttempts {
		s.say("giving up, rebooting")
		s.line("sleep", "10")
		s.line("reboot")
		return
	}
	pause := seconds(backoff(attempt - 1))
	s.say("asking again in " + pause + " seconds")
	s.line("set", "loda_try="+strconv.Itoa(attempt))
	s.line("sleep", pause)
}

// grubIntroduction is grub/grub.cfg: it makes GRUB say who its machine is, for ever. It is the same for everyone.
func grubIntroduction(maxAttempts int) string {
	s := &grubScript{}
	s.line("# Tells the boot server which machine this is, and does what it answers.")
	// Strings and their numbers in SMBIOS' structure 1, system (DMTF DSP0134, section 7.2): offsets of the structure.
	for _, f := range [][2]string{{"serial", "--get-string 7"}, {"manufacturer", "--get-string 4"},
		{"product", "--get-string 5"}, {"uuid", "--get-uuid 8"}} {
		s.line("smbios", "--type", "1", f[1], "--set", "loda_"+f[0])
	}
	s.line("set", "loda_try=0")
	s.line("set", "loda_lost=")
	s.block("while true; do", "done", func() {
		s.line("set", "loda_told=")
		// GRUB makes one slash of several in a name; a serial number with two of them arrives with one.
		said := "try=$loda_try;arch=$grub_cpu;mac=$net_default_mac;uuid=$loda_uuid"
		for _, name := range grubTexts {
			said += ";" + name + "=$loda_" + name
		}
		s.line("source", `"(tftp,$net_default_server)/`+grubAsk+";"+said+`"`)
		s.block(`if [ "$loda_told" = yes ]; then`, "else", func() { s.line("set", "loda_lost=") })
		s.indent += "\t"
		s.line("set", `loda_lost="x$loda_lost"`)
		s.say("no answer from the boot server")
		s.block(`if [ "$loda_lost" = `+strings.Repeat("x", maxAttempts)+" ]; then", "fi", func() {
			s.say("giving up, rebooting")
			s.line("sleep", "10")
			s.line("reboot")
		})
		s.line("sleep", "10")
		s.indent = s.indent[1:]
		s.line("fi")
	})
	return s.String()
}

// RenderGRUB writes an instruction as the GRUB script that [GRUB] would answer a machine with. The error says what of it
// cannot be said in GRUB.
func RenderGRUB(in Instruction, c Client) (string, error) { return renderGRUB(in, c, defaultAttempts) }

func renderGRUB(in Instruction, c Client, maxAttempts int) (string, error) {
	s := newGRUBScript()
	switch in := in.(type) {
	case Kernel:
		if err := s.kernel(in, c); err != nil {
			return "", err
		}
		s.say("could not fetch or start the kernel")
		s.again(c.Attempt+1, maxAttempts)
	case LocalDisk:
		s.localDisk(in)
	case Wait:
		pause := in.Retry
		if pause == 0 {
			pause = 30 * time.Second
		}
		pause = min(max(pause, time.Second), time.Hour)
		s.say(in.Message)
		s.say("asking again in " + seconds(pause) + " seconds")
		s.line("set", "loda_try=0")
		s.line("sleep", seconds(pause))
	case Script:
		return "", errors.New("an iPXE script cannot be run by GRUB; this machine's chain must be that of iPXE")
	case nil:
		return "", errors.New("the Booter returned no instruction and no error")
	default:
		return "", fmt.Errorf("unknown kind of instruction %T", in)
	}
	return s.String(), nil
}

func (s *grubScript) kernel(k Kernel, c Client) error {
	kernel, err := grubFile(c, k.Kernel)
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	args := strings.Fields(k.Args)
	if n := len(strings.Join(args, " ")); n > maxArgs {
		return fmt.Errorf("the kernel command line has %d bytes, at most %d fit", n, maxArgs)
	}
	linux := []string{"linux", grubQuote(kernel)}
	for _, w := range args {
		for i := 0; i < len(w); i++ {
			switch {
			case w[i] <= ' ' || w[i] > '~':
				return fmt.Errorf("kernel argument %q contains bytes outside printable ASCII", w)
			case strings.IndexByte(`\'"`, w[i]) >= 0:
				return fmt.Errorf("kernel argument %q contains %q, before which GRUB puts a backslash that the kernel sees",
					w, w[i])
			}
		}
		linux = append(linux, grubQuote(w))
	}
	initrd := []string{"initrd"}
	for i, loc := range k.Initrds {
		file, err := grubFile(c, loc)
		if err != nil {
			return fmt.Errorf("initrd %d: %w", i, err)
		}
		initrd = append(initrd, grubQuote(file))
	}
	s.say(k.Message)
	s.block("if "+strings.Join(linux, " ")+"; then", "fi", func() {
		if len(k.Initrds) == 0 {
			s.line("boot")
			return
		}
		s.block("if "+strings.Join(initrd, " ")+"; then", "fi", func() { s.line("boot") })
	})
	return nil
}

// grubHost is what may stand between the parentheses of a device: names and IPv4 addresses.
var grubHost = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.-]*$`)

// grubFile makes GRUB's name of a kernel or initrd.
func grubFile(c Client, loc string) (string, error) {
	text, err := location(c.BaseURL, loc)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("location %q: %w", loc, err)
	}
	scheme, host, name := u.Scheme, u.Hostname(), u.EscapedPath()
	ours := strings.HasPrefix(loc, "/")
	plain := u.Port() == "" || scheme == "http" && u.Port() == "80"
	switch {
	case u.User != nil, scheme != "http" && scheme != "tftp", !plain && !ours:
		return "", fmt.Errorf("location %q: GRUB fetches by http on port 80 and by tftp on port 69 only", loc)
	case scheme == "http" && plain:
		if u.RawQuery != "" {
			name += "?" + u.RawQuery
		}
	case u.RawQuery != "":
		return "", fmt.Errorf("location %q: TFTP has no queries", loc)
	default:
		scheme, name = "tftp", u.Path
		if ours && c.Local.IsValid() {
			host = c.Local.Addr().String()
		}
	}
	for i := 0; i < len(name); i++ {
		if name[i] < ' ' || name[i] > '~' {
			return "", fmt.Errorf("location %q contains bytes outside printable ASCII", loc)
		}
	}
	if !grubHost.MatchString(host) {
		return "", fmt.Errorf("location %q: %q is neither a name nor an IPv4 address, which is what GRUB can be given", loc, host)
	}
	return "(" + scheme + "," + host + ")" + name, nil
}

// loaders are where a disk's boot loader is: first where firmware itself looks on a disk that it has no entry for, then
// where distributions put theirs. A shim comes before its GRUB, which Secure Boot refuses alone.
var loaders = []string{
	"/EFI/BOOT/BOOTX64.EFI", "/EFI/debian/shimx64.efi", "/EFI/debian/grubx64.efi", "/EFI/ubuntu/shimx64.efi",
	"/EFI/redhat/shimx64.efi", "/EFI/rocky/shimx64.efi", "/EFI/almalinux/shimx64.efi", "/EFI/centos/shimx64.efi",
	"/EFI/fedora/shimx64.efi", "/EFI/sles/shim.efi", "/EFI/opensuse/shim.efi", "/EFI/systemd/systemd-bootx64.efi",
	"/EFI/Microsoft/Boot/bootmgfw.efi",
}

// localDisk starts the disk's boot loader. GRUB cannot leave for the next entry in the firmware's boot order: its `exit`
// counts as success, after which OVMF, as UEFI 2.10 section 3.1.1 allows, shows its menu.
func (s *grubScript) localDisk(d LocalDisk) {
	s.say(d.Message)
	s.say("booting from the local disk")
	if pause := min(d.Pause, time.Hour); pause > 0 {
		s.line("sleep", "--interruptible", seconds(pause))
	}
	s.block("for loda_file in "+strings.Join(loaders, " ")+"; do", "done", func() {
		s.block("for loda_disk in (hd*); do", "done", func() {
			s.block(`if [ -f "$loda_disk$loda_file" ]; then`, "fi", func() {
				// The loader is told that it comes from root, whatever device its file was read from.
				s.line("set", `root="$loda_disk"`)
				s.block(`if chainloader "$loda_disk$loda_file"; then`, "fi", func() { s.line("boot") })
			})
		})
	})
	s.say("no disk has a boot loader that can be started")
	s.line("exit")
}

// grubAnswers give a request that is sent again the answer that its first copy got. GRUB repeats what is not answered
// within 0.4 seconds, from the same port, and takes blocks from whichever answer they come: two answers with different
// tokens must not be mixed. The zero value is ready.
type grubAnswers struct {
	mu    sync.Mutex
	known map[grubRequest]*grubAnswer
	order []grubRequest // oldest first
}

// A grubRequest is the same one as long as the port is. GRUB takes another for each file.
type grubRequest struct {
	peer netip.AddrPort
	name string
}

type grubAnswer struct {
	done chan struct{} // closed when the others are set
	text string
	err  error
	at   time.Time
}

const (
	grubRemember = 10 * time.Second
	maxAnswers   = 4096 // that are kept
)

// get returns what ask has returned for the request, or does now. It waits for another's call until ctx is done.
func (a *grubAnswers) get(ctx context.Context, r grubRequest, ask func() (string, error)) (string, error) {
	a.mu.Lock()
	for len(a.order) > 0 && (len(a.order) >= maxAnswers || time.Since(a.known[a.order[0]].at) > grubRemember) {
		delete(a.known, a.order[0])
		a.order = a.order[1:]
	}
	answer, again := a.known[r]
	if !again {
		if a.known == nil {
			a.known = map[grubRequest]*grubAnswer{}
		}
		answer = &grubAnswer{done: make(chan struct{}), at: time.Now()}
		a.known[r], a.order = answer, append(a.order, r)
	}
	a.mu.Unlock()
	if again {
		select {
		case <-answer.done:
			return answer.text, answer.err
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	answer.text, answer.err = ask()
	close(answer.done)
	return answer.text, answer.err
}
