/*
 * A Simple IPC client in plain C, written from docs/protocol.md: it opens the
 * pipe as a file, and writes and reads packets by hand.
 *
 *   client probe PIPE          connect and hang up
 *   client leave PIPE BYTES    write BYTES and hang up
 *   client raw PIPE BYTES N    write BYTES, print the N bytes that come back
 *   client echo PIPE SIZE      send "echo " and SIZE bytes, check that they come
 *                              back, on one connection for each size from there
 *                              down to 1
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <io.h>
#include <windows.h>

#define MAX_DATA 65516 /* in a packet */

static void fail(const char *what)
{
	fprintf(stderr, "client: %s: error %lu\n", what, GetLastError());
	exit(1);
}

static HANDLE dial(const char *name)
{
	for (;;) {
		HANDLE pipe = CreateFileA(name, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
		if (pipe != INVALID_HANDLE_VALUE)
			return pipe;
		if (GetLastError() != ERROR_PIPE_BUSY || !WaitNamedPipeA(name, 30000))
			fail("opening the pipe");
	}
}

static void write_all(HANDLE pipe, const char *bytes, size_t size)
{
	while (size > 0) {
		DWORD n;
		if (!WriteFile(pipe, bytes, (DWORD)size, &n, NULL))
			fail("writing");
		bytes += n;
		size -= n;
	}
}

static void read_all(HANDLE pipe, char *bytes, size_t size)
{
	while (size > 0) {
		DWORD n;
		if (!ReadFile(pipe, bytes, (DWORD)size, &n, NULL))
			fail("reading");
		bytes += n;
		size -= n;
	}
}

static void *allocate(size_t size)
{
	void *p = malloc(size ? size : 1);
	if (!p)
		fail("memory");
	return p;
}

/* Writes a message, in packets of at most max bytes of data. */
static void write_message(HANDLE pipe, const char *bytes, size_t size, size_t max)
{
	char header[5];
	while (size > 0) {
		size_t n = size < max ? size : max;
		sprintf(header, "%04x", (unsigned)(n + 4));
		write_all(pipe, header, 4);
		write_all(pipe, bytes, n);
		bytes += n;
		size -= n;
	}
	write_all(pipe, "0000", 4);
}

/* Reads a message of at most max bytes, and returns its size. */
static size_t read_message(HANDLE pipe, char *bytes, size_t max)
{
	size_t size = 0;
	for (;;) {
		char header[5] = "", *end;
		unsigned long n;
		read_all(pipe, header, 4);
		n = strtoul(header, &end, 16);
		if (end != header + 4 || n > MAX_DATA + 4 || (n > 0 && n < 4))
			fail("no header of a packet");
		if (n == 0)
			return size;
		n -= 4;
		if (size + n > max)
			fail("the response is too large");
		read_all(pipe, bytes + size, n);
		size += n;
	}
}

static void echo(const char *name, size_t size)
{
	static const char verb[] = "echo ";
	const size_t skip = sizeof verb - 1;
	char *request = allocate(skip + size), *response = allocate(size);
	size_t i, packet;
	memcpy(request, verb, skip);
	for (i = 0; i < size; i++)
		request[skip + i] = (char)(i * 7 + (i >> 8));
	for (packet = MAX_DATA; packet >= 1000; packet /= 7) {
		HANDLE pipe = dial(name);
		write_message(pipe, request, skip + size, packet);
		if (read_message(pipe, response, size) != size || memcmp(response, request + skip, size) != 0)
			fail("the response is not what was sent");
		CloseHandle(pipe);
	}
	free(request);
	free(response);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "";
	_setmode(_fileno(stdout), _O_BINARY);
	if (!strcmp(mode, "probe") && argc == 3) {
		CloseHandle(dial(argv[2]));
	} else if (!strcmp(mode, "leave") && argc == 4) {
		HANDLE pipe = dial(argv[2]);
		write_all(pipe, argv[3], strlen(argv[3]));
		CloseHandle(pipe);
	} else if (!strcmp(mode, "raw") && argc == 5) {
		HANDLE pipe = dial(argv[2]);
		size_t size = strtoul(argv[4], NULL, 10);
		char *answer = allocate(size);
		write_all(pipe, argv[3], strlen(argv[3]));
		read_all(pipe, answer, size);
		CloseHandle(pipe);
		if (fwrite(answer, 1, size, stdout) != size)
			fail("printing");
		free(answer);
	} else if (!strcmp(mode, "echo") && argc == 4) {
		size_t size;
		for (size = strtoul(argv[3], NULL, 10); size > 0; size /= 4)
			echo(argv[2], size);
	} else {
		fprintf(stderr, "usage: client probe|leave|raw|echo PIPE ...\n");
		return 2;
	}
	return 0;
}
