// Package trace2 writes telemetry as Git does: the events of Git's trace2, to
// the same targets, in the same formats, chosen by the same environment
// variables. Whoever debugs Git with them, or collects them, sees programs
// written in Go in the same stream, below the Git commands that started them
// and above those that they start.
//
// # A program
//
// A program says when it starts and when it exits. In between it enters
// regions, which are timed, and tells data and errors:
//
//	func main() {
//		trace2.Start(os.Args)
//		os.Exit(trace2.Exit(run()))
//	}
//
//	func load(ctx context.Context, path string) error {
//		ctx, region := trace2.Region(ctx, "index", "load", path)
//		defer region.End()
//		…
//		trace2.Data(ctx, "index", "entries", len(entries))
//	}
//
// The context says in which region, and of which thread, something happens.
// One that the package has not made means the main thread, in no region, of the
// [Default] Tracer, so that libraries can be called by programs that know
// nothing of this package. Goroutines that work at the same time are told
// apart by [Thread], processes by [Child], and what happens too often to be
// told each time is added up by [Count] and [Timer].
//
// # Targets
//
// These variables choose the targets:
//
//	GIT_TRACE2        the normal format: a summary, for people
//	GIT_TRACE2_PERF   the perf format: columns, for people who look for time
//	GIT_TRACE2_EVENT  the event format: lines of JSON, for programs
//
// Each can be
//
//	0, false, or empty                    nothing
//	1 or true                             standard error
//	2 to 9                                a descriptor that is inherited
//	/path                                 a file, to which is appended
//	/path/of/directory                    a file of its own for each process
//	af_unix:[stream:|dgram:]/path         a socket
//
// and these say more:
//
//	GIT_TRACE2_BRIEF, _PERF_BRIEF, _EVENT_BRIEF
//	    leave out the time of day and the place in the source, if true
//	GIT_TRACE2_EVENT_NESTING
//	    how deep regions may be to be told in the event format, 2 by default
//	GIT_TRACE2_MAX_FILES
//	    how many files a directory may have. The next one is named
//	    git-trace2-discard and keeps further ones out until it is removed
//	GIT_TRACE2_ENV_VARS
//	    environment variables whose values are told, separated by commas
//	GIT_TRACE2_DST_DEBUG
//	    complain about targets that do not work, if true
//	GIT_TRACE2_PARENT_SID, GIT_TRACE2_PARENT_NAME
//	    of what this process is part of; set for it by its parent
//
// Git's settings trace2.* are not read. On Windows there are neither sockets
// nor inherited descriptors.
//
// # What it costs
//
// If nothing is traced, a call takes some nanoseconds and no memory, apart from
// the operands of [Error] and [Printf], which their caller may have to
// allocate, and the start of a process takes nothing.
//
// Tracing never disturbs the program. Each line is written at once, by one
// write(2) and whole, also if many processes append to one file. A target that
// fails is given up, without a word unless GIT_TRACE2_DST_DEBUG is set. The
// reader of a socket or named pipe that is too slow is waited for, but for no
// more than 50 ms for a line, and in all for no more than a second plus a tenth
// of the time since the target was opened; then it is given up, too.
// Only standard error and inherited descriptors are written to as anybody
// writes to them: if they block, so does the call.
//
// # What it tells
//
// The events are those of version 4 of Git's event format: version, start,
// exit, atexit, signal, error, cmd_name, cmd_mode, def_param, child_start,
// child_exit, child_ready, thread_start, thread_exit, region_enter,
// region_leave, data, data_json, printf, timer, counter and too_many_files. The
// place in the source is that of the caller, as package/file.go.
//
// Command lines, settings and paths are told as they are: a trace is as secret
// as they.
package trace2
