package slowpath

// MirroredTwin is an interface of the switch and the name that its twin has in
// the kernel.
type MirroredTwin struct {
	Iface uint16
	Table uint16 // its VRF, an index into MirrorConfig.Tables
	Name  string
}

// twins follows which kernel interfaces are ours. They are known by name, so
// that a twin that was made again is known again.
type twins struct {
	named map[string]MirroredTwin
	table map[uint16]uint16      // by interface
	links map[uint32]linkMessage // all, by ifindex
}

func newTwins(list []MirroredTwin) twins {
	t := twins{named: map[string]MirroredTwin{}, table: map[uint16]uint16{}, links: map[uint32]linkMessage{}}
	for _, twin := range list {
		t.named[twin.Name], t.table[twin.Iface] = twin, twin.Table
	}
	return t
}

// byIndex returns the interface and VRF that a kernel interface is the twin of.
func (t *twins) byIndex(ifIndex uint32) (iface, vrf uint16, ours bool) {
	twin, ours := t.named[t.links[ifIndex].name]
	return twin.Iface, twin.Table, ours
}

// tableOf returns the VRF of an interface.
func (t *twins) tableOf(iface uint16) uint16 { return t.table[iface] }

// indexOf returns the kernel's index of an interface's twin, 0 if it has none.
func (t *twins) indexOf(iface uint16) uint32 {
	for index, l := range t.links {
		if twin, ours := t.named[l.name]; ours && twin.Iface == iface {
			return index
		}
	}
	return 0
}

// change enters what a link is now, or that it is gone, and reports whether that
// is news.
func (t *twins) change(l linkMessage, gone bool) bool {
	before, known := t.links[l.ifIndex]
	switch {
	case gone && known:
		delete(t.links, l.ifIndex)
		return true
	case gone || before == l:
		return false
	}
	t.links[l.ifIndex] = l
	return true
}
