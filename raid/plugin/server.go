package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/plugin/raidpb"
)

// server is the plugin's side of the protocol.
type server struct {
	raidpb.UnimplementedDriverServer
	driver raid.Driver
	// ctx ends when the plugin is to end; then nothing is begun any more.
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	stopped bool
	writing sync.WaitGroup
}

func newServer(d raid.Driver) *server {
	s := &server{driver: d}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// stop ends what reads, begins nothing any more, and waits for what writes.
func (s *server) stop() {
	s.cancel()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.writing.Wait()
}

// begin is called before a write, and reports whether it may be begun.
func (s *server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.writing.Add(1)
	}
	return !s.stopped
}

// given returns a context for a call. It ends when the client closes its side, is gone, or the plugin is to end.
func given[Req, Res any](s *server, stream grpc.BidiStreamingServer[Req, Res]) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(s.ctx)
	go func() { // it ends with the stream
		_, _ = stream.Recv() // there is nothing more to say
		cancel()
	}()
	return ctx, cancel
}

func (s *server) Describe(context.Context, *raidpb.DescribeRequest) (*raidpb.DescribeResponse, error) {
	return &raidpb.DescribeResponse{Name: strings.ToValidUTF8(s.driver.Name(), "�")}, nil
}

func (s *server) Probe(stream grpc.BidiStreamingServer[raidpb.ProbeRequest, raidpb.ProbeResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	ctx, cancel := given(s, stream)
	defer cancel()
	found, err := s.driver.Probe(ctx)
	data, e := json.Marshal(found)
	if e != nil {
		err = errors.Join(err, fmt.Errorf("write the controllers down: %w", e))
	}
	return stream.Send(&raidpb.ProbeResponse{Controllers: data, Failure: failureOf(err)})
}

func (s *server) Inventory(stream grpc.BidiStreamingServer[raidpb.InventoryRequest, raidpb.InventoryResponse]) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	ctx, cancel := given(s, stream)
	defer cancel()
	inv, err := s.driver.Inventory(ctx, raid.ControllerID(req.GetController()))
	if err != nil {
		return stream.Send(&raidpb.InventoryResponse{Failure: failureOf(err)})
	}
	data, err := json.Marshal(inv)
	return stream.Send(&raidpb.InventoryResponse{Inventory: data, Failure: failureOf(err)})
}

func (s *server) Commands(_ context.Context, req *raidpb.CommandsRequest) (*raidpb.CommandsResponse, error) {
	inv, step, err := planned(req)
	if err != nil {
		return nil, err
	}
	argvs, err := s.driver.Commands(inv, step)
	res := &raidpb.CommandsResponse{Failure: failureOf(err)}
	for _, argv := range argvs {
		c := &raidpb.Command{}
		for _, a := range argv {
			c.Argv = append(c.Argv, strings.ToValidUTF8(a, "�"))
		}
		res.Commands = append(res.Commands, c)
	}
	return res, nil
}

func (s *server) Exec(stream grpc.BidiStreamingServer[raidpb.ExecRequest, raidpb.ExecResponse]) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	inv, step, err := planned(req)
	if err != nil {
		return err
	}
	if !s.begin() {
		return status.Error(codes.Unavailable, "the plugin is about to end, and has not begun the step")
	}
	defer s.writing.Done()
	ctx, cancel := given(s, stream)
	defer cancel()
	out := newProgressQueue()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for {
			p, ok := out.next()
			if !ok {
				return
			}
			_ = stream.Send(&raidpb.ExecResponse{Event: &raidpb.ExecResponse_Progress{Progress: &raidpb.Progress{
				What: strings.ToValidUTF8(p.What, "�"), Fraction: p.Fraction}}})
		}
	}()
	err = s.driver.Exec(ctx, inv, step, out.add)
	out.close()
	<-sent
	return stream.Send(&raidpb.ExecResponse{Event: &raidpb.ExecResponse_Done{Done: &raidpb.Done{Failure: failureOf(err)}}})
}

// planned reads a step and the inventory that it was planned from.
func planned(req interface {
	GetInventory() []byte
	GetStep() []byte
}) (*raid.Inventory, raid.Step, error) {
	inv := &raid.Inventory{}
	var step raid.Step
	if err := json.Unmarshal(req.GetInventory(), inv); err != nil {
		return nil, step, status.Errorf(codes.InvalidArgument, "the inventory that came with the step: %v", err)
	}
	if err := json.Unmarshal(req.GetStep(), &step); err != nil {
		return nil, step, status.Errorf(codes.InvalidArgument, "the step: %v", err)
	}
	return inv, step, nil
}

// progressQueue is between a driver that reports and a host that may be slow: the driver never waits, since it may be
// in the middle of a write. When there is no room, the oldest goes.
type progressQueue struct {
	mu     sync.Mutex
	some   *sync.Cond
	list   []raid.Progress
	closed bool
}

const maxProgress = 256

func newProgressQueue() *progressQueue {
	q := &progressQueue{}
	q.some = sync.NewCond(&q.mu)
	return q
}

// add is what drivers get as report; after the step has ended it does nothing.
func (q *progressQueue) add(p raid.Progress) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if len(q.list) == maxProgress {
		q.list = q.list[1:]
	}
	q.list = append(q.list, p)
	q.some.Signal()
}

func (q *progressQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Signal()
}

// next waits for one; false means that there will be none.
func (q *progressQueue) next() (raid.Progress, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.closed {
		q.some.Wait()
	}
	if len(q.list) == 0 {
		return raid.Progress{}, false
	}
	p := q.list[0]
	q.list = q.list[1:]
	return p, true
}
