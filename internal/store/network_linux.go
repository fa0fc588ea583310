package store

import (
	"fmt"
	"os"
	"syscall"
)

// networks are the file systems that neither lock nor map files as a state file needs it, by the
// magic numbers of statfs(2).
var networks = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
}

// refuseNetwork refuses a folder on a network file system.
func refuseNetwork(dir string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	return refuseMagic(dir, uint32(s.Type))
}

func refuseMagic(dir string, magic uint32) error {
	if name, ok := networks[magic]; ok {
		return fmt.Errorf("state folder %s is on %s: locks and memory maps are not safe there, and neither is "+
			"the state; give --storage.path on a local disk or a block volume", dir, name)
	}
	return nil
}
