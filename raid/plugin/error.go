package plugin

import (
	"errors"
	"fmt"
)

// ErrClosed is what calls meet after [Process.Close].
var ErrClosed = errors.New("the RAID plugin is closed")

// DigestError says that an executable is not the one that was asked for. It was not started.
type DigestError struct {
	Path       string
	Want, Have string // SHA-256, hexadecimal
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("RAID plugin %s is not the one that was asked for, and was not started: its SHA-256 is %s instead "+
		"of %s; fetch it again, or correct the digest if it was replaced on purpose", e.Path, e.Have, e.Want)
}

// VersionError says that a plugin speaks another version of the protocol.
type VersionError struct {
	Path         string
	Plugin, Host int
}

func (e *VersionError) Error() string {
	older := "plugin"
	if e.Plugin > e.Host {
		older = "Loda"
	}
	return fmt.Sprintf("RAID plugin %s speaks version %d of the protocol, and this Loda version %d: the %s is too old",
		e.Path, e.Plugin, e.Host, older)
}

// CrashError says that a plugin died, or did not answer any more, in the middle of a call.
type CrashError struct {
	Path string
	// Call that failed by it, in words.
	Call string
	// Exit is how it ended: signal: killed.
	Exit string
	// Said is the end of what it printed, such as where it panicked.
	Said string
	// Writing: it was executing a step, and nobody knows whether that was done. It is not repeated.
	Writing bool
}

func (e *CrashError) Error() string {
	text := fmt.Sprintf("RAID plugin %s died (%s) in %s", e.Path, e.Exit, e.Call)
	if e.Writing {
		text += ", and nobody knows whether that was done; read the controller and plan again"
	} else {
		text += "; the next call starts it again"
	}
	if e.Said != "" {
		text += "; it said: " + e.Said
	}
	return text
}
