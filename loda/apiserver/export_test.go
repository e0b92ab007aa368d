package apiserver

import (
	"testing"
	"time"
)

// SetBodyTime shortens the time that a body may take until the test ends. Servers that are made afterwards keep to it.
func SetBodyTime(t testing.TB, d time.Duration) {
	before := bodyTime
	bodyTime = d
	t.Cleanup(func() { bodyTime = before })
}
