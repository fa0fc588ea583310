package realtest

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
)

// An address is nobody's but its owner's: not yet in use, never given twice, and no port that a
// server gets which asks for any.
func TestFreeAddress(t *testing.T) {
	given := map[string]bool{}
	for range 50 {
		address, err := FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		at, err := net.ResolveTCPAddr("tcp", address)
		if err != nil || !at.IP.IsLoopback() || at.Port < firstPort || at.Port >= firstPort+ports || at.Port >= 32768 || given[address] {
			t.Errorf("%s, %v, after %v", address, err, given)
		}
		given[address] = true
	}
	runtime.GC()
	for address := range given {
		if conn, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, %v", address, conn, err)
		}
		if other, err := net.ListenPacket("udp4", address); err == nil {
			other.Close()
			t.Errorf("%s would be given to another process", address)
		}
		own, err := net.Listen("tcp", address)
		if err != nil {
			t.Errorf("its owner cannot listen: %v", err)
			continue
		}
		own.Close()
	}
}
