// Command prometheus is a server whose statistics Prometheus can read:
//
//	prometheus --name=upper.ipc --listen=127.0.0.1:9180
//	simple-ipc send --name=upper.ipc hello
//	curl http://127.0.0.1:9180/metrics
//
// It answers each request with that in upper case. At /debug/vars there are the
// same statistics by package expvar. It is a module of its own, so that users of
// simpleipc do not depend on Prometheus' library.
package main

import (
	"bytes"
	"context"
	"errors"
	"expvar"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/simpleipc"
	"example.com/simpleipc/daemon"
)

func main() {
	name := flag.String("name", "upper.ipc", "`PATH` of the socket")
	listen := flag.String("listen", "127.0.0.1:9180", "`ADDRESS` at which the statistics are served, to anybody who can connect")
	flag.Parse()
	if err := run(context.Background(), *name, *listen); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

// run serves until it is asked to end.
func run(ctx context.Context, name, listen string) error {
	l, err := daemon.Listen(ctx, name)
	if err != nil {
		return err
	}
	address, err := net.Listen("tcp", listen)
	if err != nil {
		_ = l.Close() // the other error comes first
		return err
	}
	srv := &simpleipc.Server{
		Handler: simpleipc.HandlerFunc(upper),
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	web := &http.Server{Handler: statistics(srv), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() {
		err := web.Serve(address)
		if !errors.Is(err, http.ErrServerClosed) {
			_ = srv.Close() // it has none; a server that nobody can watch is not wanted
		}
		failed <- err
	}()
	err = daemon.Serve(ctx, srv, l)
	_ = web.Close() // nobody is waiting for it
	if werr := <-failed; !errors.Is(werr, http.ErrServerClosed) {
		err = errors.Join(err, werr)
	}
	return err
}

func upper(_ context.Context, w *simpleipc.ResponseWriter, r *simpleipc.Request) error {
	_, err := w.Write(bytes.ToUpper(r.Body))
	return err
}

// statistics serves those of srv. A program with several servers tells them
// apart by a label: prometheus.WrapRegistererWith.
func statistics(srv *simpleipc.Server) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{srv})
	variables := new(expvar.Map).Init()
	variables.Set("ipc", srv.StatsVar())
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/vars", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintln(w, variables) // who has asked may have gone
	})
	return mux
}
