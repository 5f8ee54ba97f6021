package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// A file that was there keeps its permissions.
func TestOutputPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	private, err := windows.SecurityDescriptorFromString("D:P(A;;FA;;;" + thisProcess().SID + ")")
	if err != nil {
		t.Fatal(err)
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	sa := &windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})), SecurityDescriptor: private}
	h, err := windows.CreateFile(name, windows.GENERIC_WRITE, 0, sa, windows.CREATE_NEW, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		t.Fatal(err)
	}
	windows.CloseHandle(h)
	own := permissions(t, path)
	writeOutput(t, path, "one", true)
	if got := permissions(t, path); got != own {
		t.Errorf("the permissions are %s, and were %s", got, own)
	}
	other := path + ".other"
	writeOutput(t, other, "one", true)
	if got := permissions(t, other); got == own {
		t.Errorf("the permissions of another file are %s, too", got)
	}
}

func permissions(t *testing.T, path string) string {
	t.Helper()
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		t.Fatal(err)
	}
	return sd.String()
}

// A file that somebody has open is replaced when it is closed.
func TestOutputInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	writeOutput(t, path, "one", true)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(replacePatience/10, func() { f.Close() })
	writeOutput(t, path, "two", true)
	if got, err := os.ReadFile(path); err != nil || string(got) != "two" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}

// What cannot be replaced is written as it is.
func TestOutputInPlace(t *testing.T) {
	if out, err := createOutput("NUL"); err != nil || out.File == os.Stdout || out.path != "" {
		t.Errorf("NUL: %v, %v", out, err)
	}
	writeOutput(t, "NUL", "nothing", true)
}
