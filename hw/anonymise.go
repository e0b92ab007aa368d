//go:build linux

package hw

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/smbios"
)

// anonymiser replaces what identifies a machine. Replacements come from a key that nobody keeps: the same value becomes
// the same in one capture, and nothing leads back. They have the length and the kinds of characters of what they
// replace, so that tables keep their offsets and texts their meaning.
type anonymiser struct {
	key []byte
	// known are the replacements of single words: a serial number that stands within another one stays the same.
	known map[string]string
	// everywhere are byte strings that are replaced wherever they are; those in whole only where they are not a part of
	// a longer word.
	everywhere map[string]string
	whole      map[string]bool
	order      []string // of everywhere, longest first
}

func newAnonymiser() (*anonymiser, error) {
	a := &anonymiser{key: make([]byte, 32), known: map[string]string{}, everywhere: map[string]string{},
		whole: map[string]bool{}}
	_, err := rand.Read(a.key)
	return a, err
}

// span is a part of a file that is replaced.
type span struct {
	at  int
	new []byte
}

// capture returns an anonymised copy. The facts are what detection makes of the original.
func (a *anonymiser) capture(c *captured, facts *Facts) (*captured, error) {
	// First all addresses and then all texts, because a serial number can be an address; first all files and then the
	// replacing, because a value of one file can stand in another.
	spans := map[*node][]span{}
	var files []*node
	names := map[*node]string{}
	var walk func(n *node, name string)
	walk = func(n *node, name string) {
		if n.kind == "file" {
			files, names[n] = append(files, n), name
		}
		for _, child := range sortedNames(n.children) {
			walk(n.children[child], path.Join(name, child))
		}
	}
	walk(c.top, "")
	for _, addresses := range []bool{true, false} {
		for _, n := range files {
			spans[n] = append(spans[n], a.file(names[n], n.content, addresses)...)
		}
	}
	a.facts(facts)
	for old := range a.everywhere {
		a.order = append(a.order, old)
	}
	slices.SortFunc(a.order, func(x, y string) int {
		if len(x) != len(y) {
			return len(y) - len(x)
		}
		return strings.Compare(x, y)
	})

	clean := newCaptured()
	var copyTo func(n *node, name string) error
	copyTo = func(n *node, name string) error {
		if n.kind != "" && name != "" {
			replaced := node{kind: n.kind, err: n.err, target: string(a.rewrite([]byte(n.target), nil)),
				content: a.rewrite(n.content, spans[n])}
			if n.kind == "fails" {
				replaced.err = errnoNamed(string(a.rewrite([]byte(errnoName(n.err)), nil)))
			}
			if err := clean.put(string(a.rewrite([]byte(name), nil)), replaced); err != nil {
				return err
			}
			for _, text := range [][]byte{replaced.content, []byte(replaced.target)} {
				if left := a.left(text); left != "" {
					return fmt.Errorf("/%s would still hold an identifier of %d bytes", name, len(left))
				}
			}
		}
		if n.none && n.kind != "" {
			_ = clean.put(string(a.rewrite([]byte(name), nil)), node{kind: "none"})
		}
		for _, child := range sortedNames(n.children) {
			if err := copyTo(n.children[child], path.Join(name, child)); err != nil {
				return err
			}
		}
		return nil
	}
	return clean, copyTo(c.top, "")
}

