package daemon

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
)

// isWine reports whether this is Wine, which does not keep a second process from
// making an instance of a pipe.
func isWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// alive reports whether the process with this ID runs.
func alive(pid int) bool {
	p, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return false
	}
	defer windows.CloseHandle(p)
	s, _ := windows.WaitForSingleObject(p, 0)
	return s == uint32(windows.WAIT_TIMEOUT)
}

func session() int { return 0 }

func fileOfDescriptor(string) string { return "unknown" }

// TestJob starts servers from a process in a job, which is closed then. A server
// lives on if the job lets it out, and otherwise ends with it.
func TestJob(t *testing.T) {
	for name, tt := range map[string]struct {
		limits uint32
		lives  bool
	}{
		"lets processes out":        {windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK, true},
		"lets processes out itself": {windows.JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK, true},
		"lets nobody out":           {0, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := server(t)
			job, err := windows.CreateJobObject(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
			info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | tt.limits
			if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))); err != nil {
				t.Fatal(err)
			}
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			client := exec.Command(exe, d.Path)
			client.Env = roleOf("client")
			client.Stdout, client.Stderr = &out, &out
			begin, err := client.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(client.Process.Pid))
			if err == nil {
				err = windows.AssignProcessToJobObject(job, process)
				windows.CloseHandle(process)
			}
			if err != nil {
				t.Error(err)
			}
			begin.Close()
			if err := client.Wait(); err != nil {
				t.Fatalf("%v: %s", err, out.String())
			}
			var pid int
			fmt.Sscan(out.String(), &pid)
			if !alive(pid) {
				t.Fatalf("no server after %q", out.String())
			}
			windows.CloseHandle(job)
			if !tt.lives {
				gone(t, pid)
			} else if got := ask(t, d, "pid"); got != fmt.Sprint(pid) {
				t.Errorf("the job's end has ended server %d; now there is %s", pid, got)
			}
		})
	}
}
