package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// findSocket returns where the daemon for the worktree listens that dir is in.
// A linked worktree has a Git directory, and a daemon, of its own.
func findSocket(ctx context.Context, dir string) (string, error) {
	gitDir, err := git(ctx, dir, "rev-parse", "--absolute-git-dir")
	if err != nil {
		return "", fmt.Errorf("cannot find the repository of '%s': %w", dir, err)
	}
	return filepath.Join(gitDir, "fsmonitor--daemon.ipc"), nil
}

// howToStart tells how a daemon for the worktree can be started that dir is in.
func howToStart(ctx context.Context, dir string) string {
	_, err := git(ctx, dir, "fsmonitor--daemon", "status") // fails, since there is none
	if err == nil || !strings.Contains(err.Error(), "not supported") {
		return "start it with 'git fsmonitor--daemon start'"
	}
	version, err := git(ctx, dir, "version")
	if err != nil {
		version = "Git"
	}
	return version + " has none for this system; on Linux, there is one from Git 2.55 on"
}

// git runs a command of Git's in dir and returns what it prints. Its error has
// the message of the command.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = errors.New("git says: " + strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSuffix(string(out), "\n"), err
}
