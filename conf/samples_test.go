package conf

import (
	"path/filepath"
	"reflect"
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
