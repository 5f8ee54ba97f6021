package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A store keeps objects on disk, and which of them each action has made. When
// they become too large together, those go that were not used for the longest
// time. All that is there is in the file system: a store that is killed is as
// good as before when it is opened again.
type store struct {
	objects objects
	actions string // a directory with a file for each action: its entry
	maxSize int64

	hits, misses, puts, evicted atomic.Int64

	mu   sync.Mutex
	size int64 // of all files, or more
}

// An entry is what is stored for an action.
type entry struct {
	object
	time time.Time // when it was put there
}

func (e entry) String() string { return fmt.Sprintf("%v %d", e.object, e.time.UnixNano()) }

func parseEntry(s string) (e entry, err error) {
	fields := strings.Split(s, " ")
	if len(fields) != 3 {
		return e, fmt.Errorf("an entry has 3 fields, and not %d", len(fields))
	}
	if e.object, err = parseObject(fields[0], fields[1]); err != nil {
		return e, err
	}
	nano, err := strconv.ParseInt(fields[2], 10, 64)
	e.time = time.Unix(0, nano)
	return e, err
}

func parseObject(name, size string) (o object, err error) {
	if o.id, err = parseID(name); err != nil {
		return o, err
	}
	n, err := strconv.ParseUint(size, 10, 62)
	o.size = int64(n)
	return o, err
}

// openStore opens the store in dir, or makes a new one.
func openStore(dir string, maxSize int64) (*store, error) {
	s := &store{
		objects: objects(filepath.Join(dir, "objects")),
		actions: filepath.Join(dir, "actions"),
		maxSize: maxSize,
	}
	for _, dir := range s.dirs() {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.unfinished() { // whoever wrote it was killed
			if err := os.Remove(f.path); err != nil {
				return nil, err
			}
		}
	}
	return s, s.grow(0)
}

func (s *store) dirs() []string { return []string{s.actions, string(s.objects)} }

func (s *store) entryPath(action id) string { return filepath.Join(s.actions, action.String()) }

// get returns what is stored for an action, and a file that it can be read
// from. The file is nil if there is nothing, or only what is damaged.
func (s *store) get(action id) (*os.File, entry, error) {
	f, e, err := s.open(action)
	if f == nil {
		s.misses.Add(1)
		return nil, e, err
	}
	s.hits.Add(1)
	// That they were just used counts when files are evicted.
	now := time.Now()
	_ = os.Chtimes(s.entryPath(action), now, now)
	_ = os.Chtimes(f.Name(), now, now)
	return f, e, nil
}

func (s *store) open(action id) (f *os.File, e entry, err error) {
	line, err := os.ReadFile(s.entryPath(action))
	if err != nil {
		return nil, e, ignoreNotExist(err)
	}
	if e, err = parseEntry(string(line)); err != nil {
		return nil, e, nil
	}
	f, err = os.Open(s.objects.path(e.id))
	if err != nil {
		return nil, e, ignoreNotExist(err)
	}
	info, err := f.Stat()
	if err != nil || info.Size() != e.size {
		_ = f.Close() // it was only read
		return nil, e, err
	}
	return f, e, nil
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// put stores o, which src has the bytes of, for an action. An object that is
// already there is replaced, for it might be damaged.
func (s *store) put(action id, o object, src io.Reader) error {
	if o.size > s.maxSize/2 {
		return fmt.Errorf("an object of %d bytes is too large for a cache of %d", o.size, s.maxSize)
	}
	if err := s.objects.add(o, src); err != nil {
		return err
	}
	e := entry{object: o, time: time.Now()}.String()
	err := replaceFile(s.entryPath(action), func(f *os.File) error {
		_, err := f.WriteString(e)
		return err
	})
	if err != nil {
		return err
	}
	s.puts.Add(1)
	return s.grow(o.size + int64(len(e)))
}

// grow is called when n bytes have been added. It evicts files if they are too
// many now, down to nine tenths, so that there is not much to do at the next.
func (s *store) grow(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size += n; n > 0 && s.size <= s.maxSize {
		return nil
	}
	files, err := s.files()
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, file.unfinished)
	s.size = 0
	for _, f := range files {
		s.size += f.Size()
	}
	if s.size <= s.maxSize {
		return nil
	}
	slices.SortFunc(files, func(a, b file) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		if s.size <= s.maxSize/10*9 {
			break
		}
		if err := ignoreNotExist(os.Remove(f.path)); err != nil {
			return err
		}
		s.size -= f.Size()
		s.evicted.Add(1)
	}
	return nil
}

type file struct {
	fs.FileInfo
	path string
}

func (f file) unfinished() bool { return strings.HasPrefix(f.Name(), unfinished) }

func (s *store) files() (files []file, err error) {
	for _, dir := range s.dirs() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was just finished, or deleted by hand
			}
			if err != nil {
				return nil, err
			}
			files = append(files, file{info, filepath.Join(dir, e.Name())})
		}
	}
	return files, nil
}

// String tells what is stored and what has been asked for.
func (s *store) String() string {
	s.mu.Lock()
	size := s.size
	s.mu.Unlock()
	return fmt.Sprintf("hits %d\nmisses %d\nputs %d\nevicted %d\nbytes %d of %d\n",
		s.hits.Load(), s.misses.Load(), s.puts.Load(), s.evicted.Load(), size, s.maxSize)
}
