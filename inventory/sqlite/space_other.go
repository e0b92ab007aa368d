//go:build !linux && !darwin

package sqlite

func noSpace(string) bool { return false }
