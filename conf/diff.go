package conf

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// Change is one key that differs between two configurations.
type Change struct {
	Path string `json:"path"`          // in the new configuration, or in the old for what was removed
	Old  string `json:"old,omitempty"` // "" = added
	New  string `json:"new,omitempty"` // "" = removed
}

func (c Change) String() string {
	switch {
	case c.Old == "":
		return fmt.Sprintf("%s: %s added", c.Path, c.New)
	case c.New == "":
		return fmt.Sprintf("%s: %s removed", c.Path, c.Old)
	}
	return fmt.Sprintf("%s: %s -> %s", c.Path, c.Old, c.New)
}

// Changes is what differs between a running configuration and a new one.
type Changes struct {
	Reload  []Change `json:"reload"`  // a running switch takes them over
	Restart []Change `json:"restart"` // they need a restart

	// The parts of Reload, for whoever applies them.
	Rules           bool `json:"rules"` // the rules or the hooks' defaults
	Routes          bool `json:"routes"`
	Neighbours      bool `json:"neighbours"`
	CTTimeouts      bool `json:"ct_timeouts"`
	CTSettings      bool `json:"ct_settings"`
	CTFragments     bool `json:"ct_fragments"` // their timeouts
	TimeoutPolicies bool `json:"timeout_policies"`
	ICMPRate        bool `json:"icmp_rate"`
	PuntRates       bool `json:"punt_rates"`
	LogLevel        bool `json:"log_level"`
}

// Empty tells whether the two configurations are the same.
func (c *Changes) Empty() bool { return len(c.Reload)+len(c.Restart) == 0 }

// NeedsRestart tells whether something changed that a reload cannot apply.
func (c *Changes) NeedsRestart() bool { return len(c.Restart) > 0 }

// reloadable returns the part of Reload that a path belongs to, or nil when the
// key needs a restart. It is the one list of what a reload can do.
func (c *Changes) reloadable(path string) *bool {
	top, rest, _ := strings.Cut(path, ".")
	top, _, _ = strings.Cut(top, "[")
	switch {
	case top == "rules" || top == "policy":
		return &c.Rules
	case top == "routes", path == routesFileKey:
		return &c.Routes
	case top == "neighbours":
		return &c.Neighbours
	case top == "ct" && strings.HasPrefix(rest, "timeouts."):
		return &c.CTTimeouts
	case top == "ct" && strings.HasPrefix(rest, "tcp."), path == "ct.checksum", path == "ct.max_flows_per_source", path == "ct.reserve":
		return &c.CTSettings
	case path == "ct.fragments.timeout_ipv4" || path == "ct.fragments.timeout_ipv6":
		return &c.CTFragments
	case top == "timeout_policies":
		return &c.TimeoutPolicies
	case path == "icmp.error_rate":
		return &c.ICMPRate
	case top == "slow_path" && strings.HasPrefix(rest, "rates."):
		return &c.PuntRates
	case path == "log.level":
		return &c.LogLevel
	}
	return nil
}

// Diff says what differs in new, which came from Parse like old.
//
// Ports, routes, neighbours and timeout policies are matched by what they are (name,
// VRF and prefix, port and address), so their order means nothing. Rules are matched by
// their place, because their order is their meaning.
func Diff(old, new *Config) Changes {
	var c Changes
	c.compare("", reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem())
	return c
}

func (c *Changes) note(change Change) {
	part := c.reloadable(change.Path)
	if part == nil {
		c.Restart = append(c.Restart, change)
		return
	}
	*part = true
	c.Reload = append(c.Reload, change)
}

