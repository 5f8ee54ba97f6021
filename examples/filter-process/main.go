// Command filter-process is a filter driver for Git: it stores files compressed
// with gzip and shows them as they were. Git starts it once and lets it filter
// all the files of a command, over the protocol that gitattributes(5) calls
// "Long Running Filter Process".
//
// Git compresses what it stores anyway, so this gains little. It is there to
// show such a driver in full, on top of package pktline, and a useful one has
// only to replace gzip.go.
//
// # Setting it up
//
// Install it with
//
//	go install ./examples/filter-process
//
// tell Git about it, in a repository or with --global for all,
//
//	git config filter.gzip.process filter-process
//	git config filter.gzip.required true
//
// and name the files in the repository's .gitattributes:
//
//	*.bin filter=gzip
//
// Without filter.gzip.required, Git takes a file as it is when the filter fails,
// so that compressed files would lie in the work tree.
//
// Files that are in the repository already come out as they are, and Git may show
// them as modified until they are added again: git add --renormalize . does it
// for all. A work tree that was checked out before the filter was set up has to
// be checked out anew, or its compressed files are taken for the originals. With
// nothing in it that is not committed:
//
//	git rm -r --cached --quiet . && git reset --hard
//
// # What is stored
//
// A blob is a gzip file that has a comment in its header, by which the filter
// knows its own: everything else comes out as it was committed. A file that is
// a gzip file is therefore compressed once more, whoever made it, and comes out
// bit by bit. Somebody without the filter can still read a blob:
//
//	git cat-file blob HEAD:data.bin | gunzip
//
// The same file gives the same blob on every machine, but another version of Go
// may compress differently. Git then shows a file that it looks at again as
// modified until it is added.
//
// # Resources
//
// Git wants no answer before it has sent a whole file, and a large file is
// checked out in the background if Git allows that. What has to wait is kept in
// memory up to 128 KiB and beyond in a temporary file without a name, so that
// nothing is left of it, however the filter ends. TMPDIR names the folder.
//
// A blob that is corrupt is an error, with its name. If it was checked out in
// the background, Git checks out all the others before it fails. When there is
// no room for a temporary file, the filter asks Git to leave it alone.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
)

const usage = `Usage: filter-process [--no-delay]

Store files compressed with gzip in Git. Git starts this program by itself:

  git config filter.gzip.process filter-process
  git config filter.gzip.required true
  echo '*.bin filter=gzip' >>.gitattributes

Flags:
  --no-delay   check out large files one by one, not in the background
  --help       show this
`

func main() {
	logger := log.New(os.Stderr, "filter-process: ", 0)
	if err := run(os.Args[1:], os.Stdin, os.Stdout, logger); err != nil {
		logger.Fatal(err)
	}
}

func run(args []string, stdin *os.File, stdout io.Writer, logger *log.Logger) error {
	flags := flag.NewFlagSet("filter-process", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	noDelay := flags.Bool("no-delay", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(stdout, usage)
		return err
	case err != nil:
		return fmt.Errorf("%w; see 'filter-process --help'", err)
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; see 'filter-process --help'", flags.Arg(0))
	}
	// A terminal, most likely. Git never gives a device.
	if info, err := stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return fmt.Errorf("standard input is not Git\n\n%s", usage)
	}
	f := newFilter(stdin, stdout, logger)
	f.canDelay = !*noDelay
	return f.serve()
}
