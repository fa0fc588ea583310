package web_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// parse reads a page as a browser does.
func parse(t *testing.T, page string) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// find are the elements below n that match, in the order of the page.
func find(n *html.Node, match func(*html.Node) bool) []*html.Node {
	var out []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && match(d) {
			out = append(out, d)
		}
	}
	return out
}

// byClass matches a tag with a class; "" is any tag.
func byClass(tag, class string) func(*html.Node) bool {
	return func(n *html.Node) bool {
		return (tag == "" || n.Data == tag) && (class == "" || slices.Contains(strings.Fields(attr(n, "class")), class))
	}
}

// attr is an attribute; "" without.
func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// within is an attribute of the nearest element around n that has it.
func within(n *html.Node, name string) string {
	for ; n != nil; n = n.Parent {
		if v := attr(n, name); v != "" {
			return v
		}
	}
	return ""
}

// words are what an element says, without repeated spaces.
func words(n *html.Node) string {
	var out strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			out.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(out.String()), " ")
}

// budgetRows reads the rows of budgets of a page: each a map from the column to the words in it.
func budgetRows(t *testing.T, page string) []map[string]string {
	t.Helper()
	var out []map[string]string
	for _, tr := range find(parse(t, page), func(n *html.Node) bool { return n.Data == "tr" }) {
		switch {
		case byClass("", "row")(tr):
			row := map[string]string{}
			for _, cell := range find(tr, func(n *html.Node) bool { return strings.HasPrefix(attr(n, "class"), "c-") }) {
				name := strings.TrimPrefix(strings.Fields(attr(cell, "class"))[0], "c-")
				if name != "burn" && name != "spark" {
					row[name] = words(cell)
				}
			}
			for _, li := range find(tr, byClass("li", "")) {
				window, rate, _ := strings.Cut(words(li), " ")
				row["burn "+window] = rate
			}
			out = append(out, row)
		case byClass("", "under")(tr):
			out[len(out)-1]["note"] = strings.TrimSpace(out[len(out)-1]["note"] + "\n" + words(tr))
		case byClass("", "fold")(tr):
			out[len(out)-1]["fold"] = words(tr)
		}
	}
	return out
}
