package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/project-loda/loda/loda/agentapi"
)

const (
	// maxLines and maxLine bound what the agent holds for a server that is away; maxBatch lines and maxBatchText bytes are
	// what one call carries. A server takes a megabyte, and JSON makes up to six bytes of one.
	maxLines     = 2000
	maxLine      = 4096
	maxBatch     = 200
	maxBatchText = 128 << 10
	// logEvery is how long lines gather before they are sent.
	logEvery = time.Second
)

// logQueue sends lines to the timeline. The oldest are lost first, and that is said.
type logQueue struct {
	client *agentapi.Client

	sending sync.Mutex
	mu      sync.Mutex
	lines   []agentapi.LogLine
	lost    int
}

func newLogQueue(c *agentapi.Client) *logQueue { return &logQueue{client: c} }

func (q *logQueue) add(action, text string) { q.addAt(time.Now(), action, text) }

func (q *logQueue) addAt(at time.Time, action, text string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		line = strings.ToValidUTF8(strings.TrimRight(line, "\r"), "?")
		q.lines = append(q.lines, agentapi.LogLine{Time: at, Action: action, Text: line[:min(len(line), maxLine)]})
	}
	if over := len(q.lines) - maxLines; over > 0 {
		q.lines = append(q.lines[:0], q.lines[over:]...)
		q.lost += over
	}
}

func (q *logQueue) run(ctx context.Context) {
	for pause(ctx, logEvery) {
		q.flush(ctx)
	}
}

// flush sends what there is. Lines that do not get through stay in the queue.
func (q *logQueue) flush(ctx context.Context) {
	q.sending.Lock()
	defer q.sending.Unlock()
	for {
		q.mu.Lock()
		n := 0
		for text := 0; n < min(len(q.lines), maxBatch) && text < maxBatchText; n++ {
			text += len(q.lines[n].Text)
		}
		batch := append([]agentapi.LogLine(nil), q.lines[:n]...)
		lost := q.lost
		q.mu.Unlock()
		if n == 0 {
			return
		}
		send := batch
		if lost > 0 {
			note := fmt.Sprintf("%d lines were lost here: the server was away for too long", lost)
			send = append([]agentapi.LogLine{{Time: batch[0].Time, Action: batch[0].Action, Text: note}}, batch...)
		}
		err := q.client.Log(ctx, send)
		if e, ok := errors.AsType[*agentapi.StatusError](err); ok && !e.Temporary() {
			err = nil // the server does not want these, and will not later
		}
		if err != nil {
			return
		}
		q.mu.Lock()
		// While these were sent, some of them may have been dropped for being the oldest.
		gone := q.lost - lost
		q.lines = q.lines[max(0, min(n-gone, len(q.lines))):]
		q.lost = max(0, gone-n)
		q.mu.Unlock()
	}
}
