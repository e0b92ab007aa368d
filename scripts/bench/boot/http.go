//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// httpStorm lets all machines fetch all files, one after the other, each over a connection of its own as iPXE does.
func httpStorm(s storm) (o outcome, err error) {
	wants := make([][]byte, len(s.Files))
	for i, name := range s.Files {
		if wants[i], err = os.ReadFile(filepath.Join(s.Dir, name)); err != nil {
			return o, err
		}
	}
	start := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range s.Clients {
		wg.Go(func() {
			for range s.Repeat {
				for f, name := range s.Files {
					n, err := httpLoad(i, s.Server+":8080", "/artifacts/"+name, wants[f], start.Add(s.Deadline))
					mu.Lock()
					if err != nil {
						o.Failed++
						if o.Why == "" {
							o.Why = err.Error()
						}
					} else {
						o.Loaded++
						o.Bytes += n
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	o.Seconds = time.Since(start).Seconds()
	return o, nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

func httpLoad(i int, server, path string, want []byte, deadline time.Time) (int64, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: addr4(i)}, Deadline: deadline}
	conn, err := d.Dial("tcp4", server)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: iPXE\r\nConnection: close\r\n\r\n", path, server); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 4096), nil)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(want)) {
		return 0, fmt.Errorf("%s: status %d, %d bytes announced", path, resp.StatusCode, resp.ContentLength)
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	have := 0
	for {
		n, err := resp.Body.Read(*buffer)
		if have+n > len(want) || !bytes.Equal((*buffer)[:n], want[have:have+n]) {
			return 0, fmt.Errorf("%s: wrong bytes after %d", path, have)
		}
		have += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	if have != len(want) {
		return 0, fmt.Errorf("%s ended after %d bytes", path, have)
	}
	return int64(have), nil
}