func (c *Changes) compare(path string, old, new reflect.Value) {
	if isTable(old.Type()) {
		for _, f := range tomlFields(old.Type()) {
			c.compare(join(path, f.key), old.Field(f.index), new.Field(f.index))
		}
		return
	}
	if old.Kind() == reflect.Slice && isTable(old.Type().Elem()) {
		c.compareTables(path, old, new)
		return
	}
	if before, is := old.Addr().Interface().(*RoutesFile); is {
		if after, _ := new.Addr().Interface().(*RoutesFile); !before.same(after) {
			c.note(Change{Path: path, Old: before.String(), New: after.String()})
		}
		return
	}
	if !reflect.DeepEqual(old.Interface(), new.Interface()) {
		c.note(Change{Path: path, Old: show(old), New: show(new)})
	}
}

// compareTables compares two lists of tables element by element, each with the
// one of the same identity. What both have at the same place is passed over first: of a
// million routes few change.
func (c *Changes) compareTables(path string, old, new reflect.Value) {
	start := 0
	for start < min(old.Len(), new.Len()) && sameElement(old.Index(start), new.Index(start)) {
		start++
	}
	before := make(map[any]int, old.Len()-start)
	for i := start; i < old.Len(); i++ {
		before[identity(old.Index(i), i)] = i
	}
	for i := start; i < new.Len(); i++ {
		id := identity(new.Index(i), i)
		was, known := before[id]
		if !known {
			c.note(Change{Path: element(path, i), New: fmt.Sprint(id)})
			continue
		}
		delete(before, id)
		if !sameElement(old.Index(was), new.Index(i)) {
			c.compare(element(path, i), old.Index(was), new.Index(i))
		}
	}
	if len(before) == 0 {
		return
	}
	for i := start; i < old.Len(); i++ {
		id := identity(old.Index(i), i)
		if _, gone := before[id]; gone {
			c.note(Change{Path: element(path, i), Old: fmt.Sprint(id)})
		}
	}
}

// sameElement compares elements of lists by reference, which copies nothing.
func sameElement(a, b reflect.Value) bool {
	x, y := a.Addr().Interface(), b.Addr().Interface()
	if r, isRoute := x.(*Route); isRoute {
		o, alike := y.(*Route)
		return alike && r.same(o)
	}
	return reflect.DeepEqual(x, y)
}

// same is what reflect.DeepEqual says, for a million routes.
func (r *Route) same(o *Route) bool {
	return r.Prefix == o.Prefix && r.Type == o.Type && r.Via == o.Via && r.Port == o.Port && r.VRF == o.VRF &&
		r.Counters == o.Counters && r.MTU == o.MTU && slices.Equal(r.Hops, o.Hops)
}

// Identities print as a Change names the element.
type (
	routeIdentity struct {
		prefix netip.Prefix
		vrf    int
	}
	neighbourIdentity struct {
		address netip.Addr
		port    string
	}
	placeIdentity struct {
		kind  string
		index int
	}
)

func (r routeIdentity) String() string     { return fmt.Sprintf("%s vrf %d", r.prefix, r.vrf) }
func (n neighbourIdentity) String() string { return fmt.Sprintf("%s on %s", n.address, n.port) }
func (p placeIdentity) String() string     { return fmt.Sprintf("%s %d", p.kind, p.index) }

// identity tells an element of a list from the others.
func identity(v reflect.Value, i int) any {
	switch t := v.Addr().Interface().(type) {
	case *Port:
		return t.Name
	case *Route:
		return routeIdentity{t.Prefix, t.VRF}
	case *Neighbour:
		return neighbourIdentity{t.Address, t.Port}
	case *TimeoutPolicy:
		return t.Name
	case *Rule:
		return placeIdentity{"rule", i}
	}
	return placeIdentity{"entry", i}
}

// isTable tells whether values of the type are TOML tables, not one value.
func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// show prints a leaf so that neither an empty string nor a key that is not given
// looks like a removal.
func show(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.String:
		return fmt.Sprintf("%q", v.String())
	case v.Kind() == reflect.Map:
		return inline(v)
	case v.IsZero() && v.Kind() == reflect.Slice:
		return "[]"
	case v.IsZero() && isText(v.Type()):
		return "none"
	}
	return fmt.Sprint(v.Interface())
}

func isText(t reflect.Type) bool { return t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) }
