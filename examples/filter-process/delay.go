package main

import (
	"context"
	"io"
	"log"
	"runtime"
)

const (
	// delayFrom is the size of the smallest blob that is worth a delay.
	delayFrom = 64 << 10

	// maxDelayed is how many blobs can be delayed at a time, and with it how
	// many temporary files there are. Git asks for delayed blobs only when it
	// has sent all that it checks out.
	maxDelayed = 64
)

// delayed are the blobs that are filtered in the background while Git goes on.
type delayed struct {
	log      *log.Logger
	jobs     map[string]*job // by pathname, those that Git has not fetched
	finished chan *job       // has room for all
	unlisted int             // how many are yet to come out of finished
	slots    chan struct{}   // one for each job that is worked on

	ctx    context.Context
	cancel context.CancelFunc
}

// A job is one delayed blob. Its results may be read when done is closed.
type job struct {
	pathname string
	done     chan struct{}
	file     spool
	err      error
}

func newDelayed(logger *log.Logger) *delayed {
	d := &delayed{
		log:      logger,
		jobs:     make(map[string]*job),
		finished: make(chan *job, maxDelayed),
		slots:    make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// accepts reports whether there is room for the blob, and reason.
func (d *delayed) accepts(blob *spool) bool {
	return blob.length() >= delayFrom && max(len(d.jobs), d.unlisted) < maxDelayed
}

// start lets the blob, which it closes in the end, be filtered.
func (d *delayed) start(pathname string, blob *spool) {
	j := &job{pathname: pathname, done: make(chan struct{})}
	d.jobs[pathname] = j
	d.unlisted++
	go func() {
		d.slots <- struct{}{}
		j.err = d.filter(j, blob)
		blob.close()
		<-d.slots
		d.finished <- j
		close(j.done)
	}()
}

func (d *delayed) filter(j *job, blob *spool) error {
	r, err := original(blob)
	if err == nil {
		_, err = io.Copy(&j.file, contextReader{d.ctx, r})
	}
	return err
}

// available returns the pathnames of the jobs that have finished since it was
// last called, and none only if no more will come.
//
// Those that failed are not among them. Git reports them as missing, in any
// case, and checks out the rest. If it could ask and were refused, it would
// stop, or write an empty file where the filter is not required.
func (d *delayed) available() []string {
	var pathnames []string
	for d.unlisted > 0 {
		var j *job
		if len(pathnames) == 0 {
			j = <-d.finished
		} else {
			select {
			case j = <-d.finished:
			default:
				return pathnames
			}
		}
		d.unlisted--
		switch {
		case d.jobs[j.pathname] != j: // it was taken
		case j.err != nil:
			d.log.Printf("smudge %q: %v", j.pathname, j.err)
			d.take(j.pathname).file.close()
		default:
			pathnames = append(pathnames, j.pathname)
		}
	}
	return pathnames
}

// take removes the job of this pathname and returns it when it has finished,
// or nil if there is none. The caller closes its file.
func (d *delayed) take(pathname string) *job {
	j := d.jobs[pathname]
	if j != nil {
		delete(d.jobs, pathname)
		<-j.done
	}
	return j
}

// close ends the jobs that are left.
func (d *delayed) close() {
	d.cancel()
	for pathname := range d.jobs {
		d.take(pathname).file.close()
	}
}

// A contextReader reads until its context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
