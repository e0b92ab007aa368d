package storcli

import (
	"strconv"
	"strings"
)

// release is the tool's own, from its `CLI Version`: 7.1017 of `007.1017.0000.0000 May 10, 2019`, 1.23 of `1.23.02`.
// What it decides is only how things are said. Outputs of generation 1 do not tell their release, so that where in it
// a column began is a guess of ours: before or after 1.14 and 1.20.
type release struct{ major, minor int }

func (c card) release() release {
	major, rest, _ := strings.Cut(c.extra("CLI Version", defaultVersion), ".")
	minor, _, _ := strings.Cut(rest, ".")
	var r release
	r.major, _ = strconv.Atoi(major)
	r.minor, _ = strconv.Atoi(minor)
	return r
}

func (r release) from(major, minor int) bool {
	return r.major > major || r.major == major && r.minor >= minor
}

// heads: an answer begins with the versions of the tool and the system.
func (r release) heads() bool { return r.from(7, 0) }

// shortSizes: `100.0 GB`, not `100.000 GB`.
func (r release) shortSizes() bool { return !r.from(7, 0) }

// cacheCade: the column Cac of volumes.
func (r release) cacheCade() bool { return r.from(1, 14) }

// driveType: the column Type of drives, TR of the topology.
func (r release) driveType() bool { return r.from(1, 20) }

// ports: the column Port# of enclosures.
func (r release) ports() bool { return r.from(7, 1000) }
