// Credential-cache is a credential helper for Git that keeps passwords in the
// memory of a daemon for a while. It shows package daemon: the daemon is started
// when there is something to keep, is found by all of the user's Gits, and ends
// when it has nothing left.
//
//	go build -o ~/bin/credential-cache ./examples/credential-cache
//	git config --global credential.helper "$HOME/bin/credential-cache --timeout=900"
//
// Git runs it with one of the actions of gitcredentials(7), and the attributes
// of git-credential(1) on standard input:
//
//   - get prints the credential that was stored last of those that match.
//   - store keeps one for --timeout seconds, and starts the daemon if need be.
//     What was kept for the same protocol, host, path and username is replaced.
//   - erase forgets those that match. With a password, only if it is the one that
//     was kept: another helper's wrong password is no reason to forget ours.
//   - capability says that authtype is understood.
//
// Get and erase start no daemon: without one, nothing is found. Other actions are
// ignored, as Git wants it. For people there is
//
//	credential-cache exit
//
// which ends the daemon, so that everything is forgotten. It also ends when the
// last credential has expired or was erased. A daemon of an older version of this
// program, if it does not speak as the new one does, is replaced when there is
// something to store.
//
// # Matching
//
// Protocol and host must be the same, byte by byte, and so must path and username
// if they are asked for. Git only gives a path for HTTP if credential.useHttpPath
// is set. A credential that was stored without a path is not found by one.
//
// Kept are username, password and oauth_refresh_token; password_expiry_utc, at
// which the credential expires if that comes before the timeout; and authtype and
// credential if Git announces capability[]=authtype, unless ephemeral is set. There
// is no state[], and all else is discarded. If an attribute is repeated, the last
// one holds.
//
// # Where secrets are
//
// Secrets are in standard input and output, on the socket and in memory: never in
// arguments, the environment, a log or a file. The socket has mode 0600, in a
// directory that must be the user's and closed to others; by default it is
// $XDG_RUNTIME_DIR/credential-cache/socket or, without that variable, the same in
// $XDG_CACHE_HOME or ~/.cache. Client and daemon ask the kernel who the other one
// is, and talk to their own user and root only. Of the environment of the Git that
// happened to start it, the daemon has only what is about Go programs in general.
//
// No core is dumped, and on Linux other processes of the same user can neither
// trace the daemon nor read its memory. They can still ask it.
//
// A secret is overwritten when it expires, is erased or replaced, and with every
// request and answer. That is as far as a Go program gets: buffers of connections
// hold copies of what went through them until they are used again, the garbage
// collector frees memory without overwriting it, and nothing here keeps memory
// from being swapped, so swap space should be encrypted.
//
// # Limits
//
// A credential has at most 64 KiB, and 256 are kept; for one more, that which
// would expire first is forgotten.
package main
