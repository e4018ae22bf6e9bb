package bindings

/*
#include <stdlib.h>
#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

// rte_pktmbuf_pool_create with a flag. On ordinary pages DPDK lets no mbuf cross a page,
// so that one of 2 KiB takes 4, and the same lines of all mbufs share one set of the
// first-level cache. Only devices that need physically contiguous buffers profit, and
// those need huge pages.
static int ffwd_pool_create(struct rte_mempool **pool, const char *name, unsigned n,
		unsigned cache, uint16_t data_room, int socket) {
	struct rte_pktmbuf_pool_private priv = { .mbuf_data_room_size = data_room };
	unsigned flags = rte_eal_has_hugepages() ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
	struct rte_mempool *p = rte_mempool_create_empty(name, n, sizeof(struct rte_mbuf) + data_room,
			cache, sizeof(priv), socket, flags);
	int ret;

	if (p == NULL)
		return -rte_errno;
	ret = rte_mempool_set_ops_byname(p, rte_mbuf_best_mempool_ops(), NULL);
	if (ret == 0) {
		rte_pktmbuf_pool_init(p, &priv);
		ret = rte_mempool_populate_default(p);
	}
	if (ret < 0) {
		rte_mempool_free(p);
		return ret;
	}
	rte_mempool_obj_iter(p, rte_pktmbuf_init, NULL);
	*pool = p;
	return 0;
}
static inline unsigned ffwd_pool_size(const struct rte_mempool *pool) { return pool->size; }
static inline void ffwd_pool_flush(struct rte_mempool *pool) {
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());
	if (cache != NULL)
		rte_mempool_cache_flush(cache, pool);
}
static inline unsigned ffwd_mbuf_bytes(uint16_t data_room) {
	return rte_mempool_calc_obj_size(sizeof(struct rte_mbuf) + data_room, 0, NULL);
}
*/
import "C"

import (
	"math"
	"strconv"
	"unsafe"
)

// Headroom is the bytes in front of a received frame in its buffer.
const Headroom = C.RTE_PKTMBUF_HEADROOM

// MaxPoolCache is the largest per-thread cache of a mempool, in mbufs.
const MaxPoolCache = C.RTE_MEMPOOL_CACHE_MAX_SIZE

// Mempool is a pool of packet mbufs on one NUMA socket.
type Mempool struct {
	c    *C.struct_rte_mempool
	name string
}

// NewMempool makes a pool of n mbufs, each with dataRoomBytes of buffer, headroom
// included. n is best 2^k-1. cacheSize mbufs at most wait in each registered thread's
// own cache; it must not exceed MaxPoolCache or n/1.5. socket may be AnySocket.
func NewMempool(name string, n, cacheSize, dataRoomBytes, socket int) (*Mempool, error) {
	// DPDK takes unsigned numbers: refuse what would wrap around.
	if n <= 0 || n > math.MaxInt32 || cacheSize < 0 || dataRoomBytes < Headroom || dataRoomBytes > math.MaxUint16 {
		return nil, &Error{Op: "create mempool", Object: name, Errno: Errno(C.EINVAL),
			Reason: "mbuf count must be positive, cache not negative, and data room " +
				strconv.Itoa(Headroom) + " to 65535 bytes"}
	}
	cName := C.CString(name)
	defer C.free(unsafe.Pointer(cName))
	var pool *C.struct_rte_mempool
	err := control("create mempool", name, func() C.int {
		return C.ffwd_pool_create(&pool, cName, C.uint(n), C.uint(cacheSize), C.uint16_t(dataRoomBytes), C.int(socket))
	})
	if err != nil {
		return nil, err
	}
	return &Mempool{c: pool, name: name}, nil
}

// MbufBytes returns the memory that one mbuf of a pool with this data room takes.
func MbufBytes(dataRoomBytes int) int { return int(C.ffwd_mbuf_bytes(C.uint16_t(dataRoomBytes))) }

// Name returns the pool's name.
func (p *Mempool) Name() string { return p.name }

// Size returns how many mbufs the pool was made with.
func (p *Mempool) Size() int { return int(C.ffwd_pool_size(p.c)) }

// Available returns how many mbufs nobody holds, those in threads' caches included.
// While workers run it is an estimate.
func (p *Mempool) Available() int { return int(C.rte_mempool_avail_count(p.c)) }

// DataRoomBytes returns the buffer of one mbuf, headroom included.
func (p *Mempool) DataRoomBytes() int { return int(C.rte_pktmbuf_data_room_size(p.c)) }

// FlushCache returns the mbufs in the calling registered thread's cache to what all
// threads share. For a thread about to leave.
func (p *Mempool) FlushCache() { C.ffwd_pool_flush(p.c) }

// Free gives the pool's memory back. No mbuf of it may be in use.
func (p *Mempool) Free() {
	C.rte_mempool_free(p.c)
	p.c = nil
}
