package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEdit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "main.c")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a = 1; b = 1;")
	two := edit{"main.c", "= 1", "= 2", 2}
	if err := two.apply(dir); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "a = 2; b = 2;" {
		t.Errorf("patched to %q", text)
	}
	if err := two.apply(dir); err == nil || !strings.Contains(err.Error(), `main.c has "= 1" 0 times, not 2`) {
		t.Errorf("a source that is another: %v", err)
	}
	if err := (&edit{"other.c", "a", "b", 1}).apply(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestMissingExamplesNameTheirPackage(t *testing.T) {
	_, err := examples[0].build(context.Background(), t.TempDir(), t.TempDir())
	if !errors.Is(err, ErrNoExamples) || !strings.Contains(err.Error(), "dpdk-doc") {
		t.Errorf("error %v", err)
	}
}
