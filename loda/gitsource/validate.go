package gitsource

import "errors"

// Validate says what is wrong with the address, the reference and the ways to convince the remote. It touches neither
// disk nor network.
func (c *Config) Validate() error {
	_, err := newRemote(c.URL, c.Auth, c.Limits.withDefaults())
	return errors.Join(c.Ref.Validate(), err)
}
