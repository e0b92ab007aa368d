package apiserver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/apiserver"
)

func TestBodyThatDoesNotArriveIsGivenUp(t *testing.T) {
	apiserver.SetBodyTime(t, 200*time.Millisecond)
	d := newDesk(t)
	for path, token := range map[string]string{agentapi.PathSession: "", "/api/v1/imports": d.secrets[api.Operator]} {
		conn, err := net.Dial("tcp", d.server.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: lodad\r\nAuthorization: Bearer %s\r\nContent-Type: text/csv\r\n"+
			"Content-Length: 1000\r\n\r\nserial", path, token)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, path)
		require.GreaterOrEqual(t, resp.StatusCode, 400, path)
		resp.Body.Close()
		_, err = io.ReadAll(conn)
		require.NoError(t, err, "the connection is closed")
	}
}

// slowStore takes its time, and stops when its caller is gone.
type slowStore struct {
	inventory.Store
	takes time.Duration
}

func (s slowStore) CreateMachines(ctx context.Context, ms []inventory.Machine) error {
	select {
	case <-time.After(s.takes):
		return s.Store.CreateMachines(ctx, ms)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slowStore) CreateInstallation(ctx context.Context, i inventory.Installation, events ...inventory.Event) error {
	select {
	case <-time.After(s.takes):
		return s.Store.CreateInstallation(ctx, i, events...)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The time that a body may take must not end the work that comes after it.
func TestWorkMayTakeLongerThanTheBody(t *testing.T) {
	apiserver.SetBodyTime(t, 200*time.Millisecond)
	d := newDesk(t)
	d.serve(slowStore{d.store, 600 * time.Millisecond})
	_, err := d.client(api.Operator).Import(t.Context(), strings.NewReader("serial\nSN-0001\n"), false, false)
	require.NoError(t, err)
	_, err = d.client(api.Operator).Install(t.Context(), "SN-0001", api.InstallRequest{Profile: "debian"})
	require.NoError(t, err)
}

func TestImportGoesOnWhenItsCallerHangsUp(t *testing.T) {
	d := newDesk(t)
	d.serve(slowStore{d.store, 300 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := d.client(api.Operator).Import(ctx, strings.NewReader("serial,profile\nSN-0001,debian\nSN-0002,debian\n"), false, true)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Eventually(t, func() bool {
		page, err := d.client(api.Viewer).Installations(t.Context(), "", "", 10)
		return err == nil && len(page.Items) == 2
	}, 10*time.Second, 20*time.Millisecond, "no machine stands there without its installation")
}

func TestParameterThatIsUnknownIsRefused(t *testing.T) {
	d := newDesk(t)
	req, err := http.NewRequestWithContext(t.Context(), "POST", d.server.URL+"/api/v1/imports?dryrun=true", strings.NewReader("serial\nSN-0001\n"))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+d.secrets[api.Operator])
	req.Header.Set("Content-Type", "text/csv")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
	_, err = d.client(api.Viewer).Machine(t.Context(), "SN-0001")
	require.True(t, api.IsNotFound(err), "a misspelt dry run imports nothing: %v", err)
	require.Equal(t, http.StatusUnprocessableEntity,
		d.call("GET", "/api/v1/installations?state=instaled", d.secrets[api.Viewer], nil).StatusCode)
	for _, s := range inventory.States {
		require.Equal(t, http.StatusOK, d.call("GET", "/api/v1/installations?state="+string(s), d.secrets[api.Viewer], nil).StatusCode)
	}
}

func TestTimelineIsFoundBySerialNumberAndByMAC(t *testing.T) {
	d := newDesk(t)
	c := d.client(api.Operator)
	const twelveDigits = "220123456789" // a MAC as well, by its form
	_, err := c.Import(t.Context(), strings.NewReader("serial,profile\n"+twelveDigits+",debian\n"), false, true)
	require.NoError(t, err)
	page, err := c.Timeline(t.Context(), twelveDigits, api.TimelineQuery{Limit: 100})
	require.NoError(t, err)
	require.Len(t, page.Items, 2)

	require.NoError(t, d.store.AppendEvents(t.Context(), inventory.Event{MAC: "52:54:00:00:00:09", Kind: inventory.KindAlarm, Message: "refused"}))
	for _, mac := range []string{"52:54:00:00:00:09", "52-54-00-00-00-09", "525400000009"} {
		page, err = c.Timeline(t.Context(), mac, api.TimelineQuery{Limit: 100})
		require.NoError(t, err)
		require.Len(t, page.Items, 1, mac)
	}
	for _, nobody := range []string{"SN-9999", "no serial!"} {
		_, err = c.Timeline(t.Context(), nobody, api.TimelineQuery{Limit: 100})
		require.Error(t, err, nobody)
	}
}

func TestListOfManyMachinesShowsTheLastInstallationOfEach(t *testing.T) {
	d := newDesk(t)
	c := d.client(api.Operator)
	var text strings.Builder
	text.WriteString("serial,profile\n")
	for i := range 120 {
		fmt.Fprintf(&text, "SN-%04d,debian\n", i)
	}
	_, err := c.Import(t.Context(), strings.NewReader(text.String()), false, false)
	require.NoError(t, err)
	want := map[inventory.Serial]string{}
	for i := range 120 {
		serial := fmt.Sprintf("SN-%04d", i)
		for range i % 4 { // 0 to 3 installations, the last of them open or not
			inst, err := c.Install(t.Context(), serial, api.InstallRequest{})
			require.NoError(t, err)
			want[inst.Serial] = inst.ID
			if i%8 < 4 {
				_, err = c.Decide(t.Context(), serial, "cancel", "")
				require.NoError(t, err)
			} else {
				break
			}
		}
	}
	for _, limit := range []int{10, 1000} {
		seen := 0
		require.NoError(t, c.AllMachines(t.Context(), api.MachineQuery{Limit: limit}, func(m api.Machine) error {
			seen++
			id := ""
			if m.Installation != nil {
				id = m.Installation.ID
				require.Equal(t, m.Serial, m.Installation.Serial)
				require.Equal(t, "debian-12", m.Installation.Image)
			}
			require.Equal(t, want[m.Serial], id, m.Serial)
			return nil
		}))
		require.Equal(t, 120, seen)
	}
}
