package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// comment is in the gzip header of the blobs that the filter has made.
const comment = "stored by filter-process"

func newCompressor() *gzip.Writer {
	// The level is part of what is stored: another one, and every file would
	// be modified.
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // there is no such level
	}
	return z
}

// compress writes the blob of a file to blob. It always compresses, even what
// it has made itself, or that would not come out as it went in.
func compress(z *gzip.Writer, blob io.Writer, file io.Reader) error {
	z.Reset(blob)
	z.Comment = comment // and neither a name nor a time
	if _, err := io.Copy(z, file); err != nil {
		return err
	}
	return z.Close()
}

// original returns a reader of the file that the blob was made from. It is the
// blob itself, if that was not made by compress.
func original(blob *spool) (io.Reader, error) {
	z, err := gzip.NewReader(blob.reader())
	switch {
	case errors.Is(err, errTemporary):
		return nil, err
	case err != nil || z.Comment != comment:
		return blob.reader(), nil
	}
	return decompressor{z}, nil
}

// A decompressor says in its errors that it is the blob that is wrong.
type decompressor struct{ z *gzip.Reader }

func (d decompressor) Read(p []byte) (int, error) {
	n, err := d.z.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("the stored blob is corrupt: %w", err)
	}
	return n, err
}
