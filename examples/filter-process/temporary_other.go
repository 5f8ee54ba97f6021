//go:build !linux

package main

import "os"

// openTemporary opens a file of which nothing is left when the filter ends.
func openTemporary() (*os.File, error) { return createTemporary() }
