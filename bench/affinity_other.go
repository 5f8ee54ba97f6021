//go:build !linux

package main

import (
	"errors"
	"os/exec"
)

const canPin = false

func startOnOneCPU(*exec.Cmd) error { return errors.ErrUnsupported }
