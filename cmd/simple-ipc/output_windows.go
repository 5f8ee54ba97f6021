package main

import (
	"errors"
	"io/fs"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// isStdout reports whether a file is standard output, by its name. Of others than
// regular files, Windows cannot tell: all devices seem to be the same.
func isStdout(file fs.FileInfo) bool {
	stdout, err := os.Stdout.Stat()
	return err == nil && file.Mode().IsRegular() && os.SameFile(file, stdout)
}

// makeDraft makes a new file that is to have the place of path, and the
// permissions of what is there, if anything is. It can be removed while it is
// open.
func makeDraft(name, path string, there fs.FileInfo) (*os.File, error) {
	var sa *windows.SecurityAttributes
	if there != nil {
		sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
		if err != nil {
			return nil, &fs.PathError{Op: "permissions", Path: path, Err: err}
		}
		sa = &windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})), SecurityDescriptor: sd}
	}
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	h, err := windows.CreateFile(p, windows.GENERIC_WRITE, windows.FILE_SHARE_READ|windows.FILE_SHARE_DELETE, sa,
		windows.CREATE_NEW, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

// replacePatience is how long others, such as a virus scanner, may have the file
// open that is to be replaced.
const replacePatience = 2 * time.Second

// replace gives a file the place of another. That cannot be while the other is
// open.
func replace(name, path string) error {
	late := time.Now().Add(replacePatience)
	for {
		err := os.Rename(name, path)
		inUse := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
		if !inUse || time.Now().After(late) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
