package main

import (
	"encoding/json"
	"os"
)

// options were given when this bootOS was built; package bootos writes them.
type options struct {
	Version        string   `json:"version"`
	Kernel         string   `json:"kernel"`
	EmergencyShell bool     `json:"emergency_shell"`
	Console        []string `json:"console"`
}

// readOptions returns the zero value where the file is missing or damaged: an image without options has no shell.
func readOptions() options {
	var o options
	if data, err := os.ReadFile("/etc/loda/bootos.json"); err == nil {
		if json.Unmarshal(data, &o) != nil {
			return options{}
		}
	}
	return o
}
