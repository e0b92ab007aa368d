package pxe

import (
	"bytes"
	"errors"
	"io"
)

// maxNetascii is the largest file that is sent as text. Nobody boots from one; it is for people who look at a script.
const maxNetascii = 1 << 20

var errNetascii = errors.New("only files of up to 1 MiB are sent in mode netascii; set the client to octet (binary)")

// netascii reads a file in the form that RFC 764 wants: lines end with CR LF, and a CR that ends no line is CR NUL.
func netascii(file io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	if size > maxNetascii {
		return nil, 0, errNetascii
	}
	text := make([]byte, size)
	if n, err := file.ReadAt(text, 0); int64(n) < size {
		return nil, 0, err
	}
	text = bytes.ReplaceAll(text, []byte("\r"), []byte("\r\x00"))
	text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	return bytes.NewReader(text), int64(len(text)), nil
}
