package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What pages, comments and error texts tell people to type is there to be typed.
func TestCommandsThatAreNamedExist(t *testing.T) {
	named := regexp.MustCompile(`\bffwd (show|ct|queue|timeout|run|check|bench|capture|reload|version)( [a-z][a-z|]*)?`)
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		if ext := filepath.Ext(path); d.IsDir() || ext != ".go" && ext != ".md" && ext != ".toml" && ext != ".sh" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			group, _, err := root().Find([]string{m[1]})
			if err != nil {
				t.Errorf("%s names %q: %v", path, m[0], err)
				continue
			}
			if !group.HasSubCommands() || m[2] == "" {
				continue
			}
			for _, sub := range strings.Split(strings.TrimSpace(m[2]), "|") {
				found++
				if c, _, err := group.Find([]string{sub}); err != nil || c.Name() != sub {
					t.Errorf("%s names %q: there is no %q", path, m[0], sub)
				}
			}
		}
		return nil
	})
	if err != nil || found < 30 {
		t.Errorf("%d commands, %v", found, err)
	}
}
