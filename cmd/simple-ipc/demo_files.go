package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/simpleipc"
)

// pieceSize is how much of a file goes into one request, since the server has
// a request in memory.
const pieceSize = 16 << 20

// traffic is what files have been to the server and back.
type traffic struct {
	count int
	bytes int64
	took  time.Duration
}

func (t traffic) summary() string {
	return fmt.Sprintf("%s came back unchanged.", t.amount())
}

// amount returns "3 files, 1.5 MiB".
func (t traffic) amount() string {
	return plural(int64(t.count), "file") + ", " + roundBytes(t.bytes)
}

// speed returns how much travelled each way in a second.
func (t traffic) speed() string {
	return roundBytes(int64(float64(t.bytes)/max(t.took.Seconds(), 1e-6))) + "/s"
}

// A sourceFile is a file to send.
type sourceFile struct {
	path string
	size int64
}

// collect returns the regular files that path is or has in it, and what went
// wrong on the way.
func collect(path string) (files []sourceFile, problems []error) {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		if !info.Mode().IsRegular() {
			return nil, []error{fmt.Errorf("'%s' is neither a regular file nor a folder", path)}
		}
		return []sourceFile{{path, info.Size()}}, nil
	}
	root, err := filepath.EvalSymlinks(path) // it may be a link to a folder
	if err != nil {
		return nil, []error{err}
	}
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil && e.Type().IsRegular() {
			if info, err = e.Info(); err == nil {
				files = append(files, sourceFile{path, info.Size()})
			}
		}
		if err != nil {
			problems = append(problems, err)
		}
		return nil
	})
	return files, problems
}

// sendAll sends the files at path to the server, one by one, and compares what
// comes back.
func (d *demo) sendAll(path string) (string, error) {
	files, problems := collect(path)
	var total int64
	for _, f := range files {
		total += f.size
	}
	var sum traffic
	start := time.Now()
	show := func(done int64, path string) {
		now := traffic{bytes: done, took: time.Since(start)}
		d.bar.update(done, total, fmt.Sprintf("%11s  %s", now.speed(), filepath.Base(path)))
	}
	for _, f := range files {
		n, err := d.sendFile(f.path, func(n int64) { show(sum.bytes+n, f.path) })
		if d.ctx.Err() != nil {
			return "", d.ctx.Err()
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		sum.count++
		sum.bytes += n
		show(sum.bytes, f.path)
	}
	sum.took = time.Since(start)
	d.files.count += sum.count
	d.files.bytes += sum.bytes
	return sum.amount() + ", " + sum.speed(), abridge(problems)
}

// abridge makes one error of a few of many.
func abridge(problems []error) error {
	const most = 10
	if more := len(problems) - most; more > 0 {
		problems = append(problems[:most:most], fmt.Errorf("and %d more", more))
	}
	return errors.Join(problems...)
}

// sendFile sends a file to the server, compares what comes back, and returns
// how long the file is.
func (d *demo) sendFile(path string, progress func(int64)) (n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	sent, received := sha256.New(), sha256.New()
	for {
		piece := &io.LimitedReader{R: io.TeeReader(f, sent), N: pieceSize}
		response, err := new(simpleipc.Dialer).CallStream(d.ctx, d.echo, io.MultiReader(strings.NewReader("echo "), piece))
		if err != nil {
			return n, fmt.Errorf("'%s': %w", path, reason(err))
		}
		_, err = io.Copy(received, response)
		response.Close()
		if err != nil {
			return n, fmt.Errorf("'%s': %w", path, reason(err))
		}
		n += pieceSize - piece.N
		progress(n)
		if piece.N > 0 { // the file has ended
			break
		}
	}
	if !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
		return n, fmt.Errorf("'%s' came back changed", path)
	}
	return n, nil
}
