package daemon

import "golang.org/x/sys/windows"

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
