#include "shim_ethdev.h"

#include <errno.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_common.h>
#include <rte_dev.h>

int
ffwd_port_configure(uint16_t port, const struct ffwd_port_conf *c)
{
	uint8_t key[sizeof c->rss_key];
	struct rte_eth_conf conf = {
		.rxmode = {.mtu = c->mtu, .offloads = c->rx_offloads},
		.txmode = {.mq_mode = RTE_ETH_MQ_TX_NONE},
	};

	if (c->rss_hf != 0) {
		memcpy(key, c->rss_key, sizeof key);
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_key = c->rss_key_len != 0 ? key : NULL;
		conf.rx_adv_conf.rss_conf.rss_key_len = c->rss_key_len;
		conf.rx_adv_conf.rss_conf.rss_hf = c->rss_hf;
	}
	return rte_eth_dev_configure(port, c->nb_rx, c->nb_tx, &conf);
}

int
ffwd_port_by_name(const char *name)
{
	uint16_t port;
	int ret = rte_eth_dev_get_port_by_name(name, &port);

	return ret < 0 ? ret : port;
}

int
ffwd_port_link(uint16_t port, uint32_t *speed, int *up, int *full_duplex, int *autoneg)
{
	struct rte_eth_link link = {0};
	int ret = rte_eth_link_get_nowait(port, &link);

	if (ret < 0)
		return ret;
	*speed = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	*up = link.link_status == RTE_ETH_LINK_UP;
	*full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	*autoneg = link.link_autoneg == RTE_ETH_LINK_AUTONEG;
	return 0;
}

#define RETA_GROUPS (RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE)

int
ffwd_reta_spread(uint16_t port, uint16_t size, uint16_t queues)
{
	struct rte_eth_rss_reta_entry64 reta[RETA_GROUPS] = {0};

	if (size > RTE_ETH_RSS_RETA_SIZE_512 || queues == 0)
		return -EINVAL;
	for (uint16_t i = 0; i < size; i++) {
		struct rte_eth_rss_reta_entry64 *group = &reta[i / RTE_ETH_RETA_GROUP_SIZE];
		group->mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
		group->reta[i % RTE_ETH_RETA_GROUP_SIZE] = i % queues;
	}
	return rte_eth_dev_rss_reta_update(port, reta, size);
}

int
ffwd_reta_read(uint16_t port, uint16_t size, uint16_t *table)
{
	struct rte_eth_rss_reta_entry64 reta[RETA_GROUPS] = {0};

	if (size > RTE_ETH_RSS_RETA_SIZE_512)
		return -EINVAL;
	for (uint16_t i = 0; i < RETA_GROUPS; i++)
		reta[i].mask = UINT64_MAX;
	int ret = rte_eth_dev_rss_reta_query(port, reta, size);
	if (ret < 0)
		return ret;
	for (uint16_t i = 0; i < size; i++)
		table[i] = reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	return 0;
}

int
ffwd_rss_read(uint16_t port, uint8_t *key, uint8_t key_len, uint64_t *rss_hf)
{
	struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = key_len};
	int ret = rte_eth_dev_rss_hash_conf_get(port, &conf);

	*rss_hf = conf.rss_hf;
	return ret;
}

const char *
ffwd_bus_name(const struct rte_device *device)
{
	return rte_bus_name(rte_dev_bus(device));
}
