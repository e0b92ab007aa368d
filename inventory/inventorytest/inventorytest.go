// Package inventorytest is the contract of package inventory as tests: what its interfaces promise, every backend has
// to show here. Whoever writes one runs the suite in a few lines:
//
//	func TestStore(t *testing.T) {
//		inventorytest.Run(t, func(t *testing.T) inventory.Store { return mystore.New() })
//	}
//
// Each small store has a suite of its own, for a backend that owns the machines only, say. The functions given to them
// return an empty store each time they are called, and clean up with [testing.T.Cleanup].
package inventorytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
)

// Run tests everything that a site remembers.
func Run(t *testing.T, open func(t *testing.T) inventory.Store) {
	t.Run("Machines", func(t *testing.T) {
		RunMachines(t, func(t *testing.T) inventory.MachineStore { return open(t) })
	})
	t.Run("Installations", func(t *testing.T) {
		RunInstallations(t, func(t *testing.T) InstallationStores { return open(t) })
	})
	t.Run("Events", func(t *testing.T) {
		RunEvents(t, func(t *testing.T) inventory.EventStore { return open(t) })
	})
	t.Run("Leases", func(t *testing.T) {
		RunLeases(t, func(t *testing.T) inventory.LeaseStore { return open(t) })
	})
	t.Run("Tokens", func(t *testing.T) {
		RunTokens(t, func(t *testing.T) inventory.TokenStore { return open(t) })
	})
}

// a test of one store S: its name is a statement about the store.
type statement[S any] struct {
	name string
	test func(t *testing.T, s S)
}

func check[S any](t *testing.T, open func(t *testing.T) S, statements []statement[S]) {
	for _, st := range statements {
		t.Run(st.name, func(t *testing.T) { st.test(t, open(t)) })
	}
}

// moment is a time as stores keep it, n minutes into a working day.
func moment(n int) time.Time {
	return time.Date(2026, time.March, 2, 9, 0, 0, 123456000, time.UTC).Add(time.Duration(n) * time.Minute)
}

// recent fails unless the store set at to the present.
func recent(t *testing.T, at time.Time) {
	t.Helper()
	require.WithinDuration(t, time.Now(), at, time.Minute)
	require.Equal(t, inventory.Moment(at), at, "times are kept in UTC with microseconds")
}

// ended is a context that has ended already.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// conflict fails unless err holds a ConflictError about what.
func conflict(t *testing.T, err error, what string) {
	t.Helper()
	var c *inventory.ConflictError
	require.ErrorAs(t, err, &c)
	require.Contains(t, c.What, what)
	require.NotEmpty(t, c.Owner)
}

// together runs f n times at once and returns the errors.
func together(n int, f func(i int) error) []error {
	start, errs := make(chan struct{}), make(chan error, n)
	for i := range n {
		go func() {
			<-start
			errs <- f(i)
		}()
	}
	close(start)
	var all []error
	for range n {
		all = append(all, <-errs)
	}
	return all
}

// dawdle makes a change take long enough that others come in between, where a store lets them.
func dawdle() { time.Sleep(time.Millisecond) }

func serial(i int) inventory.Serial { return inventory.Serial(fmt.Sprintf("SN%04d", i)) }

func mac(i int) inventory.MAC {
	return inventory.MAC(fmt.Sprintf("52:54:00:%02x:%02x:%02x", i>>16&0xff, i>>8&0xff, i&0xff))
}

// doc is a JSON document. A backend may change its white space and nothing else: order and big numbers matter to
// whoever hashes it. It has no white space outside strings, so that it comes back as it is.
var doc = json.RawMessage(`{"z":1,"a":[true,null],"big":12345678901234567890,"ü":"é \u0000"}`)

var errChange = errors.New("the change does not want to")
