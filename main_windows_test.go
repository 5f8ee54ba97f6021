package simpleipc

import (
	"context"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
)

// onWine reports whether this is Wine, which does not do all that Windows does.
func onWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// openFiles counts the open pipes. Other handles come and go with threads.
func openFiles() (n int, err error) {
	for h := range handles() {
		if t, err := windows.GetFileType(h); err == nil && t == windows.FILE_TYPE_PIPE {
			n++
		}
	}
	return n, nil
}

// openHandles counts the open handles of all kinds.
func openHandles() (n int) {
	getHandleInformation := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetHandleInformation")
	for h := range handles() {
		var flags uint32
		if ok, _, _ := getHandleInformation.Call(uintptr(h), uintptr(unsafe.Pointer(&flags))); ok != 0 {
			n++
		}
	}
	return n
}

// handles yields more handles than a process of these tests has at a time.
func handles() func(yield func(windows.Handle) bool) {
	return func(yield func(windows.Handle) bool) {
		for h := windows.Handle(4); h < 1<<15 && yield(h); h += 4 {
		}
	}
}

// wantFiles checks that there is a pipe, if anything is wanted, and otherwise
// that there is none. There are no files.
func wantFiles(t testing.TB, path string, want ...string) {
	t.Helper()
	state, err := Probe(context.Background(), path)
	if wanted := len(want) > 0; wanted && state != Listening || !wanted && state != PathNotFound {
		t.Errorf("the pipe: %v, %v; want %q", state, err, want)
	}
}

// staleSocket does nothing: a server that has ended leaves nothing.
func staleSocket(testing.TB, string) {}

// notListening lets a path be one that is not listening, until gone is called.
func notListening(t testing.TB, path string) (gone func()) {
	t.Helper()
	server := createPipe(t, path, windows.PIPE_TYPE_BYTE, 1)
	client, err := connect(pipeAt(t, path))
	if err != nil {
		t.Fatal(err)
	}
	gone = sync.OnceFunc(func() {
		client.Close()
		windows.CloseHandle(server)
	})
	t.Cleanup(gone)
	return gone
}

// createPipe makes an instance of a pipe, not by this package.
func createPipe(t testing.TB, path string, mode, instances uint32) windows.Handle {
	t.Helper()
	h, err := windows.CreateNamedPipe(utf16(t, pipeAt(t, path)), windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED, mode, instances, 4096, 4096, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// pipeAt returns the name of the pipe for a path.
func pipeAt(t testing.TB, path string) string {
	t.Helper()
	name, err := resolve(path)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func utf16(t testing.TB, s string) *uint16 {
	t.Helper()
	p, err := windows.UTF16PtrFromString(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// halfClose ends what c sends. A pipe can only be closed as a whole.
func halfClose(c socket) { c.Close() }

// thisProcess is what its peers see of this process.
func thisProcess() Peer {
	sid, err := ownSID()
	if err != nil {
		panic(err)
	}
	return Peer{PID: windows.Getpid(), UID: unknown, GID: unknown, SID: sid}
}

// idleConnections is how many connections TestIdleConnections holds.
const idleConnections = 1000

// openFileLimit is how many handles a process may have.
func openFileLimit(testing.TB) uint64 { return 1 << 24 }
