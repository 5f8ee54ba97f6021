package pktline_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"example.com/simpleipc/pktline"
)

func ExampleWriter_WriteMessage() {
	var b bytes.Buffer
	w := pktline.NewWriter(&b)
	w.WriteMessage([]byte("hello"))
	w.WriteMessage(nil)
	fmt.Printf("%q\n", b.String())
	// Output: "0009hello00000000"
}

// A protocol in which each packet means something.
func ExampleReader_ReadPacket() {
	r := pktline.NewReader(strings.NewReader("000eversion=2\n" + "000eclean=yes\n" + "0000"))
	for {
		kind, data, err := r.ReadPacket()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v %q\n", kind, data)
		if kind == pktline.Flush {
			return
		}
	}
	// Output:
	// data "version=2\n"
	// data "clean=yes\n"
	// flush ""
}

// A message that is copied as it arrives. One that is cut off is an error.
func ExampleReader_WriteTo() {
	for _, stream := range []string{"0009hello0000", "0009hello"} {
		_, err := io.Copy(os.Stdout, pktline.NewReader(strings.NewReader(stream)))
		fmt.Println(":", err)
	}
	// Output:
	// hello: <nil>
	// hello: unexpected EOF
}
