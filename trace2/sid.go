package trace2

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// newSID returns a session id, without those of the parents:
//
//	20261121T220307.020194Z-H0a7c9cdf-P000070a8
//
// That is when the session began, a hash of the host's name, and the process.
func newSID(began time.Time) string {
	host := "Localhost"
	if name, err := os.Hostname(); err == nil {
		sum := sha1Sum(name)
		host = fmt.Sprintf("H%x", sum[:4])
	}
	return fmt.Sprintf("%s-%s-P%08x", began.UTC().Format("20060102T150405.000000Z"), host, uint32(os.Getpid()))
}

// ownSID returns the last part of a session id, the process's own.
func ownSID(sid string) string {
	return sid[strings.LastIndexByte(sid, '/')+1:]
}
