package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// columnsOf returns how many columns the console has that f is, and whether it
// is one that knows ANSI escape sequences.
func columnsOf(f *os.File) (int, bool) {
	h := windows.Handle(f.Fd())
	var mode uint32
	var info windows.ConsoleScreenBufferInfo
	if windows.GetConsoleMode(h, &mode) != nil || windows.GetConsoleScreenBufferInfo(h, &info) != nil ||
		windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) != nil {
		return 0, false
	}
	return int(info.Window.Right - info.Window.Left + 1), true
}
