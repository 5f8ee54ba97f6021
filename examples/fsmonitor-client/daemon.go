package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"example.com/simpleipc"
)

// A daemon watches a worktree.
type daemon struct {
	dir    string // in the worktree
	path   string // of the daemon's socket
	dialer simpleipc.Dialer
}

// changesSince asks what has changed since the daemon gave out token. Without a
// token, it answers that everything may have.
func (d *daemon) changesSince(ctx context.Context, token string) (changes, error) {
	dialer := d.dialer
	dialer.NoWaitBusy = true // one that has died does not come back
	response, err := dialer.Call(ctx, d.path, []byte(token))
	if errors.Is(err, simpleipc.ErrBusy) {
		response, err = d.dialer.Call(ctx, d.path, []byte(token))
	}
	if err != nil {
		return changes{}, d.explain(ctx, err)
	}
	c, err := parse(response)
	if err != nil {
		return changes{}, fmt.Errorf("the answer of the daemon at %s is not one of Git's: %w", d.path, err)
	}
	return c, nil
}

// explain tells what to do about an error.
func (d *daemon) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, simpleipc.ErrBusy):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, simpleipc.ErrNotListening):
		return fmt.Errorf("no daemon listens at %s: %s", d.path, howToStart(ctx, d.dir))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the daemon is another user's, who has to stop it before you can start yours: %w", err)
	}
	return err
}
