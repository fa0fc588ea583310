package prom

import (
	"bytes"
	"compress/flate"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// packed is what a packer makes of lines, as a stream that ends.
func packed(text []byte) (deflated []byte, crc, size uint32) {
	var p packer
	p.begin(nil)
	before := -1
	for line := range bytes.Lines(text) {
		begin := len(p.text)
		p.text = append(p.text, line...)
		if before < 0 {
			before = begin
		}
		p.line(before, begin)
		before = begin
		if len(p.text) > spill {
			before -= p.forget(before)
		}
	}
	deflated, crc, size = p.pause()
	return append(deflated, 3, 0), crc, size // a last block, without anything
}

func inflated(t *testing.T, deflated []byte) []byte {
	t.Helper()
	out, err := io.ReadAll(flate.NewReader(bytes.NewReader(deflated)))
	if err != nil {
		t.Fatalf("inflate: %v", err)
	}
	return out
}

// Whatever the lines are, they come back, with the checksum of all of them.
func TestPackerBringsBack(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	every := make([]byte, 0, 1<<16)
	for range 1 << 16 {
		every = append(every, byte(random.Uint32()))
	}
	label := func(value string) string { return `x{a="` + value + `",b="12345678"} 0.5` + "\n" }
	for name, text := range map[string]string{
		"nothing":                      "",
		"one line":                     "x 1\n",
		"no end":                       label("a") + "x 1",
		"the same again and again":     strings.Repeat(label("12345678"), 20_000),
		"every byte":                   string(every),
		"every length":                 lengths(600),
		"longer than one match":        strings.Repeat(label(strings.Repeat("ab", 5000)), 20),
		"farther than one can look":    label(strings.Repeat("a", 40_000)) + label(strings.Repeat("a", 40_000)) + label("b"),
		"just as far as one can look":  label(strings.Repeat("a", maxDistance/2-30)) + label(strings.Repeat("a", maxDistance/2-30)),
		"values that come and go":      rounds(),
		"values seldom but far apart":  label("first and last") + strings.Repeat(label("between"), 1100) + label("first and last"),
		"quotes without end":           strings.Repeat(`"`, 1000) + "\n" + strings.Repeat(`"`, 900) + "\n",
		"more than a packer's memory":  strings.Repeat(rounds(), 8),
		"one line of a packer's size":  strings.Repeat("y", 3*spill) + "\n" + label("a"),
		"lines that begin alike, only": label("aaaaaaaa") + label("aaaaaaab") + label("aaaaaaa") + label(""),
	} {
		deflated, crc, size := packed([]byte(text))
		if got := string(inflated(t, deflated)); got != text {
			t.Errorf("%s: %d bytes came back of %d, or other ones", name, len(got), len(text))
		}
		if crc != crc32.ChecksumIEEE([]byte(text)) || size != uint32(len(text)) {
			t.Errorf("%s: checksum %x and size %d", name, crc, size)
		}
	}
}

// lengths has lines that agree with the one before in 4, 5, … bytes.
func lengths(most int) string {
	var b strings.Builder
	for n := range most {
		b.WriteString(strings.Repeat("z", n) + string(rune('a'+n%25)) + "\n")
	}
	return b.String()
}

// rounds has values that come again in every round, at all distances.
func rounds() string {
	var b strings.Builder
	for i := range 1000 {
		b.WriteString(`x{route="/api/v1/` + strings.Repeat(string(rune('a'+i%26)), 6+i%7) + `",slo="` + strings.Repeat("0", i%11) + `"} ` + strings.Repeat("9", i%13) + "\n")
	}
	return b.String()
}

// Law: any lines come back.
func FuzzPacker(f *testing.F) {
	f.Add([]byte("x{a=\"1\"} 1\nx{a=\"2\"} 2\n"))
	f.Add([]byte("\"\n\"\"\n\"\"\"\n"))
	f.Add([]byte(rounds()))
	f.Add([]byte(lengths(300)))
	f.Fuzz(func(t *testing.T, text []byte) {
		deflated, crc, size := packed(text)
		if !bytes.Equal(inflated(t, deflated), text) || crc != crc32.ChecksumIEEE(text) || size != uint32(len(text)) {
			t.Errorf("%q came back as %q", text, inflated(t, deflated))
		}
	})
}

// RFC 1951 has no code of more than 15 bits, and put has room for no more.
func TestCodesFit(t *testing.T) {
	for symbol, c := range codes.literal {
		if c.count < 1 || c.count > 15 {
			t.Errorf("literal %d has %d bits", symbol, c.count)
		}
	}
	longest := uint(0)
	for n := 3; n <= 258; n++ {
		if codes.length[n].count < 1 || codes.length[n].count > 15+5 {
			t.Errorf("length %d has %d bits", n, codes.length[n].count)
		}
		longest = max(longest, codes.length[n].count)
	}
	for symbol, d := range codes.distance {
		if d.count < 1 || longest+d.count+distanceExtra(symbol) > 57 {
			t.Errorf("distance %d has %d bits", symbol, d.count)
		}
	}
}
