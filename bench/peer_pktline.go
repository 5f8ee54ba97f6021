package main

import (
	"io"
	"net"

	"github.com/git-lfs/pktline"
)

// lfsPktline is the pkt-line format by the package of Git LFS: the same bytes
// on the wire as this project's.
type lfsPktline struct{}

func (lfsPktline) listen(path string, x exchange, s service) (io.Closer, error) {
	return listenNet(path, func(c net.Conn) {
		pl := pktline.NewPktline(c, c)
		buf := messages.Get().(*[]byte)
		defer messages.Put(buf)
		for {
			if x.Streamed {
				response, err := s.stream(&packetReader{pl: pl})
				if err != nil || sendPackets(pl, response) != nil {
					return
				}
				continue
			}
			var err error
			if *buf, err = readMessage(pl, (*buf)[:0]); err != nil {
				return
			}
			if writeMessage(pl, s.answer(*buf)) != nil {
				return
			}
		}
	})
}

func (lfsPktline) dial(path string, _ exchange) (conn, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	return pktlineConn{c, pktline.NewPktline(c, c)}, nil
}

type pktlineConn struct {
	io.Closer
	pl *pktline.Pktline
}

func (c pktlineConn) call(buf, request []byte) ([]byte, error) {
	if err := writeMessage(c.pl, request); err != nil {
		return nil, err
	}
	return readMessage(c.pl, buf[:0])
}

func (c pktlineConn) stream(w io.Writer, request io.Reader) error {
	if err := sendPackets(c.pl, request); err != nil {
		return err
	}
	_, err := copyChunks(w, &packetReader{pl: c.pl})
	return err
}

// writeMessage writes packets straight from p, and a flush packet.
func writeMessage(pl *pktline.Pktline, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), pktline.MaxPacketLength)
		if err := pl.WritePacket(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return pl.WriteFlush()
}

// readMessage appends the data of packets to buf, up to a flush packet.
func readMessage(pl *pktline.Pktline, buf []byte) ([]byte, error) {
	for {
		data, length, err := pl.ReadPacketWithLength()
		if err != nil || length == 0 {
			return buf, err
		}
		buf = append(buf, data...)
	}
}

// sendPackets writes what r has, and a flush packet.
func sendPackets(pl *pktline.Pktline, r io.Reader) error {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	for {
		n, err := io.ReadFull(r, (*buf)[:pktline.MaxPacketLength])
		if n > 0 {
			if err := pl.WritePacket((*buf)[:n]); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return pl.WriteFlush()
		default:
			return err
		}
	}
}

// A packetReader reads the data of packets, up to a flush packet.
type packetReader struct {
	pl   *pktline.Pktline
	data []byte
	end  bool
}

func (r *packetReader) Read(p []byte) (int, error) {
	for len(r.data) == 0 {
		if r.end {
			return 0, io.EOF
		}
		data, length, err := r.pl.ReadPacketWithLength()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // the message has no end
		}
		if err != nil {
			return 0, err
		}
		r.data, r.end = data, length == 0
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}
