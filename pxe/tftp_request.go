package pxe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Opcodes and error codes of RFC 1350, sections 5 and appendix; OACK is that of RFC 2347.
const (
	tftpRRQ   = 1
	tftpWRQ   = 2
	tftpDATA  = 3
	tftpACK   = 4
	tftpERROR = 5
	tftpOACK  = 6

	tftpCodeOther    = 0 // see the message
	tftpCodeNotFound = 1
	tftpCodeDenied   = 2 // access violation
	tftpCodeIllegal  = 4 // illegal operation
)

const (
	tftpDefaultBlock = 512   // without the option blksize (RFC 1350)
	tftpMaxBlock     = 65464 // RFC 2348
	maxTFTPRequest   = 1024  // bytes; RFC 2347 allows 512
	maxTFTPOptions   = 16    // there are four that we know
)

// A TFTPRequest is a read request as it is known before anything is answered.
type TFTPRequest struct {
	// Path is the file name exactly as the client sent it.
	Path string
	// Client is where the request came from. Nothing proves it, but whoever forges it does not get the answer.
	Client netip.AddrPort
	// Local is the address of this server that was asked; zero if the system does not tell.
	Local netip.Addr
	// Interface is the name of the interface that the request came in by; empty if unknown.
	Interface string

	netascii bool
	options  map[string]string // names in lower case
}

// terms are what a client and the server have agreed on for one transfer.
type terms struct {
	block   int           // bytes of data in a packet, all but the last
	window  int           // packets between two acknowledgements (RFC 7440)
	timeout time.Duration // of the option; 0 means that it was not negotiated
	oack    []byte        // the answer that says so; nil if there is nothing to agree on
}

// parseTFTPRequest reads a packet that came to the server's port. The opcode is returned when it is known.
func parseTFTPRequest(p []byte) (op uint16, r TFTPRequest, err error) {
	if len(p) < 2 {
		return 0, r, errors.New("shorter than an opcode")
	}
	op = binary.BigEndian.Uint16(p)
	if op != tftpRRQ && op != tftpWRQ {
		return op, r, fmt.Errorf("opcode %d is no request", op)
	}
	if len(p) > maxTFTPRequest {
		return op, r, fmt.Errorf("a request of more than %d bytes", maxTFTPRequest)
	}
	var words []string
	for rest := p[2:]; len(rest) > 0; {
		end := bytes.IndexByte(rest, 0)
		if end < 0 {
			// Some ROMs pad the packet, none cuts a word in two: what follows the last NUL is not a word.
			break
		}
		if len(words) >= 2+2*maxTFTPOptions {
			break
		}
		words = append(words, string(rest[:end]))
		rest = rest[end+1:]
	}
	if len(words) < 2 {
		return op, r, errors.New("file name or mode is missing")
	}
	r.Path = words[0]
	switch strings.ToLower(words[1]) {
	case "octet":
	case "netascii":
		r.netascii = true
	default:
		return op, r, fmt.Errorf("unknown mode %q", words[1])
	}
	r.options = make(map[string]string)
	for i := 2; i+1 < len(words); i += 2 {
		// Names are compared without regard to case (RFC 2347); of a name that comes twice the first counts.
		name := strings.ToLower(words[i])
		if _, twice := r.options[name]; !twice {
			r.options[name] = words[i+1]
		}
	}
	return op, r, nil
}

// negotiate decides the options of a transfer of size bytes. What cannot be granted is left out of the answer, which
// means that the client goes on as if it had not asked (RFC 2347).
func (r TFTPRequest) negotiate(size int64, maxBlock, maxWindow int) terms {
	t := terms{block: tftpDefaultBlock, window: 1}
	oack := []byte{0, tftpOACK}
	grant := func(name, value string) {
		oack = append(append(oack, name...), 0)
		oack = append(append(oack, value...), 0)
	}
	if n, ok := r.option("blksize", tftpDefaultBlock, tftpMaxBlock); ok {
		t.block = min(n, max(maxBlock, tftpDefaultBlock))
		grant("blksize", strconv.Itoa(t.block))
	}
	// RFC 2349: a client that reads sends 0. Some send rubbish, and all want to know.
	if _, asked := r.options["tsize"]; asked {
		grant("tsize", strconv.FormatInt(size, 10))
	}
	if n, ok := r.option("timeout", 1, 255); ok {
		t.timeout = time.Duration(n) * time.Second
		grant("timeout", strconv.Itoa(n))
	}
	if n, ok := r.option("windowsize", 1, 65535); ok {
		t.window = min(n, maxWindow)
		grant("windowsize", strconv.Itoa(t.window))
	}
	if len(oack) > 2 {
		t.oack = oack
	}
	return t
}

func (r TFTPRequest) option(name string, from, to int) (int, bool) {
	n, err := strconv.Atoi(r.options[name])
	return n, err == nil && n >= from && n <= to
}

// tftpErrorPacket says why there is nothing more to come. The text must say nothing of the server's inside.
func tftpErrorPacket(code uint16, text string) []byte {
	p := binary.BigEndian.AppendUint16([]byte{0, tftpERROR}, code)
	return append(append(p, text...), 0)
}
