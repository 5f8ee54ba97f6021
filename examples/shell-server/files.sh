#!/bin/sh
#
# A Simple IPC server in a shell script: it answers questions about the files of the
# directory in which it was started. simple-ipc runs it once for each request, with the
# request on standard input, and sends its output to the client:
#
#	simple-ipc start-daemon --name=files.ipc --threads=8 --exec ./files.sh
#	simple-ipc send --name=files.ipc 'count .go'
#	simple-ipc send --name=files.ipc 'largest'
#	simple-ipc send --name=files.ipc 'lines README.md'
#	simple-ipc stop-daemon --name=files.ipc
#
# If it fails, the client gets an error, and what it has written to standard error is in
# the server's log.
set -eu

fail() {
	echo "files.sh: $*, from process $SIMPLE_IPC_PEER_PID of user $SIMPLE_IPC_PEER_UID" >&2
	exit 1
}

# The request is one line; its end may be missing.
IFS=' ' read -r command argument || [ -n "${command-}" ] || fail "an empty request"

case $command in
count) # how many files have a name that ends so
	find . -type f -name "*$argument" | wc -l
	;;
largest) # the five largest files
	find . -type f -exec ls -ln {} + | sed -E 's/^([^ ]+ +){4}([0-9]+) +([^ ]+ +){3}/\2 /' | sort -k1,1nr | head -n 5
	;;
lines) # of a file in this directory
	case $argument in
	'' | */* | .*) fail "no name of a file: '$argument'" ;;
	esac
	[ -f "$argument" ] || fail "no such file: '$argument'"
	wc -l <"$argument"
	;;
who) # asks
	echo "process $SIMPLE_IPC_PEER_PID, user $SIMPLE_IPC_PEER_UID, group $SIMPLE_IPC_PEER_GID"
	;;
*)
	fail "unknown command '$command'"
	;;
esac
