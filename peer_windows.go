package simpleipc

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/windows"
)

// systemSID is the account of the system's services, Windows' root.
const systemSID = "S-1-5-18"

var errNoProcess = errors.New("the process has ended")

// peerOf returns the process with this ID, which has the other end of a pipe.
// If it is another user's, this process may not be allowed to know whose.
//
// While a process has the pipe open, no other one has its ID. One that has
// passed the pipe on and ended may have been replaced; but this is not what
// keeps others out, the pipe's security descriptor is.
func peerOf(pid uint32) (Peer, error) {
	p := Peer{PID: int(pid), UID: unknown, GID: unknown}
	sid, err := userOf(pid)
	switch {
	case errors.Is(err, windows.ERROR_INVALID_PARAMETER):
		return p, fmt.Errorf("process %d: %w", pid, errNoProcess)
	case err != nil && !errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return p, fmt.Errorf("process %d: %w", pid, err)
	}
	p.SID = sid
	return p, nil
}

// userOf returns the user of a process.
func userOf(pid uint32) (string, error) {
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return "", err
	}
	defer windows.CloseHandle(process)
	var token windows.Token
	if err := windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token); err != nil {
		return "", err
	}
	defer token.Close()
	return sidOf(token)
}

// sidOf returns the user of a token.
func sidOf(token windows.Token) (string, error) {
	user, err := token.GetTokenUser()
	if err != nil {
		return "", err
	}
	return user.User.Sid.String(), nil
}

// ownSID returns the user of this process.
var ownSID = sync.OnceValues(func() (string, error) {
	return sidOf(windows.GetCurrentProcessToken())
})

func sameUser(p Peer) error {
	own, err := ownSID()
	switch {
	case err != nil:
		return fmt.Errorf("user of this process: %w", err)
	case p.SID == "":
		return fmt.Errorf("%w: its user cannot be known", ErrUnauthorized)
	case p.SID != own && p.SID != systemSID:
		return fmt.Errorf("%w: it runs as user %s, not as user %s or the system", ErrUnauthorized, p.SID, own)
	}
	return nil
}
