package rightsizing

import (
	"strconv"
	"strings"

	"github.com/yoyu-sre/yoyu/slo"
)

// Heap is what the command line and environment of a container say about the size of its heap.
type Heap struct {
	Fixed slo.Value // bytes that it may grow to, whatever it is given
	Share bool      // it grows with the memory limit: less memory means a smaller heap, not less need
	Flag  string    // what was found, for people; "" when nothing was
}

// fixed is a heap of so many bytes.
func fixed(flag string, bytes float64) Heap { return Heap{Fixed: slo.Defined(bytes), Flag: flag} }

// HeapOf reads the flags of the Java, Node.js, Go and .NET runtimes in arguments and in NAME=value
// pairs of the environment. The largest fixed size counts, and a share of the limit before it.
func HeapOf(args, env []string) Heap {
	var found Heap
	note := func(h Heap) {
		switch {
		case h.Flag == "" || found.Share:
		case h.Share, !found.Fixed.Defined, h.Fixed.Float > found.Fixed.Float:
			found = h
		}
	}
	for _, arg := range args {
		for _, word := range strings.Fields(arg) {
			note(flagged(word))
		}
	}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "JAVA_OPTS", "_JAVA_OPTIONS", "NODE_OPTIONS":
			for _, word := range strings.Fields(value) {
				note(flagged(word))
			}
		case "GOMEMLIMIT":
			if bytes, ok := goBytes(value); ok {
				note(fixed(name, bytes))
			}
		case "DOTNET_GCHeapHardLimit", "COMPlus_GCHeapHardLimit":
			if n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(value), "0x"), 16, 63); err == nil { // .NET writes it in hex
				note(fixed(name, float64(n)))
			}
		case "DOTNET_GCHeapHardLimitPercent", "COMPlus_GCHeapHardLimitPercent":
			note(Heap{Share: true, Flag: name})
		}
	}
	return found
}

// flagged reads one flag.
func flagged(word string) Heap {
	for _, share := range []string{"-XX:MaxRAMPercentage=", "-XX:InitialRAMPercentage=", "-XX:MaxRAMFraction="} {
		if strings.HasPrefix(word, share) {
			return Heap{Share: true, Flag: strings.TrimSuffix(share, "=")}
		}
	}
	for _, size := range []string{"-Xmx", "-XX:MaxHeapSize="} {
		if text, ok := strings.CutPrefix(word, size); ok {
			if bytes, ok := javaBytes(text); ok {
				return fixed(strings.TrimSuffix(size, "="), bytes)
			}
		}
	}
	for _, old := range []string{"--max-old-space-size=", "--max_old_space_size="} {
		if text, ok := strings.CutPrefix(word, old); ok {
			if n, err := strconv.ParseUint(text, 10, 40); err == nil {
				return fixed("--max-old-space-size", float64(n)*(1<<20))
			}
		}
	}
	return Heap{}
}

// javaBytes reads 512m, 2G or a plain number of bytes.
func javaBytes(text string) (float64, bool) {
	unit := 1.0
	if text != "" {
		switch text[len(text)-1] | 0x20 {
		case 'k':
			unit = 1 << 10
		case 'm':
			unit = 1 << 20
		case 'g':
			unit = 1 << 30
		case 't':
			unit = 1 << 40
		}
		if unit > 1 {
			text = text[:len(text)-1]
		}
	}
	n, err := strconv.ParseUint(text, 10, 50)
	return float64(n) * unit, err == nil
}

// goBytes reads 750MiB, 2GiB, 1000000B or a plain number, as Go's runtime does; "off" is none.
func goBytes(text string) (float64, bool) {
	unit := 1.0
	for _, u := range []struct {
		suffix string
		bytes  float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			text, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(text, 10, 50)
	return float64(n) * unit, err == nil
}
