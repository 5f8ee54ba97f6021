package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// A credential is what is said about one: values by the names of attributes, as
// in git-credential(1). A missing attribute is something else than an empty one.
type credential map[string][]byte

// The attributes that are understood. Those of ephemeralKeys and authtypeKeys
// are for those who have announced the capability.
var (
	capabilityKeys = []string{"capability[]"} // its value is "authtype"
	contextKeys    = []string{"protocol", "host", "path", "username"}
	passwordKeys   = []string{"password", "password_expiry_utc", "oauth_refresh_token"}
	authtypeKeys   = []string{"authtype", "credential"}
	ephemeralKeys  = []string{"ephemeral"}

	storedKeys = slices.Concat(capabilityKeys, contextKeys, passwordKeys, authtypeKeys)
	secretKeys = []string{"password", "credential"}
)

// parse reads attributes up to a blank line or the end. The values are parts of
// text. If an attribute is repeated, the last value holds.
func parse(text []byte) (credential, error) {
	c := credential{}
	for n := 1; len(text) > 0; n++ {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		if len(line) == 0 {
			break
		}
		key, value, ok := bytes.Cut(line, []byte("="))
		switch { // the errors do not show the line, for it may be a secret
		case !ok:
			return nil, fmt.Errorf("line %d is no attribute: it has no '='", n)
		case bytes.IndexByte(line, 0) >= 0:
			return nil, fmt.Errorf("line %d has a NUL byte", n)
		}
		c.set(string(key), value)
	}
	return c, nil
}

// set sets an attribute if it is understood.
func (c credential) set(key string, value []byte) {
	switch {
	case slices.Contains(capabilityKeys, key):
		switch string(value) {
		case "authtype":
			c[key] = value
		case "": // the list begins anew
			delete(c, key)
		}
	case slices.Contains(authtypeKeys, key), slices.Contains(ephemeralKeys, key):
		if c.has(capabilityKeys...) {
			c[key] = value
		}
	case slices.Contains(contextKeys, key), slices.Contains(passwordKeys, key):
		c[key] = value
	}
}

// has reports whether c has all of these attributes.
func (c credential) has(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return c[key] == nil })
}

// isComplete reports whether c can be stored.
func (c credential) isComplete() bool {
	return c.hasContext() && (c.has("username", "password") || c.has("authtype", "credential"))
}

// hasContext reports whether c says what it is about. Git always does.
func (c credential) hasContext() bool { return c.has("protocol", "host") }

// agrees reports whether c has what the query says of these attributes.
func (c credential) agrees(query credential, keys []string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool {
		return query.has(key) && !(c.has(key) && bytes.Equal(c[key], query[key]))
	})
}

// matches reports whether c is one of those that the query is about.
func (c credential) matches(query credential) bool { return c.agrees(query, contextKeys) }

// answer returns the lines that tell whoever asks about c, or nothing if c is
// not what the query is about, or has only what cannot be told.
func (c credential) answer(query credential) []byte {
	switch {
	case !c.matches(query):
		return nil
	case query.has(capabilityKeys...):
		return c.lines(capabilityKeys, []string{"username"}, passwordKeys, authtypeKeys)
	case c.has("password"):
		return c.lines([]string{"username"}, passwordKeys)
	}
	return nil
}

// lines returns the lines of the attributes that c has of these.
func (c credential) lines(keys ...[]string) []byte {
	size := 0
	for key, value := range c {
		size += len(key) + len(value) + len("=\n")
	}
	text := make([]byte, 0, size) // when a slice grows, it leaves a copy
	for _, key := range slices.Concat(keys...) {
		if c.has(key) {
			text = append(text, key...)
			text = append(text, '=')
			text = append(text, c[key]...)
			text = append(text, '\n')
		}
	}
	return text
}

// dropEphemeral removes what Git says is not to be kept.
func (c credential) dropEphemeral() {
	switch string(c["ephemeral"]) {
	case "", "0", "false", "no", "off":
		return
	}
	for _, key := range authtypeKeys {
		delete(c, key)
	}
}

// lifetime returns for how long c can be used from now on, at most limit.
func (c credential) lifetime(now time.Time, limit time.Duration) (time.Duration, error) {
	if !c.has("password_expiry_utc") {
		return limit, nil
	}
	expiry, err := strconv.ParseInt(string(c["password_expiry_utc"]), 10, 64)
	if err != nil || expiry < 0 {
		return 0, errors.New("password_expiry_utc is not a number of seconds since 1970")
	}
	if expiry > now.Add(limit).Unix() {
		return limit, nil
	}
	return time.Unix(expiry, 0).Sub(now), nil
}

// clone returns a copy of the attributes that c has of these.
func (c credential) clone(keys []string) credential {
	copied := credential{}
	for _, key := range keys {
		if c.has(key) {
			copied[key] = bytes.Clone(c[key])
		}
	}
	return copied
}

// overwrite makes the values of c unreadable.
func (c credential) overwrite() {
	for _, value := range c {
		clear(value)
	}
}

// maxInput is how much Git may say. What is not understood of it does not go to
// the daemon.
const maxInput = 1 << 20

// readCredential reads attributes up to a blank line or the end.
func readCredential(in io.Reader) (credential, error) {
	text := make([]byte, 0, maxInput)
	for !bytes.HasPrefix(text, []byte("\n")) && !bytes.Contains(text, []byte("\n\n")) {
		if len(text) == cap(text) {
			return nil, fmt.Errorf("the input is longer than %d bytes", maxInput)
		}
		n, err := in.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the input: %w", err)
		}
	}
	c, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("the input is not as git-credential(1) says: %w", err)
	}
	return c, nil
}
