package pmd

import "ffwd/bindings"

// Version returns the DPDK release in use, such as "DPDK 22.11.11".
func Version() string { return bindings.Version() }

// CoreSocket returns the NUMA socket of a CPU core, 0 on a machine without NUMA.
func CoreSocket(core int) int { return bindings.CoreSocket(core) }

// HugePagesSuffice reports whether the machine has the free huge pages that Start
// would ask for with these options and HugePages set.
func (o Options) HugePagesSuffice() bool {
	o.HugePages = true
	o, err := o.withDefaults()
	return err == nil && bindings.FreeHugePagesMB() >= o.poolMB()
}
