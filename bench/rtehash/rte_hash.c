/*
 * Measures DPDK's rte_hash: inserts the keys of a file, then looks them up in
 * bulk in another order, as `ffwd bench` does with our flow table.
 *
 *	rte_hash EAL-OPTIONS -- FILE KEYS BURST SECONDS
 *
 * FILE holds KEYS keys of 16 bytes in the order of insertion, then the same in
 * the order of lookups. Times are of the hash's own functions: a burst's keys are
 * copied to one place before the clock is read. A burst that took longer than
 * INTERRUPTED_NS is left out: other work on the core came between. Prints
 * "insert NS" and "lookup NS", of one key.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>

#define KEY_BYTES 16
#define MAX_BURST RTE_HASH_LOOKUP_BULK_MAX
#define INTERRUPTED_NS 300e3

struct burst {
	char bytes[MAX_BURST][KEY_BYTES] __rte_cache_aligned;
	const void *keys[MAX_BURST];
};

/* Copies count keys, starting over behind the last. */
static void
load(struct burst *b, const char *keys, size_t n, size_t at, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		memcpy(b->bytes[i], keys + (at + i) % n * KEY_BYTES, KEY_BYTES);
		b->keys[i] = b->bytes[i];
	}
}

int
main(int argc, char **argv)
{
	int used = rte_eal_init(argc, argv);
	if (used < 0)
		rte_exit(EXIT_FAILURE, "rte_eal_init failed\n");
	argc -= used;
	argv += used;
	if (argc != 5)
		rte_exit(EXIT_FAILURE, "want FILE KEYS BURST SECONDS\n");
	size_t n = strtoul(argv[2], NULL, 10);
	unsigned int burst = strtoul(argv[3], NULL, 10);
	double seconds = strtod(argv[4], NULL);
	if (n == 0 || burst == 0 || burst > MAX_BURST)
		rte_exit(EXIT_FAILURE, "bad number of keys, or burst\n");

	int fd = open(argv[1], O_RDONLY);
	size_t bytes = 2 * n * KEY_BYTES;
	if (fd < 0 || lseek(fd, 0, SEEK_END) != (off_t)bytes)
		rte_exit(EXIT_FAILURE, "%s does not hold %zu keys twice\n", argv[1], n);
	const char *keys = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (keys == MAP_FAILED)
		rte_exit(EXIT_FAILURE, "cannot map %s\n", argv[1]);

	/* A cuckoo hash without chains does not fill to the brim. */
	struct rte_hash_parameters parameters = {
		.name = "flows",
		.entries = n + n / 4 + 8,
		.key_len = KEY_BYTES,
		.hash_func = rte_hash_crc,
		.socket_id = SOCKET_ID_ANY,
	};
	struct rte_hash *hash = rte_hash_create(&parameters);
	if (hash == NULL)
		rte_exit(EXIT_FAILURE, "cannot create the hash\n");

	static struct burst b;
	double nsPerCycle = 1e9 / rte_get_tsc_hz();
	uint64_t cycles = 0, longest = INTERRUPTED_NS / nsPerCycle;
	size_t inserted = 0;
	for (size_t at = 0; at < n; at += burst) {
		unsigned int count = RTE_MIN((size_t)burst, n - at);
		load(&b, keys, n, at, count);
		uint64_t start = rte_rdtsc();
		for (unsigned int i = 0; i < count; i++)
			if (rte_hash_add_key(hash, b.keys[i]) < 0)
				rte_exit(EXIT_FAILURE, "cannot add key %zu\n", at + i);
		uint64_t took = rte_rdtsc() - start;
		if (took < longest) {
			cycles += took;
			inserted += count;
		}
	}
	printf("insert %.3f\n", cycles * nsPerCycle / RTE_MAX(inserted, (size_t)1));

	/* Once round, not measured, then until the time is over. */
	const char *order = keys + n * KEY_BYTES;
	uint64_t end = 0;
	size_t looked = 0, at = 0, round = 0;
	for (cycles = 0; round == 0 || rte_rdtsc() < end; ) {
		int32_t positions[MAX_BURST];
		load(&b, order, n, at, burst);
		uint64_t start = rte_rdtsc();
		if (rte_hash_lookup_bulk(hash, b.keys, burst, positions) != 0)
			rte_exit(EXIT_FAILURE, "lookup failed\n");
		uint64_t took = rte_rdtsc() - start;
		for (unsigned int i = 0; i < burst; i++)
			if (positions[i] < 0)
				rte_exit(EXIT_FAILURE, "a key is missing\n");
		if (round > 0 && took < longest) {
			cycles += took;
			looked += burst;
		}
		at += burst;
		if (at >= n) {
			at -= n;
			if (round++ == 0)
				end = rte_rdtsc() + seconds * rte_get_tsc_hz();
		}
	}
	printf("lookup %.3f\n", cycles * nsPerCycle / RTE_MAX(looked, (size_t)1));
	rte_hash_free(hash);
	rte_eal_cleanup();
	return 0;
}
