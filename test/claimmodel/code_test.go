package claimmodel

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// The calls that matter to the model, as they follow each other in the code of
// each function that it stands for.
var modelled = map[string]string{
	"Listener.claim":        "checkFree newWorkspace close lockPath unlock checkFree removeDebris publish",
	"newWorkspace":          "Mkdir take leave Remove",
	"workspace.take":        "find Readdirnames Open enter flock isAt",
	"workspace.find":        "OpenFile isAt", // one step of the model with what follows it
	"workspace.enter":       "OpenRoot isAt",
	"workspace.close":       "Remove Remove isAt Remove leave",
	"removeDebris":          "Open Close ReadDir isDebris close leave",
	"workspace.isDebris":    "find enter flock ReadDir isCandidate",
	"workspace.leave":       "Close Close Close",
	"lockPath":              "newCandidate check Close Linkat Remove adoptLock Close Close",
	"newCandidate":          "OpenFile flock writeLockContent Close",
	"adoptLock":             "Lstat OpenFile Close flock isAt ReadFull",
	"pathLock.unlock":       "isAt Remove Close",
	"flock":                 "Flock",
	"isAt":                  "Lstat SameFile",
	"Listener.checkFree":    "connect Close",
	"Listener.publish":      "newStreamSocket Close bindIn Lstat Listen Renameat owns",
	"Listener.Close":        "remove closeSocket",
	"Listener.closeSocket":  "Close Close",
	"Listener.remove":       "owns removeLocked",
	"Listener.removeLocked": "newWorkspace close lockPath unlock owns Remove",
	"Listener.owns":         "Lstat SameFile",
	"Server.drain":          "remove closeSocket",
}

// TestModelFollowsCode fails when the code has got other steps, or has them in
// another order. The model has to be changed then, and after that this table.
func TestModelFollowsCode(t *testing.T) {
	matters := map[string]bool{}
	for _, calls := range modelled {
		for call := range strings.FieldsSeq(calls) {
			matters[call] = true
		}
	}
	found := map[string]bool{}
	for _, name := range []string{"lock_unix.go", "listen_unix.go", "server.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			want, ok := modelled[funcName(fn)]
			if !ok {
				continue
			}
			found[funcName(fn)] = true
			var got []string
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if name := callName(call); matters[name] {
						got = append(got, name)
					}
				}
				return true
			})
			if got := strings.Join(got, " "); got != want {
				t.Errorf("%s, %s calls\n\t%s\nand the model is of\n\t%s", name, funcName(fn), got, want)
			}
		}
	}
	for name := range modelled {
		if !found[name] {
			t.Errorf("there is no %s any more", name)
		}
	}
}

// funcName returns the name of a function, or that of a method with its type.
func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	typ := fn.Recv.List[0].Type
	if p, ok := typ.(*ast.StarExpr); ok {
		typ = p.X
	}
	id, _ := typ.(*ast.Ident)
	if id == nil {
		return fn.Name.Name
	}
	return id.Name + "." + fn.Name.Name
}

// callName returns the last name of what is called, if it is not a built-in.
func callName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		return f.Sel.Name
	case *ast.Ident:
		if f.Name != "close" {
			return f.Name
		}
	}
	return ""
}
