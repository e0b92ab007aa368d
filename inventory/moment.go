package inventory

import "time"

// Moment brings a time into the form in which stores keep it: UTC, whole microseconds, no monotonic reading. Every
// backend, a database or not, then gives back exactly what it was given. The zero time stays zero.
func Moment(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// orNow is Moment with a zero time replaced by the present.
func orNow(t, now time.Time) time.Time {
	if t.IsZero() {
		t = now
	}
	return Moment(t)
}