func sortedNames(children map[string]*node) []string {
	names := make([]string, 0, len(children))
	for name := range children {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var armSerial = regexp.MustCompile(`(?m)^Serial\s*:[ \t]*(\S+)`)

// file returns what must be replaced at its place in one file: values that are too short or too common to be looked for
// everywhere, and binary ones.
func (a *anonymiser) file(name string, content []byte, addresses bool) []span {
	trimmed := strings.TrimSpace(string(content))
	start := bytes.Index(content, []byte(trimmed))
	whole := func(replacement string) []span { return []span{{start, []byte(replacement)}} }
	base := path.Base(name)
	if addresses {
		switch {
		case base == "address" && strings.Contains(name, "/net/"),
			base == "permanent" && strings.HasPrefix(name, ioctls+"ethtool/"):
			return whole(a.mac(trimmed))
		case base == "wwid":
			return whole(a.wwid(trimmed))
		case base == "sas_address", base == "port_name", base == "node_name":
			return whole(a.wwn(trimmed))
		case base == "product_uuid", base == "guid", base == "uuid" && strings.HasSuffix(path.Dir(name), "/md"):
			return whole(a.uuid(trimmed))
		case base == "vpd_pg83":
			return a.deviceIdentification(content)
		}
		return nil
	}
	switch {
	case base == "serial", base == "vpd_pg80" && len(content) > 4, strings.HasSuffix(base, "_serial"),
		strings.HasSuffix(base, "_asset_tag"):
		if base == "vpd_pg80" {
			return []span{{4, []byte(a.text(string(content[4:])))}}
		}
		return whole(a.text(trimmed))
	case base == "vpd_pg89":
		return a.identify(content)
	case name == dmiDir+"DMI":
		return a.smbios(content)
	case name == "proc/cpuinfo":
		var spans []span
		for _, m := range armSerial.FindAllSubmatchIndex(content, -1) {
			spans = append(spans, span{m[2], []byte(a.text(string(content[m[2]:m[3]])))})
		}
		return spans
	}
	return nil
}

// facts learns every identifier that detection has found, by whatever way.
func (a *anonymiser) facts(f *Facts) {
	for _, n := range f.NICs {
		a.mac(n.MAC)
		a.mac(n.CurrentMAC)
	}
	a.uuid(f.System.UUID)
	a.uuid(f.BMC.GUID)
	texts := []string{f.System.Serial, f.System.AssetTag, f.Board.Serial, f.Board.AssetTag, f.Chassis.Serial,
		f.Chassis.AssetTag}
	for _, c := range f.CPUs {
		texts = append(texts, c.Serial)
	}
	for _, d := range f.Memory.DIMMs {
		texts = append(texts, d.Serial)
	}
	for _, p := range f.PSUs {
		texts = append(texts, p.Serial)
	}
	for _, d := range f.Disks {
		a.wwid(d.WWN)
		texts = append(texts, d.Serial)
	}
	for _, t := range texts {
		a.text(t)
	}
}

// host learns the name of the machine, which asset tags like to repeat.
func (a *anonymiser) host(name string) {
	short, _, _ := strings.Cut(name, ".")
	for _, n := range []string{name, short} {
		if len(n) >= 4 && n != "localhost" {
			a.learn(n, a.text(n))
		}
	}
}

// stream is the source of replacements of one value.
func (a *anonymiser) stream(value string, attempt int) func() byte {
	var block []byte
	counter := uint32(attempt) << 16
	return func() byte {
		if len(block) == 0 {
			h := hmac.New(sha256.New, a.key)
			_ = binary.Write(h, binary.BigEndian, counter)
			h.Write([]byte(value))
			block = h.Sum(nil)
			counter++
		}
		b := block[0]
		block = block[1:]
		return b
	}
}

// text replaces every word of a value and keeps what is between them. Filler is no value and stays.
func (a *anonymiser) text(value string) string {
	if isFiller(strings.TrimSpace(strings.Trim(value, "\x00"))) {
		return value
	}
	out := []byte(value)
	for i := 0; i < len(out); {
		j := i
		for j < len(out) && isWordByte(value[j]) {
			j++
		}
		if j == i {
			i++
			continue
		}
		copy(out[i:j], a.word(value[i:j]))
		i = j
	}
	if t := strings.TrimSpace(strings.Trim(value, "\x00")); len(t) >= 6 {
		at := strings.Index(value, t)
		a.learn(t, string(out[at:at+len(t)]))
	}
	return string(out)
}

func isWordByte(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

func (a *anonymiser) word(word string) string {
	if known, ok := a.known[word]; ok {
		return known
	}
	out := []byte(word)
	// A serial number 1 must become neither itself nor 0, which is filler.
	for attempt := 0; string(out) == word || isFiller(string(out)); attempt++ {
		next := a.stream(word, attempt)
		for i, b := range []byte(word) {
			switch {
			case b >= '0' && b <= '9':
				out[i] = '0' + next()%10
			case b >= 'A' && b <= 'Z':
				out[i] = 'A' + next()%26
			default:
				out[i] = 'a' + next()%26
			}
		}
	}
	a.known[word] = string(out)
	if len(word) >= 6 && strings.ContainsAny(word, "0123456789") {
		a.learn(word, string(out))
	}
	return string(out)
}

// learn notes a text for replacement everywhere, in both cases and in hexadecimal, as NVMe's wwid has serial numbers.
func (a *anonymiser) learn(old, replacement string) {
	for _, form := range []func(string) string{
		func(s string) string { return s }, strings.ToUpper, strings.ToLower,
		func(s string) string { return hex.EncodeToString([]byte(s)) },
	} {
		if o, n := form(old), form(replacement); o != n && len(o) == len(n) && len(o) >= 4 {
			if _, ok := a.everywhere[o]; !ok {
				a.everywhere[o] = n
				// A number, or a word without a digit, could be anything else as well.
				a.whole[o] = len(o) < 12 && (strings.Trim(o, "0123456789") == "" || !strings.ContainsAny(o, "0123456789"))
			}
		}
	}
}

// digits replaces hexadecimal digits, but for those that keep tells by their number.
func (a *anonymiser) digits(value string, keep func(i int) bool) string {
	plain := strings.Map(func(r rune) rune {
		if isHex(r) {
			return r
		}
		return -1
	}, strings.ToLower(value))
	if strings.Trim(plain, "0") == "" || strings.Trim(plain, "f") == "" {
		return value
	}
	out := []byte(value)
	for attempt := 0; string(out) == value && attempt < 100; attempt++ {
		next := a.stream("hex "+plain, attempt)
		n := 0
		for i, b := range []byte(value) {
			if !isHex(rune(b)) {
				continue
			}
			if !keep(n) {
				out[i] = "0123456789abcdef"[next()%16]
				if b >= 'A' && b <= 'F' {
					out[i] = strings.ToUpper(string(out[i]))[0]
				}
			}
			n++
		}
	}
	return string(out)
}

func isHex(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F'
}

// address learns an address and its replacement in all ways to write it, binary too.
func (a *anonymiser) address(value, replacement string) {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if isHex(r) {
				return r
			}
			return -1
		}, strings.ToLower(s))
	}
	old, new := plain(value), plain(replacement)
	if old == new || len(old) != len(new) {
		return
	}
	for _, form := range []func(string) string{
		func(s string) string { return s }, strings.ToUpper,
		func(s string) string { b, _ := hex.DecodeString(s); return string(b) },
	} {
		if o := form(old); len(o) >= 6 {
			a.everywhere[o] = form(new)
			a.known[o] = form(new)
		}
	}
	for _, form := range []func(string) string{func(s string) string { return s }, strings.ToUpper, strings.ToLower} {
		a.everywhere[form(value)] = form(replacement)
	}
}

