package pxe

import (
	"fmt"
	"hash/fnv"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// How iPXE reads a script (src/image/script.c, src/core/exec.c, the same from 2013 to today): lines are cut at \n, a
// backslash at the end joins the next; a line is split into words at white space, without any quoting; a word that
// begins with # begins a comment; the words ||, && and ; end a command; then each word's ${...} are expanded. Since
// expansion comes last, the value of a setting cannot become a command, but text that we write into the script can.

// maxArgs leaves room for what iPXE adds to the command line; Linux cuts at COMMAND_LINE_SIZE, 2048 on x86 and arm64.
const maxArgs = 2000

const (
	maxMessageLines = 20
	maxMessageLine  = 240
)

// Escape makes any text safe as words of an iPXE command: what could end the line or the command, expand a setting or
// begin a comment is replaced by harmless look-alikes, everything outside printable ASCII by a question mark. The
// result may still begin with a dash, which iPXE takes for an option: put a word of your own before it.
func Escape(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\v' || r == '\f':
			return ' '
		case r == '\\':
			return '/'
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
	words := strings.Fields(strings.ReplaceAll(s, "${", "$("))
	for i, w := range words {
		switch {
		case w == "||", w == "&&":
			words[i] = w[:1]
		case w == ";":
			words[i] = ","
		case w[0] == '#':
			words[i] = "'" + w
		}
	}
	return strings.Join(words, " ")
}

// words brings a kernel command line into words that iPXE hands on unchanged, or says why it cannot.
func words(args string) ([]string, error) {
	ws := strings.Fields(args)
	for _, w := range ws {
		for i := 0; i < len(w); i++ {
			if w[i] < ' ' || w[i] > '~' {
				return nil, fmt.Errorf("kernel argument %q contains bytes outside printable ASCII", w)
			}
		}
		switch {
		case w == "||" || w == "&&" || w == ";":
			return nil, fmt.Errorf("kernel argument %q would end the command in an iPXE script", w)
		case w[0] == '#':
			return nil, fmt.Errorf("kernel argument %q would begin a comment in an iPXE script", w)
		case strings.Contains(w, "${"):
			return nil, fmt.Errorf("kernel argument %q would be expanded by iPXE; use a Script if that is wanted", w)
		}
	}
	return ws, nil
}

// location makes the absolute URL of a kernel or initrd, as one word of a script.
func location(base, loc string) (string, error) {
	u, err := url.Parse(loc)
	if err != nil {
		return "", fmt.Errorf("location %q: %w", loc, err)
	}
	switch {
	case u.Scheme == "" && u.Host == "" && strings.HasPrefix(loc, "/"):
		s := u.EscapedPath()
		if u.RawQuery != "" {
			s += "?" + u.RawQuery
		}
		loc = base + s
	case u.Host != "" && fetchable[u.Scheme]:
		loc = u.Scheme + "://" + u.Host + u.EscapedPath()
		if u.User != nil {
			loc = u.Scheme + "://" + u.User.String() + "@" + u.Host + u.EscapedPath()
		}
		if u.RawQuery != "" {
			loc += "?" + u.RawQuery
		}
	default:
		return "", fmt.Errorf("location %q is neither a path on this server (/artifacts/...) nor an absolute http, "+
			"https, tftp, ftp or nfs URL", loc)
	}
	for i := 0; i < len(loc); i++ {
		if loc[i] <= ' ' || loc[i] > '~' || loc[i] == '\\' {
			return "", fmt.Errorf("location %q contains bytes that need percent encoding", loc)
		}
	}
	if u.Fragment != "" || strings.Contains(loc, "${") {
		return "", fmt.Errorf("location %q contains a fragment or ${, which iPXE would not fetch as it stands", loc)
	}
	return loc, nil
}

// location is where this machine fetches something.
func (c Client) location(loc string) (string, error) {
	if c.ArtifactsURL != "" && strings.HasPrefix(loc, "/artifacts/") {
		return location(c.ArtifactsURL, loc)
	}
	return location(c.BaseURL, loc)
}

var fetchable = map[string]bool{"http": true, "https": true, "tftp": true, "ftp": true, "nfs": true}

// A script is written line by line; every method keeps the rule that foreign text enters only escaped or validated.
type script struct {
	strings.Builder
}

func newScript() *script {
	s := &script{}
	s.line("#!ipxe")
	return s
}

// line writes words that are the server's own.
func (s *script) line(words ...string) {
	s.WriteString(strings.Join(words, " "))
	s.WriteByte('\n')
}

// say prints foreign text on the console. The prefix keeps a leading dash from being taken for an option.
func (s *script) say(msg string) {
	for _, l := range messageLines(msg) {
		l = Escape(l)
		if len(l) > maxMessageLine {
			// Escape again: the cut may have made a word what it must not be.
			l = Escape(l[:maxMessageLine])
		}
		s.line("echo", "Loda:", l)
	}
}

// messageLines are the lines of a message that are shown: those that are not blank, and not too many.
func messageLines(msg string) []string {
	var lines []string
	for l := range strings.SplitSeq(msg, "\n") {
		if l = strings.TrimSpace(l); l == "" {
			continue
		}
		if len(lines) == maxMessageLines-1 {
			return append(lines, "...")
		}
		lines = append(lines, l)
	}
	return lines
}

// ask writes the end of a script that goes back to the server: it chains to url until that succeeds, with growing
// pauses, and reboots when it has failed too often. --replace makes the fetched script's exit status that of iPXE
// itself: without it, a script that leaves for the local disk with `exit 1` would come back here.
func (s *script) ask(url string, attempt int, r retries) {
	s.line(":ask")
	for i := attempt; i < r.max; i++ {
		s.line("chain", "--replace", "--autofree", url, "||")
		s.say(fmt.Sprintf("no answer from the boot server, attempt %d of %d", i+1, r.max))
		s.line("sleep", seconds(r.pause(i)))
	}
	s.giveUp(r, "", "goto", "ask")
}

// giveUp starts the machine anew, or leaves it to its disk; an iPXE that was built without the command goes on with
// otherwise.
func (s *script) giveUp(r retries, platform Platform, otherwise ...string) {
	if r.disk {
		s.say("giving up, booting from the local disk")
		s.leave(platform)
		return
	}
	s.say("giving up, rebooting")
	s.line("sleep", "10")
	s.line(append([]string{"reboot", "||"}, otherwise...)...)
}

// again pauses and sends the machine through the introduction once more; attempt is what has failed so far.
func (s *script) again(base string, platform Platform, pause time.Duration, attempt int, r retries) {
	next := base + "/boot/ipxe"
	if attempt > 0 {
		next += "?try=" + strconv.Itoa(attempt)
	}
	if attempt >= r.max {
		s.giveUp(r, platform)
		if r.disk {
			return
		}
		attempt, next = 0, base+"/boot/ipxe"
	} else {
		s.say(fmt.Sprintf("asking again in %s seconds", seconds(pause)))
		s.line("sleep", seconds(pause))
	}
	s.ask(next, attempt, r)
}

// retries say how a machine goes on asking.
type retries struct {
	max  int    // attempts, after which it gives up
	disk bool   // then it boots its disk, and does not start anew
	who  string // tells machines apart, so that those which were powered on together do not ask together for ever
}

// pause is the backoff after an attempt and up to half as much again. The surplus is always the same for one machine and
// attempt, as iPXE has no dice, and a script that can be foretold can be tested.
func (r retries) pause(attempt int) time.Duration {
	pause := backoff(attempt)
	if r.who == "" {
		return pause
	}
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %d", r.who, attempt)
	return pause + time.Duration(h.Sum32()%uint32(pause/(2*time.Second)+1))*time.Second
}

// identity is what of a machine tells it from others, if anything does.
func (c Client) identity() string {
	if len(c.MACs) > 0 {
		return c.MACs[0].String()
	}
	return c.UUID + c.Serial
}

// backoff is the pause after the attempt, counted from 0: 2, 4, 8, 16, 30, 30... seconds.
func backoff(attempt int) time.Duration {
	if attempt >= 4 {
		return 30 * time.Second
	}
	return 2 * time.Second << max(attempt, 0)
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// introduction is the script that makes iPXE say who it is.
//
// Free text of the firmware goes as hexadecimal digits (hexraw), although iPXE has uristring: until November 2021
// iPXE decoded a URL and encoded it anew before it asked, so that a serial number `A&B+C` arrived as `A` (seen with
// Debian's iPXE of 2019).
func introduction(base string, attempt int, r retries) string {
	s := newScript()
	s.line("# Tells the boot server which machine this is, and runs what it answers.")
	q := []string{"mac=${netX/mac}"}
	for i := range maxNICs {
		q = append(q, fmt.Sprintf("mac=${net%d/mac}", i))
	}
	q = append(q, "uuid=${uuid}", "platform=${platform}", "arch=${buildarch}")
	for _, name := range []string{"serial", "manufacturer", "product", "asset", "version"} {
		q = append(q, name+"-hex=${"+name+":hexraw}")
	}
	if attempt > 0 {
		q = append(q, "try="+strconv.Itoa(attempt))
	}
	s.line("set", "loda-query", strings.Join(q, "&"))
	s.say("asking " + base + " what to boot")
	s.ask(base+"/boot/script?${loda-query}", attempt, r)
	return s.String()
}

// renderRetry is the script for a machine that cannot be told what to do now.
func renderRetry(reason string, c Client, r retries) string {
	s := newScript()
	s.say(reason)
	s.again(c.BaseURL, c.Platform, r.pause(c.Attempt), c.Attempt+1, r)
	return s.String()
}

// RenderScript writes an instruction as the iPXE script that [Handler] would answer a machine with. The error says what of
// it cannot be said in iPXE.
func RenderScript(in Instruction, c Client) (string, error) {
	return render(in, c, retries{max: defaultAttempts, who: c.identity()})
}

// render writes an instruction as a script. The error says what of it cannot be said in iPXE.
func render(in Instruction, c Client, r retries) (string, error) {
	switch in := in.(type) {
	case Kernel:
		return renderKernel(in, c, r)
	case LocalDisk:
		return renderLocalDisk(in, c), nil
	case Wait:
		pause := in.Retry
		if pause == 0 {
			pause = 30 * time.Second
		}
		s := newScript()
		s.say(in.Message)
		// Waiting is no failure: the count of attempts begins anew.
		s.again(c.BaseURL, c.Platform, min(max(pause, time.Second), time.Hour), 0, r)
		return s.String(), nil
	case Script:
		// iPXE itself accepts any white space after the magic (script_probe).
		if !strings.HasPrefix(string(in), "#!ipxe\n") && !strings.HasPrefix(string(in), "#!ipxe\r\n") {
			return "", fmt.Errorf("a Script must begin with a line #!ipxe")
		}
		return string(in), nil
	case nil:
		return "", fmt.Errorf("the Booter returned no instruction and no error")
	default:
		return "", fmt.Errorf("unknown kind of instruction %T", in)
	}
}

func renderKernel(k Kernel, c Client, r retries) (string, error) {
	kernel, err := c.location(k.Kernel)
	if err != nil {
		return "", fmt.Errorf("kernel: %w", err)
	}
	args, err := words(k.Args)
	if err != nil {
		return "", err
	}
	var initrds, all []string
	for i, loc := range k.Initrds {
		initrd, err := c.location(loc)
		if err != nil {
			return "", fmt.Errorf("initrd %d: %w", i, err)
		}
		initrds = append(initrds, initrd)
		// The EFI stub reads its initrds itself, by name, through the file system that iPXE shows it
		// (drivers/firmware/efi/libstub); BIOS kernels find them in memory.
		if c.Platform == EFI {
			all = append(all, fmt.Sprintf("initrd=initrd%d", i))
		}
	}
	all = append(all, args...)
	if n := len(strings.Join(all, " ")); n > maxArgs {
		return "", fmt.Errorf("the kernel command line has %d bytes, at most %d fit", n, maxArgs)
	}

	s := newScript()
	s.say(k.Message)
	// A previous attempt may have left a kernel and half of its initrds behind.
	s.line("imgfree")
	s.line(append([]string{"kernel", "--name", "kernel", kernel}, append(all, "||", "goto", "failed")...)...)
	for i, initrd := range initrds {
		s.line("initrd", "--name", fmt.Sprintf("initrd%d", i), initrd, "||", "goto", "failed")
	}
	s.line("boot", "||", "goto", "failed")
	s.line(":failed")
	s.say("could not fetch or start the kernel")
	s.again(c.BaseURL, c.Platform, r.pause(c.Attempt), c.Attempt+1, r)
	return s.String(), nil
}

// biosDrives is how many of the BIOS's disks, which it numbers from 0x80, are tried.
const biosDrives = 8

func renderLocalDisk(d LocalDisk, c Client) string {
	s := newScript()
	s.say(d.Message)
	s.say("booting from the local disk")
	if pause := min(d.Pause, time.Hour); pause > 0 {
		s.line("prompt", "--timeout", strconv.FormatInt(pause.Milliseconds(), 10), "Press", "a", "key", "to",
			"go", "on", "at", "once", "||")
	}
	s.leave(c.Platform)
	return s.String()
}

// leave goes on with the local disk. A platform that is not known is found out on the machine.
func (s *script) leave(platform Platform) {
	// UEFI: sanboot does not work in the iPXE of 2019; exit 0 counts as "booted something" and lands in the firmware's
	// setup, exit 1 goes on in the boot order.
	switch platform {
	case BIOS:
	case EFI:
		s.line("exit 1")
		return
	default:
		s.line("iseq ${platform} efi && exit 1 ||")
	}
	// BIOS: returning to it (exit) makes some restart the boot order with the network; so iPXE boots a disk itself. The
	// system may be on any disk of the machine: one without a boot sector fails and the next is tried.
	for drive := range biosDrives {
		s.line("sanboot", "--no-describe", "--drive", fmt.Sprintf("%#x", 0x80+drive), "||")
	}
	s.line("exit")
}
