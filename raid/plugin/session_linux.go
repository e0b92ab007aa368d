package plugin

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// session lists the living processes of a session but for its leader. Tools have process groups of their own, so that a
// driver can end one; the session is what they still have in common with the plugin that started them.
//
// The leader's number is not given to another process while anybody is left. So, once the leader is gone and reaped,
// one who has its number leads another session, and nobody of this one is left.
func session(leader int, reaped bool) []member {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []member
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == leader && !reaped {
			continue
		}
		data, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state ppid pgrp session …; the name may contain anything. See proc(5).
		open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
		if open < 0 || end < open {
			continue
		}
		fields := strings.Fields(string(data[end+1:]))
		if len(fields) < 4 || fields[0] == "Z" || fields[0] == "X" || fields[3] != strconv.Itoa(leader) {
			continue
		}
		if pid == leader {
			return nil
		}
		all = append(all, member{pid, string(data[open+1 : end])})
	}
	return all
}
