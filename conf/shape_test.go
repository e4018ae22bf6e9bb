package conf

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// The file and the control socket speak one language: every field has the same
// name in both.
func TestTagsAgree(t *testing.T) {
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		if typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if !isTable(typ) {
			return
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			inFile, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
			inJSON, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if inFile == "" || inFile != inJSON || !isBareKey(inFile) {
				t.Errorf("%s.%s: toml %q, json %q", path, f.Name, inFile, inJSON)
			}
			walk(path+"."+f.Name, f.Type)
		}
	}
	walk("Config", reflect.TypeFor[Config]())
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(mustParse(t, everyKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"mac":"02:00:00:00:01:01"`, `"addresses":["10.1.1.1/24","fe80::1/64","fd01::1/64"]`,
		`"protocol":"udp"`, `"src_ports":["1024-65535","0"]`, `"icmp":"1.5s"`, `"via":"10.1.1.2"`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
}

// The work is linear in the file: no check walks all routes for each route.
func BenchmarkParse(b *testing.B) {
	for _, routes := range []int{1000, 10000} {
		doc := []byte(diffBase + manyRoutes(routes))
		b.Run(fmt.Sprintf("routes=%d", routes), func(b *testing.B) {
			for b.Loop() {
				if _, err := Parse("bench", doc); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*routes), "ns/route")
		})
	}
}

func manyRoutes(n int) string {
	var doc strings.Builder
	for i := range n {
		fmt.Fprintf(&doc, "[[routes]]\nprefix = \"100.%d.%d.0/24\"\nvia = \"10.2.2.2\"\n", i>>8, i&0xff)
	}
	return doc.String()
}
