package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

func addFiles(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("files", "Write variables of the environment into files for yoyu to read: ECS hands out secrets as variables alone, and the image has no shell.")
	pairs := c.Arg("NAME=PATH", "Variable, and the file that becomes its text.").Required().Strings()
	return "files", func(context.Context) error { return writeFiles(*pairs, os.LookupEnv) }
}

// writeFiles writes every variable, whole or not at all, into a file that only this user reads, in a
// folder that is made where there is none. Nothing is written while a pair is wrong or a variable is
// missing or empty. No error holds a value.
func writeFiles(pairs []string, lookup func(string) (string, bool)) error {
	type file struct{ name, path, text string }
	var files []file
	var faults []error
	for _, pair := range pairs {
		name, path, ok := strings.Cut(pair, "=")
		if !ok || name == "" || path == "" {
			faults = append(faults, fmt.Errorf("argument %q: not a variable and a file such as CONFIG=/data/files/config.yaml", pair))
			continue
		}
		text, _ := lookup(name)
		if text == "" {
			faults = append(faults, fmt.Errorf("variable %s: is missing or empty; give it to this container", name))
		}
		files = append(files, file{name, path, text})
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
			return fmt.Errorf("variable %s: %w", f.name, err)
		}
		if err := writeSecret(f.path, f.text); err != nil {
			return fmt.Errorf("variable %s: %w", f.name, err)
		}
	}
	return nil
}

// writeSecret puts text at path in one step; os.CreateTemp gives 0600.
func writeSecret(path, text string) error {
	fresh, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = fresh.WriteString(text)
	if err = errors.Join(err, fresh.Close()); err == nil {
		err = os.Rename(fresh.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(fresh.Name()))
	}
	return nil
}
