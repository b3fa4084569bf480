package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// The connection to one service, as Higress' Envoy has it in a worker: made by the first call after an init, with the
// login of that; one reply for one call, in order; ended if nothing arrives for the timeout. Everything but `read` runs in
// the loop.
type service struct {
	loop     *loop
	address  string
	username string
	password string
	database string
	timeout  time.Duration
	open     *connection
}

type connection struct {
	socket  net.Conn
	pending []pending
	watch   *time.Timer
}

type pending struct {
	token uint32
	isOwn bool // AUTH or SELECT of the gateway, whose reply no plugin gets
}

func (s *service) send(token uint32, query []byte) {
	if s.open == nil && !s.connect() {
		s.loop.later(func() { s.loop.reply(token, networkError, nil) })
		return
	}
	s.open.write(pending{token: token}, query)
}

func (s *service) connect() bool {
	socket, err := net.DialTimeout("tcp", s.address, time.Second)
	if err != nil {
		return false
	}
	c := &connection{socket: socket}
	c.watch = time.AfterFunc(time.Hour, func() { socket.Close() })
	s.open = c
	if s.username != "" {
		c.write(pending{isOwn: true}, command("AUTH", s.username, s.password))
	} else if s.password != "" {
		c.write(pending{isOwn: true}, command("AUTH", s.password))
	}
	if s.database != "" {
		c.write(pending{isOwn: true}, command("SELECT", s.database))
	}
	c.watch.Reset(s.timeout)
	go s.read(c)
	return true
}

func (c *connection) write(whose pending, query []byte) {
	c.pending = append(c.pending, whose)
	// An error shows when the reader ends.
	_, _ = c.socket.Write(query)
}

func (s *service) read(c *connection) {
	replies := bufio.NewReader(c.socket)
	for {
		reply, err := readValue(replies)
		if err != nil {
			s.loop.later(func() { s.closed(c) })
			return
		}
		s.loop.later(func() {
			if s.open != c || len(c.pending) == 0 {
				return
			}
			first := c.pending[0]
			c.pending = c.pending[1:]
			c.watch.Reset(time.Hour)
			if len(c.pending) > 0 {
				c.watch.Reset(s.timeout)
			}
			if !first.isOwn {
				s.loop.answer(first.token, reply)
			}
		})
	}
}

// closed fails the calls on a connection that has ended.
func (s *service) closed(c *connection) {
	c.watch.Stop()
	c.socket.Close()
	if s.open == c {
		s.open = nil
	}
	lost := c.pending
	c.pending = nil
	for _, call := range lost {
		if !call.isOwn {
			s.loop.reply(call.token, networkError, nil)
		}
	}
}

// end ends the connection, as an init does and as a change of the cluster does.
func (s *service) end() {
	if c := s.open; c != nil {
		s.open = nil
		s.loop.later(func() { s.closed(c) })
	}
}

func command(words ...string) []byte {
	bytes := []byte(fmt.Sprintf("*%d\r\n", len(words)))
	for _, word := range words {
		bytes = append(bytes, fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)...)
	}
	return bytes
}

// readValue reads the bytes of one RESP2 value.
func readValue(from *bufio.Reader) ([]byte, error) {
	line, err := from.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, io.ErrUnexpectedEOF
	}
	count, _ := strconv.Atoi(string(line[1 : len(line)-2]))
	switch line[0] {
	case '+', '-', ':':
	case '$':
		if count >= 0 {
			value := make([]byte, count+2)
			if _, err := io.ReadFull(from, value); err != nil {
				return nil, err
			}
			line = append(line, value...)
		}
	case '*':
		for range max(count, 0) {
			item, err := readValue(from)
			if err != nil {
				return nil, err
			}
			line = append(line, item...)
		}
	default:
		// RESP3: Envoy ends the connection.
		return nil, io.ErrUnexpectedEOF
	}
	return line, nil
}
