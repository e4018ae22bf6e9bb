package bindings

/*
#cgo pkg-config: libdpdk
#cgo CFLAGS: -O3 -Wall -Wextra -Wno-unused-parameter
#include <rte_version.h>

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0)
#error "DPDK 22.11 or newer is needed"
#endif
*/
import "C"

// Version returns the DPDK release in use, such as "DPDK 22.11.11".
func Version() string { return C.GoString(C.rte_version()) }
