package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// monitor speaks QMP, QEMU's JSON protocol (docs/interop/qmp-spec.txt in QEMU's sources), on a connection of its own.
type monitor struct {
	conn net.Conn
	name string
	done chan struct{}

	mu      sync.Mutex
	next    int
	waiting map[int]chan qmpReply
	events  map[chan Event]struct{}
}

// Event is something that QEMU tells by itself: RESET, SHUTDOWN, POWERDOWN, GUEST_PANICKED and so on, with its data.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

type qmpReply struct {
	Event
	ID     *int            `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

// errMonitorClosed: QEMU ended.
var errMonitorClosed = errors.New("machine went off")

// newMonitor greets QEMU. It closes conn itself when QEMU goes.
func newMonitor(ctx context.Context, conn net.Conn, name string) (*monitor, error) {
	m := &monitor{conn: conn, name: name, done: make(chan struct{}), waiting: map[int]chan qmpReply{},
		events: map[chan Event]struct{}{}}
	go m.read()
	if err := m.execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

func (m *monitor) read() {
	defer func() {
		m.conn.Close()
		m.mu.Lock()
		for c := range m.events {
			close(c)
		}
		m.events = nil
		m.mu.Unlock()
		close(m.done)
	}()
	dec := json.NewDecoder(bufio.NewReader(m.conn))
	for {
		var reply qmpReply
		if err := dec.Decode(&reply); err != nil {
			return
		}
		m.mu.Lock()
		if reply.Name != "" {
			for c := range m.events {
				select {
				case c <- reply.Event:
				default: // a listener that does not keep up loses events rather than block the machine
				}
			}
		}
		if reply.ID != nil {
			if c, ok := m.waiting[*reply.ID]; ok {
				delete(m.waiting, *reply.ID)
				c <- reply
			}
		}
		m.mu.Unlock()
	}
}

// execute runs a command and decodes what it returns into result, if that is not nil.
func (m *monitor) execute(ctx context.Context, command string, arguments, result any) error {
	reply := make(chan qmpReply, 1)
	m.mu.Lock()
	m.next++
	id := m.next
	m.waiting[id] = reply
	request := map[string]any{"execute": command, "id": id}
	if arguments != nil {
		request["arguments"] = arguments
	}
	data, err := json.Marshal(request)
	if err == nil {
		_, err = m.conn.Write(append(data, '\n'))
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.waiting, id)
		m.mu.Unlock()
	}()
	if err != nil {
		return fmt.Errorf("machine %s: QMP %s: %w", m.name, command, err)
	}
	select {
	case r := <-reply:
		switch {
		case r.Error != nil:
			return fmt.Errorf("machine %s: QMP %s: %s: %s", m.name, command, r.Error.Class, r.Error.Desc)
		case result != nil:
			if err := json.Unmarshal(r.Return, result); err != nil {
				return fmt.Errorf("machine %s: QMP %s: %w", m.name, command, err)
			}
		}
		return nil
	case <-m.done:
		return fmt.Errorf("machine %s: QMP %s: %w", m.name, command, errMonitorClosed)
	case <-ctx.Done():
		return fmt.Errorf("machine %s: QMP %s: %w", m.name, command, ctx.Err())
	}
}

// subscribe returns a channel of events, closed when the machine goes off or the context ends.
func (m *monitor) subscribe(ctx context.Context) <-chan Event {
	c := make(chan Event, 64)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.events == nil {
		close(c)
		return c
	}
	m.events[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, ok := m.events[c]; ok {
			delete(m.events, c)
			close(c)
		}
	})
	return c
}
