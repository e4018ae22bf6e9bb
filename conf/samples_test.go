package conf

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The shipped samples are valid, and print to a document that means the same.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob("samples/*.toml")
	if err != nil || len(files) < 6 {
		t.Fatalf("samples: %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			printed := c.TOML()
			again, err := Parse("printed", printed)
			if err != nil {
				t.Fatalf("%v\n%s", err, printed)
			}
			if !reflect.DeepEqual(c, again) {
				t.Errorf("got %+v\nwant %+v\n%s", again, c, printed)
			}
			if changes := Diff(c, again); !changes.Empty() {
				t.Errorf("Diff with itself: %+v", changes)
			}
		})
	}
}

// So is the configuration that README.md shows.
func TestReadmeSample(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(text), "```toml\n")
	shown, _, found := strings.Cut(shown, "```")
	if c, err := Parse("README.md", []byte(shown)); err != nil || !found || len(c.Rules) == 0 {
		t.Errorf("%v\n%s", err, shown)
	}
}
