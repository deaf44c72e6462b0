// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "nodeport.h"

#include <errno.h>
#include <string.h>

static int add_word(const char *word, struct rd_nodeport_rule *rule)
{
	if (!strcmp(word, "all"))
		rule->all = true;
	else if (!strcmp(word, "primary"))
		rule->primary = true;
	else if (!strcmp(word, "localhost"))
		rule->localhost = true;
	else if (rule->n_cidrs == RD_NODEPORT_CIDRS ||
		 rd_cidr_parse(word, &rule->cidrs[rule->n_cidrs]))
		return -EINVAL;
	else
		rule->n_cidrs++;
	return 0;
}

int rd_nodeport_parse(const char *text, struct rd_nodeport_rule *ret_rule)
{
	struct rd_nodeport_rule rule = {.all = !text || !*text};

	while (text && *text) {
		size_t n = strcspn(text, ",");
		char word[RD_IP_TEXT];

		if (n >= sizeof(word))
			return -EINVAL;
		memcpy(word, text, n);
		word[n] = '\0';
		if (add_word(word, &rule))
			return -EINVAL;
		text += n + (text[n] == ',');
	}
	*ret_rule = rule;
	return 0;
}

static bool is_in_cidrs(const struct rd_nodeport_rule *rule, const struct rd_ip *ip)
{
	bool any_of_family = false;

	for (size_t i = 0; i < rule->n_cidrs; i++) {
		if (rule->cidrs[i].base.family != ip->family)
			continue;
		any_of_family = true;
		if (rd_cidr_contains(&rule->cidrs[i], ip))
			return true;
	}
	return rule->n_cidrs && !any_of_family;
}

static bool is_primary(const struct rd_node_spec *node, const struct rd_ip *ip)
{
	for (size_t i = 0; node && i < node->n_addresses; i++)
		if (!rd_ip_compare(&node->addresses[i], ip))
			return true;
	return false;
}

bool rd_nodeport_allows(const struct rd_nodeport_rule *rule, const struct rd_ip *ip,
			const struct rd_node_spec *node)
{
	if (rd_ip_is_loopback(ip))
		return ip->family == RD_FAMILY_4 &&
		       (rule->all || rule->localhost || is_in_cidrs(rule, ip));
	return rule->all || (rule->primary && is_primary(node, ip)) || is_in_cidrs(rule, ip);
}
