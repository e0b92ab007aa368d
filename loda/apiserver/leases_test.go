package apiserver_test

import (
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/api"
)

func TestLeasesComeInPagesByAddress(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	for i, subnet := range []string{"b", "a", "b"} {
		end := now.Add(time.Hour)
		if i == 2 {
			end = now.Add(-time.Minute)
		}
		require.NoError(t, d.store.SaveLease(t.Context(), dhcp.Lease{MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}, Subnet: subnet,
			Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(200 - 96*i)}), GrantedAt: now.Add(-time.Hour), ExpiresAt: end}))
	}
	c := d.client(api.Viewer)
	pages := func(q api.LeaseQuery) (addresses []string) {
		for {
			page, err := c.Leases(t.Context(), q)
			require.NoError(t, err)
			for _, l := range page.Items {
				addresses = append(addresses, l.Address+" "+string(l.State))
			}
			if q.After = page.Next; q.After == "" {
				return addresses
			}
			require.Len(t, page.Items, q.Limit)
		}
	}
	require.Equal(t, []string{"10.0.0.8 expired", "10.0.0.104 active", "10.0.0.200 active"}, pages(api.LeaseQuery{Limit: 1}))
	require.Equal(t, []string{"10.0.0.8 expired", "10.0.0.200 active"}, pages(api.LeaseQuery{Limit: 1, Subnet: "b"}))
	require.Equal(t, []string{"10.0.0.104 active"}, pages(api.LeaseQuery{MAC: "02-00-00-00-00-01"}))
	for _, q := range []api.LeaseQuery{{MAC: "x"}, {After: "x"}, {Limit: 1001}} {
		_, err := c.Leases(t.Context(), q)
		var p *api.Problem
		require.ErrorAs(t, err, &p, q)
		require.Equal(t, http.StatusUnprocessableEntity, p.Status)
	}
}

func TestTimelineShowsOnlyTheKindsAskedFor(t *testing.T) {
	d := newDesk(t)
	for _, kind := range []inventory.Kind{inventory.KindDHCP, inventory.KindLog, inventory.KindTransfer} {
		require.NoError(t, d.store.AppendEvents(t.Context(), inventory.Event{MAC: "52:54:00:00:00:0a", Kind: kind, Message: "x"}))
	}
	page, err := d.client(api.Viewer).Timeline(t.Context(), "52:54:00:00:00:0a",
		api.TimelineQuery{Kinds: []inventory.Kind{inventory.KindDHCP, inventory.KindTransfer}})
	require.NoError(t, err)
	require.Len(t, page.Items, 2)
	require.Equal(t, inventory.KindTransfer, page.Items[1].Kind)
}
