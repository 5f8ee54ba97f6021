package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log"

	"example.com/simpleipc/pktline"
)

// A filter does what one Git command asks it for.
type filter struct {
	in       *pktline.Reader
	out      *pktline.Writer
	log      *log.Logger
	canDelay bool // set before serve
	delayed  *delayed
	gzip     *gzip.Writer // for one blob after the other
}

func newFilter(in io.Reader, out io.Writer, logger *log.Logger) *filter {
	return &filter{
		in:      pktline.NewReader(in),
		out:     pktline.NewWriter(out),
		log:     logger,
		delayed: newDelayed(logger),
		gzip:    newCompressor(),
	}
}

// serve answers Git's requests until Git has no more. The error tells why the
// conversation cannot go on. What is wrong with a single blob is logged.
func (f *filter) serve() error {
	defer f.delayed.close()
	if err := f.handshake(); err != nil {
		return err
	}
	for {
		r, err := f.readRequest()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = f.answer(r)
		}
		if err != nil {
			return err
		}
	}
}

func (f *filter) answer(r request) error {
	var do func(request) error
	switch r.command {
	case "clean":
		do = f.clean
	case "smudge":
		do = f.smudge
	case "list_available_blobs":
		return f.listAvailable()
	default:
		// Whether content follows, nobody knows.
		return fmt.Errorf("request: unknown command %.60q", r.command)
	}
	if r.pathname == "" {
		return fmt.Errorf("request: %s without a pathname", r.command)
	}
	if err := do(r); err != nil {
		return fmt.Errorf("%v: %w", r, err)
	}
	return nil
}

// clean turns a file into the blob that is stored for it.
func (f *filter) clean(r request) error {
	blob := new(spool)
	defer blob.close()
	blobErr := compress(f.gzip, blob, f.in)
	if err := f.skip(); err != nil {
		return err
	}
	if blobErr != nil {
		return f.refuse(r, blobErr)
	}
	return f.send(r, blob.reader())
}

// smudge turns a blob into the file that it was, now or later.
func (f *filter) smudge(r request) error {
	blob := new(spool)
	defer func() { blob.close() }()
	_, blobErr := io.Copy(blob, f.in)
	if err := f.skip(); err != nil {
		return err
	}
	if j := f.delayed.take(r.pathname); j != nil {
		defer j.file.close()
		if blob.empty() && !r.canDelay { // Git fetches what was delayed
			if j.err != nil {
				return f.refuse(r, j.err)
			}
			return f.send(r, j.file.reader())
		}
		// Git has given that up, and asks for another blob.
	}
	if blobErr != nil {
		return f.refuse(r, blobErr)
	}
	if r.canDelay && f.canDelay && f.delayed.accepts(blob) {
		f.delayed.start(r.pathname, blob)
		blob = new(spool) // that one is not ours any more
		return f.writeList("status=delayed")
	}
	file, err := original(blob)
	if err != nil {
		return f.refuse(r, err)
	}
	return f.send(r, file)
}

// listAvailable tells which of the delayed blobs Git can fetch. If there are
// any left, it waits until one is ready.
func (f *filter) listAvailable() error {
	for _, pathname := range f.delayed.available() {
		if err := f.out.WritePacket([]byte("pathname=" + pathname + "\n")); err != nil {
			return err
		}
	}
	if err := f.out.WriteFlush(); err != nil {
		return err
	}
	return f.writeList("status=success")
}

// skip reads what is left of the content. Git reads nothing before it has sent
// all of it. An error of the stream comes up here again, if there was one.
func (f *filter) skip() error {
	_, err := io.Copy(io.Discard, f.in)
	return err
}

// send answers with content. An error while it is read is the blob's, and Git
// learns of it behind the content.
func (f *filter) send(r request, content io.Reader) error {
	if err := f.writeList("status=success"); err != nil {
		return err
	}
	_, contentErr := io.Copy(f.out, content)
	if err := f.out.WriteFlush(); err != nil {
		return err
	}
	if contentErr != nil {
		return f.refuse(r, contentErr)
	}
	return f.writeList() // the status stays
}

// refuse answers that a blob cannot be had. If the reason is the temporary
// files, later blobs need not be tried.
func (f *filter) refuse(r request, reason error) error {
	f.log.Printf("%v: %v", r, reason)
	status := "error"
	if errors.Is(reason, errTemporary) {
		status = "abort"
	}
	return f.writeList("status=" + status)
}
