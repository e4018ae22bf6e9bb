package conf

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestIndexLines(t *testing.T) {
	for _, tc := range []struct {
		name string
		doc  string
		want lineIndex
	}{
		{"tables", "a = 1\n[t]\nb = 2\n[t.u]\nc = 3", lineIndex{
			"a": 1, "t": 2, "t.b": 3, "t.u": 4, "t.u.c": 5}},
		{"array of tables", "[[p]]\nm = 1\n\n[[p]]\n# c\nm = 2", lineIndex{
			"p": 1, "p[0]": 1, "p[0].m": 2, "p[1]": 4, "p[1].m": 6}},
		{"table under an element", "[[p]]\n[[p]]\n[p.q]\nx = 1\n[[p.r]]\n[[p.r]]\ny = 1", lineIndex{
			"p": 1, "p[0]": 1, "p[1]": 2, "p[1].q": 3, "p[1].q.x": 4,
			"p[1].r": 5, "p[1].r[0]": 5, "p[1].r[1]": 6, "p[1].r[1].y": 7}},
		{"list over lines", "s = [ # [\n  1,\n\n  'a]', # x\n  [\n2]\n]\nz = 1", lineIndex{
			"s": 1, "s[0]": 2, "s[1]": 4, "s[2]": 5, "s[2][0]": 6, "z": 8}},
		{"inline tables", "h = [\n{ a = 1, b.c = 2 },\n{ a = \"}\" },\n]\nz = 1", lineIndex{
			"h": 1, "h[0]": 2, "h[0].a": 2, "h[0].b": 2, "h[0].b.c": 2, "h[1]": 3, "h[1].a": 3, "z": 5}},
		{"dotted and quoted keys", "a.\"b.c\" . 'd' = 1\n[ \"x y\" . z ]\nk = 1", lineIndex{
			"a": 1, `a."b.c"`: 1, `a."b.c".d`: 1, `"x y"`: 2, `"x y".z`: 2, `"x y".z.k`: 3}},
		{"long strings", "a = \"\"\"\n= \\\"\"\"\n[x]\"\"\"\"\"\nb = '''\n#'\n'''\nc = 1", lineIndex{
			"a": 1, "b": 4, "c": 7}},
		{"dates, CRLF and BOM", "\ufeffa = 1979-05-27 07:32:00\r\n\r\nb = 1", lineIndex{"a": 1, "b": 3}},
		{"not TOML", "a = [\n\"", lineIndex{"a": 1, "a[0]": 2, "a[1]": 2}},
		{"not TOML either", "]\n[[", lineIndex{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := indexLines(tc.doc, nil); !maps.Equal(got, tc.want) {
				t.Errorf("got  %v\nwant %v", got, tc.want)
			}
		})
	}
}

func TestLineOf(t *testing.T) {
	x := lineIndex{"ports": 1, "ports[0]": 1, "ports[0].mtu": 3}
	for path, want := range map[string]int{
		"ports[0].mtu": 3, "ports[0].device": 1, "ports[0].mtu[4].x": 3, "ports[7]": 1, "routes[0].via": 0, "": 0,
	} {
		if got := x.of(path); got != want {
			t.Errorf("%q: got %d, want %d", path, got, want)
		}
	}
}

// checkLines fails unless the index has a line of the document for every path in
// the tree that the toml package made of it.
func checkLines(t *testing.T, doc string, tree map[string]any) {
	t.Helper()
	x, last := indexLines(doc, nil), 1+strings.Count(doc, "\n")
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if line := x[path]; path != "" && (line < 1 || line > last) {
			t.Errorf("%s: line %d of %d", path, line, last)
		}
		switch v.Kind() {
		case reflect.Map:
			for it := v.MapRange(); it.Next(); {
				walk(join(path, it.Key().String()), it.Value())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(element(path, i), v.Index(i))
			}
		}
	}
	walk("", reflect.ValueOf(tree))
}

// Whatever the toml package accepts, the scanner knows its way in, and it ends on
// everything else.
func FuzzIndexLines(f *testing.F) {
	f.Add("a = 1\n[[t]]\nb.c = [1, {x = \"\"\"\n\"\"\"}]\n")
	f.Add("\"\\u00e9\" = 'x' # c\n[a.\"b\"]\n")
	f.Fuzz(func(t *testing.T, doc string) {
		if bounds([]byte(doc)) != "" {
			return
		}
		var tree map[string]any
		if _, err := toml.Decode(doc, &tree); err != nil {
			indexLines(doc, nil)
			return
		}
		checkLines(t, doc, tree)
	})
}
