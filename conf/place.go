package conf

// place is where a value stands in a document. Most are never asked for their text, which
// is that of paths in faults.
type place struct {
	up    *place // nil at the top
	key   string // of a table
	index int    // of an element of a list, from 1; 0: it is none
}

func (p *place) join(key string) place { return place{up: p, key: key} }

func (p *place) element(i int) place { return place{up: p, index: 1 + i} }

func (p *place) String() string {
	switch {
	case p.up == nil:
		return ""
	case p.index > 0:
		return element(p.up.String(), p.index-1)
	}
	return join(p.up.String(), p.key)
}

// within tells whether the place is in the top table's key.
func (p *place) within(key string) bool {
	for p.up != nil && p.up.up != nil {
		p = p.up
	}
	return p.key == key
}