// mac keeps the vendor's part.
func (a *anonymiser) mac(value string) string {
	if len(value) < 11 {
		return value
	}
	replacement := a.digits(value, func(i int) bool { return i < 6 })
	a.address(value, replacement)
	if dashed := strings.ReplaceAll(value, ":", "-"); dashed != value {
		a.everywhere[dashed] = strings.ReplaceAll(replacement, ":", "-")
	}
	return replacement
}

// wwn of SAS and Fibre Channel, with 0x or without. What kind of name it is, and the vendor's number, stay.
func (a *anonymiser) wwn(value string) string {
	prefix, number := "", value
	if rest, ok := strings.CutPrefix(value, "0x"); ok {
		prefix, number = "0x", rest
	}
	if len(number) < 12 {
		return value
	}
	keep := 7 // NAA 5 and 6: four bits of kind, 24 of vendor
	if number[0] == '1' || number[0] == '2' {
		keep = 10 // 12 more bits before the vendor
	}
	if number[0] == '3' {
		keep = 1
	}
	replacement := a.digits(number, func(i int) bool { return i < keep })
	a.address(number, replacement)
	return prefix + replacement
}

// wwid as the kernel writes it.
func (a *anonymiser) wwid(value string) string {
	kind, name, _ := strings.Cut(value, ".")
	switch kind {
	case "naa":
		return "naa." + a.wwn(name)
	case "uuid":
		return "uuid." + a.uuid(name)
	case "eui":
		replacement := a.digits(name, func(i int) bool { return i < 6 })
		if len(name) == 32 { // NGUID: eight bytes of the vendor's choice, three of vendor, five more
			counted := strings.Trim(name[:15], "0") == ""
			replacement = a.digits(name, func(i int) bool { return i >= 16 && i < 22 || counted && i < 16 })
		}
		a.address(name, replacement)
		return "eui." + replacement
	case "nvme": // vendor, serial number and model in hexadecimal, namespace
		parts := strings.Split(name, "-")
		if len(parts) >= 2 {
			if raw, err := hex.DecodeString(parts[1]); err == nil {
				parts[1] = hex.EncodeToString([]byte(a.text(string(raw))))
			}
		}
		return "nvme." + strings.Join(parts, "-")
	}
	return a.words(value)
}

