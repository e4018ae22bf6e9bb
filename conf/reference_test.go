package conf

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// reference is what docs/configuration.md says of one key.
type reference struct{ defaultText, reload, meaning string }

// docs/configuration.md has every key once, with the default and the words that the
// code has, and says of the right ones that a reload takes them over.
func TestReference(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	said := readReference(t, string(page))
	for path, want := range actualReference() {
		got, ok := said[path]
		delete(said, path)
		if !ok {
			t.Errorf("%s is not in docs/configuration.md", path)
			continue
		}
		if got.defaultText != want.defaultText || got.reload != want.reload {
			t.Errorf("%s: default %s, reload %q; the code says %s, %q", path, got.defaultText, got.reload, want.defaultText, want.reload)
		}
		for _, word := range strings.Fields(want.meaning) {
			if !strings.Contains(got.meaning, "`"+word+"`") && !strings.HasPrefix(path, "policy.") { // a default is one of three
				t.Errorf("%s: the word %s is not explained", path, word)
			}
		}
		if got.meaning == "" {
			t.Errorf("%s has no meaning", path)
		}
	}
	for path := range said {
		t.Errorf("docs/configuration.md has %s, which does not exist", path)
	}
}

// readReference reads the tables of the page: a heading names the table, a row a key.
func readReference(t *testing.T, page string) map[string]reference {
	said, table := map[string]reference{}, ""
	for _, line := range strings.Split(page, "\n") {
		if heading, ok := strings.CutPrefix(line, "## `"); ok {
			table = strings.Trim(heading, "`[]")
			continue
		}
		row, ok := strings.CutPrefix(line, "| `")
		if !ok {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(row, " |"), " |")
		if len(cells) != 4 {
			t.Fatalf("a row of %d cells: %s", len(cells), line)
		}
		path := join(table, strings.Trim(cells[0], "` "))
		if _, twice := said[path]; twice {
			t.Errorf("%s is there twice", path)
		}
		said[path] = reference{strings.Trim(cells[1], "` "), strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])}
	}
	return said
}

// actualReference derives the same from the types: meaning has the words that a key
// can take.
func actualReference() map[string]reference {
	keys := map[string]reference{}
	var walk func(path string, table reflect.Value)
	walk = func(path string, table reflect.Value) {
		setDefaults(table.Addr().Interface(), func(string) bool { return false })
		for _, f := range tomlFields(table.Type()) {
			at, field := join(path, f.key), table.Field(f.index)
			kind := field.Type()
			switch {
			case isTable(kind):
				walk(at, field)
				continue
			case kind.Kind() == reflect.Slice && isTable(kind.Elem()):
				if kind.Elem() != reflect.TypeFor[Mirror]() { // a row of its own: its default is not empty
					walk(at, reflect.New(kind.Elem()).Elem())
				}
				if path == "" {
					continue
				}
			}
			keys[at] = keyReference(at, f, field)
		}
	}
	walk("", reflect.New(reflect.TypeFor[Config]()).Elem())
	return keys
}

// keyReference: what is zero is no default but in a number or a switch, and a number
// tagged omitempty is derived or belongs to some tables only.
func keyReference(path string, f tomlField, field reflect.Value) (r reference) {
	isNumber := field.Kind() == reflect.Int && !f.omitEmpty
	if !field.IsZero() || isNumber || field.Kind() == reflect.Bool {
		r.defaultText = inline(field)
	}
	if new(Changes).reloadable(path) != nil {
		r.reload = "yes"
	}
	element := field.Type()
	if element.Kind() == reflect.Slice {
		element = element.Elem()
	}
	if w, isWord := reflect.Zero(element).Interface().(word); isWord {
		r.meaning = strings.Join(w.words(), " ")
	}
	return r
}

// The configuration in README.md is a whole one that works.
func TestReadme(t *testing.T) {
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(page), "```toml\n")
	doc, _, ended := strings.Cut(rest, "```")
	if !begun || !ended {
		t.Fatal("README.md has no configuration")
	}
	if _, err := Parse("README.md", []byte(doc)); err != nil {
		t.Error(err)
	}
}
