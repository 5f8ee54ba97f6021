package simpleipc

import (
	"context"
	"errors"
	"io"
	"testing"
)

// TestHangUpIsNoticedWhileStreamHasEnded checks that a handler's context ends
// when its client hangs up, though the server has itself ended the stream from
// the client: since it drains, or because the connection had been idle for too
// long when the request arrived.
func TestHangUpIsNoticedWhileStreamHasEnded(t *testing.T) {
	for _, streamed := range []bool{false, true} {
		ended, release := make(chan error, 1), make(chan struct{})
		s := serve(t, &Server{StreamRequests: streamed, Handler: HandlerFunc(func(ctx context.Context, w *ResponseWriter, r *Request) error {
			request, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				ended <- context.Cause(ctx)
			case <-release:
			}
			_, err = w.Write(request)
			return err
		})})
		c := rawConn(t, s.path)
		send(t, c, "0008wait0000")
		stays := rawConn(t, s.path)
		send(t, stays, "0008stay0000")
		s.stats(t, "both are handled", func(st Stats) bool { return st.Active == 2 })
		s.eachConn(func(sc *serverConn) {
			sc.mu.Lock()
			defer sc.mu.Unlock()
			sc.mute()
		})
		c.Close()
		if err := receive(t, ended); !errors.Is(err, ErrConnClosed) {
			t.Errorf("streamed %v: the context ended for %v", streamed, err)
		}
		s.stats(t, "one has gone", func(st Stats) bool { return st.Open == 1 && st.Dropped == Dropped{HungUp: 1} })
		close(release)
		if answer, err := io.ReadAll(stays); err != nil || string(answer) != "0008stay0000" {
			t.Errorf("streamed %v: the other got %q, %v", streamed, answer, err)
		}
		s.stats(t, "all have gone", func(st Stats) bool { return st.Open == 0 && st.Responses == 1 })
	}
}
