// Package simpleipc lets a short-lived command ask a long-running daemon on
// the same machine one question and get its answer. It is the Go form of Git's
// Simple IPC, and speaks its protocol: programs that use this package talk to
// Git's own daemons, such as git fsmonitor--daemon, and Git's commands talk to
// theirs.
//
// A server and its clients meet at a path that both know, where the server's
// Unix domain socket is. A client sends one request and reads one response;
// both are bytes of any length, and what they mean is up to the application.
//
// # A server
//
// A [Server] answers requests with its [Handler]:
//
//	srv := &simpleipc.Server{
//		Handler: simpleipc.HandlerFunc(func(ctx context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
//			_, err := fmt.Fprintf(w, "hello, %s", r.Body)
//			return err
//		}),
//	}
//	err := srv.ListenAndServe(ctx, path)
//
// [Listen] claims the path: of many daemons that start at once, one gets it, and
// what one that was killed has left is cleared away. Claiming and serving are
// two steps for a daemon that needs time to get ready in between, while
// clients already queue. The server limits how many requests it handles at
// once, how long and how large they may be, and ends in order: running
// requests are answered first.
//
// # A client
//
// [Call] is all that a command needs:
//
//	answer, err := simpleipc.Call(ctx, path, []byte("world"))
//
// A [Dialer] has the options, and [Dialer.Dial] returns a [Conn] that is kept for
// many calls. [Dialer.CallStream] and [Conn.CallStream] are for messages too
// large for memory. [Probe] tells whether a server is there.
//
// A response that was cut short is never returned as a whole one: it is an
// error. The errors say what was found at the path; see [Error].
//
// # Who may talk to whom
//
// The socket is for its owner only, from the first instant. A server also asks
// the kernel who each client is, and serves its own user and root; a client
// asks the same about the server before it sends anything. See [SameUser].
//
// # Seeing inside
//
// What happens is traced by package [example.com/simpleipc/trace2], as Git's
// own Simple IPC does and by the same names, if an environment variable such as
// GIT_TRACE2_PERF asks for it; otherwise that costs nothing. The context of a
// handler is in the region of its request, and in the thread of its worker, so
// that what a handler traces by it belongs there. Clients that work at the same
// time need a [trace2.Thread] each. Besides, a server has a Logger and
// [Server.Stats]. docs/operating.md tells how to use all of this.
//
// # More
//
// Package [example.com/simpleipc/daemon] starts a server when its first client
// needs it, and serves the sockets of systemd. The format of messages is in
// package [example.com/simpleipc/pktline]. [RawConn] is for programs that want
// the path and the peer, and speak something else.
package simpleipc
