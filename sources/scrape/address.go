package scrape

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// forbidden are the networks in which machines keep what is not for pages of metrics: credentials of
// the cloud, mostly. Whoever can write a DNS record, or make a target redirect, must not be able to
// have yoyu ask there.
var forbidden = []struct {
	network netip.Prefix
	what    string
}{
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local: metadata and credentials of AWS, Google Cloud, Azure and others"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "metadata and credentials of AWS"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "metadata of Google Cloud"},
	{netip.MustParsePrefix("100.100.100.200/32"), "metadata of Alibaba Cloud"},
	{netip.MustParsePrefix("168.63.129.16/32"), "metadata of Azure"},
	{netip.MustParsePrefix("192.0.0.192/32"), "metadata of Oracle Cloud"},
	{netip.MustParsePrefix("0.0.0.0/8"), "no address of a target"},
	{netip.MustParsePrefix("::/128"), "no address of a target"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// Prefixes under which an IPv6 address carries an IPv4 one: NAT64 at its end, 6to4 after two bytes.
var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
)

// refuses says why an address is never asked; "" when it may be.
func refuses(ip netip.Addr) string {
	ip = ip.WithZone("").Unmap()
	bytes := ip.As16()
	switch {
	case ip.Is4():
	case nat64.Contains(ip):
		ip = netip.AddrFrom4([4]byte(bytes[12:]))
	case sixTo4.Contains(ip):
		ip = netip.AddrFrom4([4]byte(bytes[2:6]))
	}
	for _, f := range forbidden {
		if f.network.Contains(ip) {
			return f.what
		}
	}
	return ""
}

// dialer opens connections to targets. It looks at the address that is really connected to, after
// every look-up and every redirect, so that no name can stand for another address a moment later.
func dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return &fault{Refused, fmt.Errorf("address %q cannot be read", address)}
		}
		if why := refuses(at.Addr()); why != "" {
			return &fault{Refused, fmt.Errorf("is not asked: %s is %s; allow_link_local: true allows it", at.Addr(), why)}
		}
		return nil
	}}
	return d.DialContext
}
