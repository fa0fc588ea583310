// Command lint reads a Dockerfile or a file of Docker Compose as Docker itself does, and says what is
// wrong or discouraged about it, one finding a line. It exits with 1 when there is one.
//
//	lint dockerfile FILE
//	lint compose FILE      also prints the project as JSON, every default filled in
//	lint image FILE        reads a Dockerfile and prints the instructions of its last stage as JSON
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: lint dockerfile|compose|image FILE")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "dockerfile":
		err = dockerfile(os.Args[2], false)
	case "image":
		err = dockerfile(os.Args[2], true)
	case "compose":
		err = compose(os.Args[2])
	default:
		err = fmt.Errorf("%s: no such check", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// dockerfile reads a Dockerfile with all of BuildKit's rules that need no image. With image it
// prints the instructions of the last stage as JSON, by name.
func dockerfile(name string, image bool) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return err
	}
	var found []string
	for _, w := range parsed.Warnings {
		found = append(found, w.Short)
	}
	rules := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		line := 0
		if len(at) > 0 {
			line = at[0].Start.Line
		}
		found = append(found, fmt.Sprintf("%s:%d: %s: %s", name, line, rule, message))
	}})
	stages, _, err := instructions.Parse(parsed.AST, rules)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("%s", strings.Join(found, "\n"))
	}
	if !image {
		return nil
	}
	last := stages[len(stages)-1]
	out := map[string][]string{"FROM": {last.BaseName}}
	for _, c := range last.Commands {
		out[strings.ToUpper(c.Name())] = append(out[strings.ToUpper(c.Name())], fmt.Sprint(c))
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// compose loads a file against the schema of the specification and its rules of consistency.
func compose(name string) error {
	options, err := cli.NewProjectOptions([]string{name}, cli.WithOsEnv, cli.WithResolvedPaths(true))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(project)
}
