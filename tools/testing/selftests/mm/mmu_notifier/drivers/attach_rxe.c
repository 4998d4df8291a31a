// SPDX-License-Identifier: GPL-2.0-only
/*
 * An on-demand memory region of a Soft-RoCE device.
 */

/* To be linked statically */
#define RDMA_STATIC_PROVIDERS rxe

#include <infiniband/verbs.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <rdma/rdma_netlink.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attach.h"

#define NETDEV	"lo"

static int netdev_up(void)
{
	struct ifreq request = { .ifr_name = NETDEV };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), ret;

	ret = ioctl(fd, SIOCGIFFLAGS, &request);
	request.ifr_flags |= IFF_UP;
	ret = ret ?: ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
	return ret;
}

/* rdma link add rxe0 type rxe netdev lo */
static int add_link(void)
{
	struct nl_sock *socket = nl_socket_alloc();
	struct nl_msg *message;
	int ret = -1;

	if (!socket || nl_connect(socket, NETLINK_RDMA))
		return -1;
	message = nlmsg_alloc_simple(RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, RDMA_NLDEV_CMD_NEWLINK),
				     NLM_F_REQUEST | NLM_F_ACK);
	if (message && !nla_put_string(message, RDMA_NLDEV_ATTR_DEV_NAME, "rxe0") &&
	    !nla_put_string(message, RDMA_NLDEV_ATTR_LINK_TYPE, "rxe") &&
	    !nla_put_string(message, RDMA_NLDEV_ATTR_NDEV_NAME, NETDEV))
		ret = nl_send_sync(socket, message);	/* frees the message */
	nl_socket_free(socket);
	return ret;
}

static struct ibv_context *open_device(void)
{
	int nr = 0;
	struct ibv_device **list = ibv_get_device_list(&nr);
	struct ibv_context *context = nr ? ibv_open_device(list[0]) : NULL;

	if (list)
		ibv_free_device_list(list);
	return context;
}

static bool pages_on_demand(struct ibv_context *context)
{
	struct ibv_device_attr_ex attr;

	return !ibv_query_device_ex(context, NULL, &attr) &&
	       attr.odp_caps.general_caps & IBV_ODP_SUPPORT;
}

int rxe_start(void)
{
	struct ibv_context *context = open_device();
	int ret;

	if (!context && !netdev_up() && !add_link())
		context = open_device();
	if (!context)
		return -1;
	ret = pages_on_demand(context) ? 0 : -1;
	ibv_close_device(context);
	return ret;
}

int attach_rxe(struct victim *victim, char *memory)
{
	struct ibv_context *context = open_device();
	struct ibv_pd *pd = context ? ibv_alloc_pd(context) : NULL;

	if (!pd)
		return 30;
	if (!ibv_reg_mr(pd, memory, VICTIM_MEMORY,
			IBV_ACCESS_ON_DEMAND | IBV_ACCESS_LOCAL_WRITE))
		return 31;
	return 0;
}
