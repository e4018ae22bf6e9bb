package conf

import (
	"encoding"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// decoder puts a parsed TOML document into a Config and collects every fault on
// the way. The toml package's own decoder stops at the first wrong type and
// matches keys in any case; this one does neither.
type decoder struct {
	faults Faults
	mtus   map[int]bool // the ports whose mtu is in the document
}

// takesInteger marks a text type that a file may give as a bare integer.
type takesInteger interface{ takesInteger() }

// table decodes doc into the struct out, over the defaults of its type.
func (d *decoder) table(at *place, doc map[string]any, out reflect.Value) {
	table := out.Addr().Interface()
	setDefaults(table, func(key string) bool { _, ok := doc[key]; return ok })
	if _, isPort := table.(*Port); isPort && doc["mtu"] != nil {
		d.mtus[at.index-1] = true
	}
	fields := tomlFields(out.Type())
	for _, key := range sortedKeys(doc) {
		here := at.join(key)
		i := slices.IndexFunc(fields, func(f tomlField) bool { return f.key == key })
		if i < 0 {
			d.faults.add(here.String(), "%s", unknownKey(key, fields))
			continue
		}
		d.value(&here, doc[key], out.Field(fields[i].index), fields[i].filled)
	}
}

// value decodes one value into out; filled forbids an empty list.
func (d *decoder) value(path *place, in any, out reflect.Value, filled bool) {
	switch target := out.Addr().Interface().(type) {
	case *netip.Prefix:
		parse := prefixText
		if path.within("ports") {
			parse = interfaceText
		}
		setParsed(d, path, in, target, parse)
		return
	case *netip.Addr:
		setParsed(d, path, in, target, addrText)
		return
	case encoding.TextUnmarshaler:
		d.text(path, in, target)
		return
	}
	switch out.Kind() {
	case reflect.Struct:
		if doc, ok := d.as(path, in, "a table").(map[string]any); ok {
			d.table(path, doc, out)
		}
	case reflect.Map:
		d.durations(path, in, out)
	case reflect.Slice:
		d.list(path, in, out, filled)
	case reflect.String:
		if text, ok := d.as(path, in, "a string").(string); ok {
			d.word(path, text, out)
		}
	case reflect.Bool:
		if b, ok := d.as(path, in, "true or false").(bool); ok {
			out.SetBool(b)
		}
	case reflect.Int:
		if n, ok := d.as(path, in, "an integer").(int64); ok {
			out.SetInt(n)
		}
	default:
		panic("conf: no decoder for " + out.Type().String())
	}
}

// as returns in if it is of the kind wanted, and otherwise notes the fault and
// returns nil.
func (d *decoder) as(path *place, in any, want string) any {
	if got := kindOf(in); got != want {
		d.faults.add(path.String(), "is %s; want %s", got, want)
		return nil
	}
	return in
}

// kindOf names the TOML type of a value.
func kindOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "true or false"
	case int64:
		return "an integer"
	case float64:
		return "a decimal number"
	}
	return "a date or time"
}

func (d *decoder) list(path *place, in any, out reflect.Value, filled bool) {
	if d.as(path, in, "a list") == nil {
		return
	}
	items := reflect.ValueOf(in)
	if items.Len() == 0 {
		if filled {
			d.faults.add(path.String(), "is empty; leave the key out for any")
		}
		out.SetZero()
		return
	}
	list := reflect.MakeSlice(out.Type(), items.Len(), items.Len())
	for i := range items.Len() {
		here := path.element(i)
		d.value(&here, items.Index(i).Interface(), list.Index(i), false)
	}
	out.Set(list)
}

// durations decodes a table whose keys are not known before it is validated.
func (d *decoder) durations(path *place, in any, out reflect.Value) {
	doc, ok := d.as(path, in, "a table").(map[string]any)
	if !ok {
		return
	}
	set := make(map[string]Duration, len(doc))
	for _, key := range sortedKeys(doc) {
		var value Duration
		here := path.join(key)
		d.text(&here, doc[key], &value)
		set[key] = value
	}
	out.Set(reflect.ValueOf(set))
}

func (d *decoder) word(path *place, text string, out reflect.Value) {
	if w, ok := out.Interface().(word); ok {
		if fault := wordFault(text, w.words()); fault != "" {
			d.faults.add(path.String(), "%s", fault)
			return
		}
	}
	out.SetString(text)
}

func (d *decoder) text(path *place, in any, target encoding.TextUnmarshaler) {
	if n, isInteger := in.(int64); isInteger {
		if _, takes := target.(takesInteger); takes {
			in = strconv.FormatInt(n, 10)
		}
	}
	text, ok := d.as(path, in, "a string").(string)
	if !ok {
		return
	}
	if err := target.UnmarshalText([]byte(text)); err != nil {
		d.faults.add(path.String(), "%v", err)
	}
}

// setParsed is text for a type of netip, whose own errors name functions.
func setParsed[T any](d *decoder, path *place, in any, target *T, parse func(string) (T, error)) {
	text, ok := d.as(path, in, "a string").(string)
	if !ok {
		return
	}
	v, err := parse(text)
	if err != nil {
		d.faults.add(path.String(), "%v", err)
		return
	}
	*target = v
}

// tomlField is a field of a table's type.
type tomlField struct {
	key       string
	index     int
	omitEmpty bool // not printed when zero
	filled    bool // an empty list is a fault
	words     bool // it has words in it, see hasWords
}

func tomlFields(t reflect.Type) []tomlField {
	if known, ok := fieldsOf.Load(t); ok {
		if fields, ok := known.([]tomlField); ok {
			return fields
		}
	}
	fields := make([]tomlField, t.NumField())
	for i := range fields {
		tag := t.Field(i).Tag
		key, option, _ := strings.Cut(tag.Get("toml"), ",")
		fields[i] = tomlField{
			key:       key,
			index:     i,
			omitEmpty: option == "omitempty",
			filled:    tag.Get("list") == "filled",
			words:     hasWords(t.Field(i).Type),
		}
	}
	fieldsOf.Store(t, fields)
	return fields
}

// fieldsOf are those of the types seen so far.
var fieldsOf sync.Map

// hasWords tells whether values of a type are words, or hold some.
func hasWords(t reflect.Type) bool {
	switch {
	case t.Kind() == reflect.Slice:
		return hasWords(t.Elem())
	case isTable(t):
		return slices.ContainsFunc(tomlFields(t), func(f tomlField) bool { return f.words })
	}
	return t.Implements(reflect.TypeFor[word]())
}

func unknownKey(key string, fields []tomlField) string {
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.key
	}
	if near := nearest(key, known); near != "" {
		return fmt.Sprintf("is an unknown key; did you mean %q?", near)
	}
	return "is an unknown key; want one of " + strings.Join(known, ", ")
}

func sortedKeys[T any](doc map[string]T) []string { return slices.Sorted(maps.Keys(doc)) }
