package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// An id is the SHA-256 of something: of an object's bytes, or of all that an
// action depends on.
type id [sha256.Size]byte

func (i id) String() string { return hex.EncodeToString(i[:]) }

func parseID(s string) (i id, err error) {
	if len(s) != hex.EncodedLen(len(i)) {
		return i, fmt.Errorf("an ID has %d hexadecimal digits", hex.EncodedLen(len(i)))
	}
	_, err = hex.Decode(i[:], []byte(s))
	return i, err
}

// MarshalText and UnmarshalText are how the go command writes IDs.
func (i id) MarshalText() ([]byte, error) { return base64.StdEncoding.AppendEncode(nil, i[:]), nil }

func (i *id) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err == nil && len(b) != len(i) {
		err = fmt.Errorf("an ID of %d bytes, and not %d", len(b), len(i))
	}
	copy(i[:], b)
	return err
}

// An object is what an action has made: its bytes, by their SHA-256 and number.
type object struct {
	id   id
	size int64
}

func (o object) String() string { return fmt.Sprintf("%v %d", o.id, o.size) }

// copyObject copies all that src has to dst. It is an error if that is not o.
func copyObject(dst io.Writer, src io.Reader, o object) error {
	got, err := copyAndHash(dst, io.LimitReader(src, o.size+1))
	if err == nil && got != o {
		err = fmt.Errorf("%d bytes with the SHA-256 %v, and not the %d bytes with %v that were announced", got.size, got.id, o.size, o.id)
	}
	return err
}

// copyAndHash copies all that src has to dst, and tells what it was.
func copyAndHash(dst io.Writer, src io.Reader) (o object, err error) {
	h := sha256.New()
	o.size, err = io.Copy(io.MultiWriter(dst, h), src)
	h.Sum(o.id[:0])
	return o, err
}

// objects is a directory of objects, each in a file with the name of its ID.
type objects string

func (dir objects) path(i id) string { return filepath.Join(string(dir), i.String()) }

// add stores o, which src has the bytes of.
func (dir objects) add(o object, src io.Reader) error {
	return replaceFile(dir.path(o.id), func(f *os.File) error { return copyObject(f, src, o) })
}

// unfinished is how the names of files begin that are being written.
const unfinished = "unfinished-"

// replaceFile lets write write a file, which then is there whole, or not at all.
func replaceFile(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), unfinished)
	if err != nil {
		return err
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // err comes first
	}
	return err
}
