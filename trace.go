package simpleipc

import (
	"context"

	"example.com/simpleipc/trace2"
)

// The categories of what is traced. They, and the names of regions, data and
// threads, are those of Git where Git has them.
const (
	traceClient = "ipc-client"
	traceServer = "ipc-server"
	traceAccept = "ipc-accept" // also the thread of Serve
	traceWorker = "ipc-worker" // also the threads of the workers
)

// traceConnect tells how an attempt to connect has ended.
func traceConnect(ctx context.Context, err error) {
	if !trace2.Enabled(ctx) {
		return
	}
	state := Listening
	if e, ok := err.(*Error); ok {
		state = e.State
	}
	trace2.Data(ctx, traceClient, "try-connect/state", int(state))
	if err != nil {
		trace2.Data(ctx, traceClient, "try-connect/error", err.Error())
	}
}

// traceCall tells what was sent and received, or why it was not.
func traceCall(ctx context.Context, out, in int64, err error) {
	if !trace2.Enabled(ctx) {
		return
	}
	if err != nil {
		trace2.Data(ctx, traceClient, "send-command/error", err.Error())
		return
	}
	trace2.Data(ctx, traceClient, "send-command/bytes_out", out)
	if in >= 0 {
		trace2.Data(ctx, traceClient, "send-command/bytes_in", in)
	}
}
