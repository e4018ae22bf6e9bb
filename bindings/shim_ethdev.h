/* ethdev's structures with bit fields and arrays, in a form that Go can fill in. */
#ifndef FFWD_SHIM_ETHDEV_H
#define FFWD_SHIM_ETHDEV_H

#include <stdint.h>

#include <rte_ethdev.h>

struct ffwd_port_conf {
	uint16_t nb_rx, nb_tx;
	uint32_t mtu;
	uint64_t rx_offloads;
	uint64_t rss_hf; /* 0: no RSS */
	uint8_t rss_key[64];
	uint8_t rss_key_len;
};

int ffwd_port_configure(uint16_t port, const struct ffwd_port_conf *conf);

/* The port ID of a probed device, or -ENODEV. */
int ffwd_port_by_name(const char *name);

/* Read the link without waiting: speed in Mbit/s (0: unknown). */
int ffwd_port_link(uint16_t port, uint32_t *speed, int *up, int *full_duplex, int *autoneg);

/* Spread a redirection table of size entries evenly over queues; read it back. */
int ffwd_reta_spread(uint16_t port, uint16_t size, uint16_t queues);
int ffwd_reta_read(uint16_t port, uint16_t size, uint16_t *table);

int ffwd_rss_read(uint16_t port, uint8_t *key, uint8_t key_len, uint64_t *rss_hf);

const char *ffwd_bus_name(const struct rte_device *device);

#endif
