package conf

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// TOML prints the effective configuration, defaults included. Parsing the result
// gives an equal Config. Keys tagged omitempty are left out when they are zero,
// which is what they are when the file does not have them.
func (c *Config) TOML() []byte {
	var p printer
	p.table("", reflect.ValueOf(c).Elem())
	return bytes.TrimLeft(p.Bytes(), "\n")
}

type printer struct{ bytes.Buffer }

// table prints the keys of a table, and then the tables in it: in TOML a header
// ends the table before it.
func (p *printer) table(path string, v reflect.Value) {
	type section struct {
		path  string
		value reflect.Value
	}
	var sections []section
	for _, f := range tomlFields(v.Type()) {
		field := v.Field(f.index)
		isSection := isTable(field.Type()) || path == "" && field.Kind() == reflect.Slice
		switch {
		case f.omitEmpty && field.IsZero():
		case isSection:
			sections = append(sections, section{join(path, f.key), field})
		default:
			fmt.Fprintf(p, "%s = %s\n", f.key, inline(field))
		}
	}
	for _, s := range sections {
		if s.value.Kind() != reflect.Slice {
			fmt.Fprintf(p, "\n[%s]\n", s.path)
			p.table(s.path, s.value)
			continue
		}
		for i := range s.value.Len() {
			fmt.Fprintf(p, "\n[[%s]]\n", s.path)
			p.table(s.path, s.value.Index(i))
		}
	}
}

// inline prints one value as it stands behind an equals sign.
func inline(v reflect.Value) string {
	if text, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := text.MarshalText()
		if err != nil {
			panic("conf: print: " + err.Error()) // none of our types can fail
		}
		return quote(string(b))
	}
	switch v.Kind() {
	case reflect.String:
		return quote(v.String())
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = inline(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map:
		var pairs []string
		for _, key := range v.MapKeys() {
			pairs = append(pairs, join("", key.String())+" = "+inline(v.MapIndex(key)))
		}
		slices.Sort(pairs)
		return "{ " + strings.Join(pairs, ", ") + " }"
	case reflect.Struct:
		var pairs []string
		for _, f := range tomlFields(v.Type()) {
			if field := v.Field(f.index); !f.omitEmpty || !field.IsZero() {
				pairs = append(pairs, f.key+" = "+inline(field))
			}
		}
		return "{ " + strings.Join(pairs, ", ") + " }"
	}
	return fmt.Sprint(v.Interface()) // integers and booleans
}

// quote makes a TOML basic string.
// Source: TOML 1.0.0, String: control characters other than tab are escaped.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			b.WriteString(`\u` + strconv.FormatInt(int64(r)+0x10000, 16)[1:])
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