// words replaces those words of a text that look like a number somebody gave: long, and with digits.
func (a *anonymiser) words(value string) string {
	return longWord.ReplaceAllStringFunc(value, func(w string) string {
		if strings.ContainsAny(w, "0123456789") {
			return a.word(w)
		}
		return w
	})
}

var longWord = regexp.MustCompile(`[0-9A-Za-z]{6,}`)

func (a *anonymiser) uuid(value string) string {
	if len(value) < 32 {
		return value
	}
	replacement := a.digits(value, func(i int) bool { return i == 12 }) // the version
	a.address(value, replacement)
	// SMBIOS has the first three fields in little endian.
	swap := func(s string) string {
		b, err := hex.DecodeString(strings.ToLower(strings.ReplaceAll(s, "-", "")))
		if err != nil || len(b) != 16 {
			return ""
		}
		slices.Reverse(b[0:4])
		slices.Reverse(b[4:6])
		slices.Reverse(b[6:8])
		return string(b)
	}
	if old := swap(value); old != "" && old != swap(replacement) {
		a.everywhere[old] = swap(replacement)
	}
	return replacement
}

// deviceIdentification anonymises VPD page 83 (SPC-4 7.8.6).
func (a *anonymiser) deviceIdentification(page []byte) []span {
	var spans []span
	for at := 4; at+4 <= len(page); {
		end := at + 4 + int(page[at+3])
		if end > len(page) {
			break
		}
		value := page[at+4 : end]
		kind, ascii := page[at+1]&0x0f, page[at]&0x0f != 1
		switch {
		case kind == 2 || kind == 3:
			b, err := hex.DecodeString(a.wwn(hex.EncodeToString(value)))
			if err == nil {
				spans = append(spans, span{at + 4, b})
			}
		case ascii && (kind == 0 || kind == 1):
			spans = append(spans, span{at + 4, []byte(a.words(string(value)))})
		case ascii && kind == 8:
			spans = append(spans, span{at + 4, []byte(a.wwid(string(value)))})
		}
		at = end
	}
	return spans
}

// identify anonymises the IDENTIFY DEVICE data in VPD page 89: serial number, media serial number and WWN. The last
// word is a checksum, which detection does not look at.
func (a *anonymiser) identify(page []byte) []span {
	const start = 60
	if len(page) < start+512 {
		return nil
	}
	words := func(first, last int, replace func(string) string) span {
		swapped := swapBytes(page[start+2*first : start+2*last+2])
		return span{start + 2*first, swapBytes([]byte(replace(string(swapped))))}
	}
	binary := func(s string) string {
		b, _ := hex.DecodeString(a.wwn(hex.EncodeToString([]byte(s))))
		return string(b)
	}
	return []span{words(10, 19, a.text), words(176, 205, a.text), words(108, 111, binary)}
}

func swapBytes(b []byte) []byte {
	out := bytes.Clone(b)
	for i := 0; i+1 < len(out); i += 2 {
		out[i], out[i+1] = out[i+1], out[i]
	}
	return out
}

