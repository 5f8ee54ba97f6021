//go:build !unix

package main

// harden does nothing: there are no core dumps that users do not ask for.
func harden() {}
