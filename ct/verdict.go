package ct

// A flow caches the policy's verdict per direction and hook, so that an
// established flow costs a compare. The cache holds for one generation of the
// ruleset and for the interfaces the packet came in and goes out by: an
// unexpected interface is judged anew, never by what another one was allowed.
//
//	verdict: generation 24 | 4 slots of 2 bits (direction, hook)
//	ifaces:  ingress and egress per direction

// Hook is a policy hook as the cache counts them.
type Hook int

// The hooks, in the order a packet meets them.
const (
	HookIn Hook = iota
	HookOut
)

// Cached is a verdict in the cache.
type Cached uint8

// The zero value is "ask the rules".
const (
	Unknown Cached = iota
	Accepted
	Denied
)

const slotMask = 0xff

func slotShift(dir int, hook Hook) int { return 4*dir + 2*int(hook) }

// Cached returns the verdict that the rules of this generation gave the flow in
// dir at hook for these interfaces, or Unknown. egress counts at HookOut only.
func (f *Flow) Cached(generation uint32, dir int, hook Hook, ingress, egress uint16) Cached {
	if f.verdict>>8 != generation || f.ifaces[2*dir] != ingress ||
		hook == HookOut && f.ifaces[2*dir+1] != egress {
		return Unknown
	}
	return Cached(f.verdict >> slotShift(dir, hook) & 3)
}

// Cache stores a verdict for Cached to find. Owner worker only.
func (f *Flow) Cache(generation uint32, dir int, hook Hook, ingress, egress uint16, v Cached) {
	if f.verdict>>8 != generation {
		f.verdict = generation << 8
	}
	if f.ifaces[2*dir] != ingress { // both hooks depend on where it came in
		f.verdict &^= 0xf << (4 * dir)
		f.ifaces[2*dir] = ingress
	}
	if hook == HookOut {
		f.ifaces[2*dir+1] = egress
	}
	shift := slotShift(dir, hook)
	f.verdict = f.verdict&^(3<<shift) | uint32(v)<<shift
}

// forget empties the cache: the flow changed in a way that rules can see.
func (f *Flow) forget() { f.verdict &^= slotMask }