// smbiosSecrets are the offsets of serial numbers and asset tags, by the types that detection reads.
var smbiosSecrets = map[smbios.TableType][]int{
	0: nil, 1: {0x07}, 2: {0x07, 0x08}, 3: {0x07, 0x08}, 4: {0x20, 0x21}, 9: nil, 16: nil, 17: {0x18, 0x19}, 38: nil,
	39: {0x08, 0x09}, 127: nil,
}

// smbios anonymises the tables. Types that detection does not read keep their place and length and nothing else: makers
// put service tags and MAC addresses there in ways of their own.
func (a *anonymiser) smbios(data []byte) []span {
	var spans []span
	at := 0
	for at < len(data) {
		s, next, err := parseStructure(data[at:])
		if s == nil {
			break
		}
		start := at + len(s.data) // of the strings
		secrets, read := smbiosSecrets[s.Type]
		if !read {
			spans = append(spans, span{at + 4, make([]byte, len(s.data)-4)})
		}
		if raw, ok := s.bytes(0x08, 16); ok && s.Type == 1 {
			spans = append(spans, a.rawUUID(at+0x08, raw))
		}
		for i, text := range s.strings {
			secret := slices.ContainsFunc(secrets, func(offset int) bool {
				index, ok := s.byte(offset)
				return ok && int(index) == i+1
			})
			switch {
			case !read:
				spans = append(spans, span{start, blank(text)})
			case secret:
				spans = append(spans, span{start, []byte(a.text(string(text)))})
			}
			start += len(text) + 1
		}
		if err != nil {
			return spans // its strings go to the end of the table
		}
		at += next
	}
	if at+4 < len(data) { // what is no structure
		spans = append(spans, span{at + 4, blank(data[at+4:])})
	}
	return spans
}

func (a *anonymiser) rawUUID(at int, raw []byte) span {
	if replacement, ok := a.everywhere[string(raw)]; ok {
		return span{at, []byte(replacement)}
	}
	b := bytes.Clone(raw)
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	text := func(b []byte) string { return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16]) }
	a.uuid(text(b)) // learns both byte orders
	if replacement, ok := a.everywhere[string(raw)]; ok {
		return span{at, []byte(replacement)}
	}
	return span{at, raw} // all zeros, all ones
}

// blank keeps the kinds of characters and nothing else.
func blank(text []byte) []byte {
	out := bytes.Clone(text)
	for i, b := range out {
		switch {
		case b >= '0' && b <= '9':
			out[i] = '0'
		case isWordByte(b):
			out[i] = 'x'
		}
	}
	return out
}

// rewrite replaces what is known of a file's places, and then everything that was learnt, in what is left.
func (a *anonymiser) rewrite(content []byte, spans []span) []byte {
	out := bytes.Clone(content)
	done := make([]bool, len(content))
	replace := func(at int, replacement []byte) {
		n := copy(out[at:], replacement)
		for i := at; i < at+n; i++ {
			done[i] = done[i] || out[i] != content[i]
		}
	}
	for _, s := range spans {
		replace(s.at, s.new)
	}
	for _, old := range a.order {
		for at := 0; ; {
			i := a.next(content, at, old)
			if i < 0 {
				break
			}
			if !slices.Contains(done[i:i+len(old)], true) {
				replace(i, []byte(a.everywhere[old]))
			}
			at = i + 1
		}
	}
	return out
}

// next finds a learnt value from a place on.
func (a *anonymiser) next(content []byte, from int, old string) int {
	for {
		i := bytes.Index(content[from:], []byte(old))
		if i < 0 {
			return -1
		}
		i += from
		end := i + len(old)
		inWord := i > 0 && isWordByte(content[i-1]) && isWordByte(old[0]) ||
			end < len(content) && isWordByte(content[end]) && isWordByte(old[len(old)-1])
		if !inWord || !a.whole[old] {
			return i
		}
		from = i + 1
	}
}

// left returns a value that was learnt and is still there.
func (a *anonymiser) left(content []byte) string {
	for _, old := range a.order {
		if a.next(content, 0, old) >= 0 && !a.isReplacement(old) {
			return old
		}
	}
	return ""
}

// isReplacement: one value's replacement may by accident be another one's original.
func (a *anonymiser) isReplacement(s string) bool {
	for _, replacement := range a.everywhere {
		if replacement == s {
			return true
		}
	}
	return false
}
