package realtest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports that FreeAddress chooses from lie below those that systems give to whoever asks for any:
// from 32768 on Linux, from 49152 elsewhere.
const firstPort, ports = 20000, 12000

// held are the tokens of the addresses that were given, by address.
var held sync.Map

// FreeAddress is a loopback address nobody listens on. It stays with this process until it ends,
// though nothing listens there while a program starts or restarts: no server or connection that
// takes any port gets one of these, and other tests that ask here see that it is taken.
func FreeAddress() (string, error) {
	first := rand.IntN(ports)
	for i := range ports {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+(first+i)%ports))
		// The token is the port of the same number in UDP, where nothing else is tried.
		token, err := net.ListenPacket("udp4", address)
		if err != nil {
			continue
		}
		listener, err := net.Listen("tcp4", address)
		if err != nil {
			token.Close()
			continue
		}
		if err := listener.Close(); err != nil {
			return "", err
		}
		held.Store(address, token) // one that nobody refers to would be closed as garbage
		return address, nil
	}
	return "", errors.New("no free port")
}
