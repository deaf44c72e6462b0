# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The rules that kube-proxy writes, for any number of Services.

Pure: values in, text out. Chains, matches and their order are those that a real
kube-proxy 1.36 was seen to write, see tests/data/kube-proxy and the test beside
this file. IPv4 only.
"""

import base64
import dataclasses
import hashlib

# tables of iptables: {chain: [rule without "-A chain"]}; nftables: {object: [line]}


@dataclasses.dataclass(frozen=True)
class Endpoint:
    ip: str
    port: int
    is_local: bool = False


@dataclasses.dataclass
class ServicePort:
    """One port of one Service. The name is that of the Service; the port's own
    can be empty."""

    namespace: str
    name: str
    port_name: str
    protocol: str  # tcp or udp
    cluster_ip: str
    port: int
    endpoints: list = dataclasses.field(default_factory=list)
    node_port: int = 0
    affinity_seconds: int = 0
    external_ips: tuple = ()
    load_balancer_ips: tuple = ()
    source_ranges: tuple = ()
    is_external_local: bool = False
    health_node_port: int = 0

    @property
    def full_name(self):
        """As iptables' comments have it."""
        return f"{self.namespace}/{self.name}" + (f":{self.port_name}" if self.port_name else "")

    @property
    def path(self):
        """As nftables' chains have it."""
        return f"{self.namespace}/{self.name}/{self.protocol}/{self.port_name}"

    @property
    def is_external(self):
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)

    @property
    def local_endpoints(self):
        return [endpoint for endpoint in self.endpoints if endpoint.is_local]


@dataclasses.dataclass(frozen=True)
class Cluster:
    pods: str = "10.244.0.0/16"
    services: str = "10.96.0.0/16"
    node_ip: str = "10.10.0.1"


def _hash(text, length):
    return base64.b32encode(hashlib.sha256(text.encode()).digest())[:length].decode()


# ---- iptables --------------------------------------------------------------------


def _chain(prefix, service, endpoint=None):
    where = f"{endpoint.ip}:{endpoint.port}" if endpoint else ""
    return f"KUBE-{prefix}-{_hash(service.full_name + service.protocol + where, 16)}"


def _comment(text):
    return f'-m comment --comment "{text}"'


def _probability(n):
    """1 in n, as the kernel keeps what kube-proxy writes with ten digits: in
    units of 2^-31."""
    return f"{round(round(1 / n, 10) * 2**31) / 2**31:.11f}"


def _spread(service, endpoints):
    for i, endpoint in enumerate(endpoints):
        left = len(endpoints) - i
        chance = f"-m statistic --mode random --probability {_probability(left)} " if left > 1 else ""
        comment = _comment(f"{service.full_name} -> {endpoint.ip}:{endpoint.port}")
        yield f"{comment} {chance}-j {_chain('SEP', service, endpoint)}"


def _match(service, ip, comment):
    """An address and the Service's port."""
    protocol = service.protocol
    return f"-d {ip}/32 -p {protocol} {_comment(f'{service.full_name} {comment}')} -m {protocol} --dport {service.port}"


def service_chains(service, cluster):
    """The nat chains that are one Service port's own."""
    name, protocol = service.full_name, service.protocol
    chains = {}
    svc, svl, ext = (_chain(prefix, service) for prefix in ("SVC", "SVL", "EXT"))
    rules = [f"! -s {cluster.pods} {_match(service, service.cluster_ip, 'cluster IP')} -j KUBE-MARK-MASQ"]
    if service.affinity_seconds:
        for endpoint in service.endpoints:
            sep = _chain("SEP", service, endpoint)
            rules.append(
                f"{_comment(f'{name} -> {endpoint.ip}:{endpoint.port}')} -m recent --rcheck --seconds "
                f"{service.affinity_seconds} --reap --name {sep} --mask 255.255.255.255 --rsource -j {sep}"
            )
    chains[svc] = rules + list(_spread(service, service.endpoints))
    if service.is_external_local:
        chains[svl] = list(_spread(service, service.local_endpoints))
    for endpoint in service.endpoints:
        sep = _chain("SEP", service, endpoint)
        recent = (
            f"-m recent --set --name {sep} --mask 255.255.255.255 --rsource " if service.affinity_seconds else ""
        )
        chains[sep] = [
            f"-s {endpoint.ip}/32 {_comment(name)} -j KUBE-MARK-MASQ",
            f"-p {protocol} {_comment(name)} {recent}-m {protocol} -j DNAT "
            f"--to-destination {endpoint.ip}:{endpoint.port}",
        ]
    if service.is_external and service.is_external_local:
        local = "-m addrtype --src-type LOCAL"
        chains[ext] = [
            f"-s {cluster.pods} {_comment(f'pod traffic for {name} external destinations')} -j {svc}",
            f"{_comment(f'masquerade LOCAL traffic for {name} external destinations')} {local} -j KUBE-MARK-MASQ",
            f"{_comment(f'route LOCAL traffic for {name} external destinations')} {local} -j {svc}",
            f"-j {svl}",
        ]
    elif service.is_external:
        chains[ext] = [
            f"{_comment(f'masquerade traffic for {name} external destinations')} -j KUBE-MARK-MASQ",
            f"-j {svc}",
        ]
    if service.load_balancer_ips and service.source_ranges:
        chains[_chain("FW", service)] = [
            *(f"-s {source} {_comment(f'{name} loadbalancer IP')} -j {ext}" for source in service.source_ranges),
            _comment(f"other traffic to {name} will be dropped by KUBE-PROXY-FIREWALL"),
        ]
    return chains


def _nat_dispatch(services):
    """The nat chains that all Services share."""
    portals, node_ports = [], []
    for service in services:
        if not service.endpoints:
            continue
        ext = _chain("EXT", service)
        portals.append(f"{_match(service, service.cluster_ip, 'cluster IP')} -j {_chain('SVC', service)}")
        for ip in service.external_ips:
            portals.append(f"{_match(service, ip, 'external IP')} -j {ext}")
        for ip in service.load_balancer_ips:
            target = _chain("FW", service) if service.source_ranges else ext
            portals.append(f"{_match(service, ip, 'loadbalancer IP')} -j {target}")
        if service.node_port:
            match = f"-p {service.protocol} {_comment(service.full_name)} -m {service.protocol} --dport {service.node_port}"
            node_ports.append(
                f"-d 127.0.0.0/8 {match} -m nfacct --nfacct-name  localhost_nps_accepted_pkts -j {ext}"
            )
            node_ports.append(f"{match} -j {ext}")
    last = _comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain")
    return {
        "KUBE-MARK-MASQ": ["-j MARK --set-xmark 0x4000/0x4000"],
        "KUBE-POSTROUTING": [
            "-m mark ! --mark 0x4000/0x4000 -j RETURN",
            "-j MARK --set-xmark 0x4000/0x0",
            f"{_comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully",
        ],
        "KUBE-PROXY-CANARY": [],
        "KUBE-NODEPORTS": node_ports,
        "KUBE-SERVICES": [*portals, f"{last} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"],
    }


def _filter_dispatch(services):
    health, firewall, refused = [], [], []
    for service in services:
        name, protocol = service.full_name, service.protocol
        if service.health_node_port:
            health.append(
                f"-p tcp {_comment(f'{name} health check node port')} -m tcp --dport {service.health_node_port} -j ACCEPT"
            )
        if not service.endpoints:
            refused.append(
                f"-d {service.cluster_ip}/32 -p {protocol} {_comment(f'{name} has no endpoints')} "
                f"-m {protocol} --dport {service.port} -j REJECT --reject-with icmp-port-unreachable"
            )
        elif service.source_ranges:
            for ip in service.load_balancer_ips:
                match = _match(service, ip, f"traffic not accepted by {_chain('FW', service)}")
                firewall.append(f"{match} -j DROP")
    return {
        "KUBE-EXTERNAL-SERVICES": [],
        # The kubelet's.
        "KUBE-FIREWALL": [
            f"! -s 127.0.0.0/8 -d 127.0.0.0/8 {_comment('block incoming localnet connections')} "
            "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
        ],
        "KUBE-FORWARD": [
            "-m conntrack --ctstate INVALID -m nfacct --nfacct-name  ct_state_invalid_dropped_pkts -j DROP",
            f"{_comment('kubernetes forwarding rules')} -m mark --mark 0x4000/0x4000 -j ACCEPT",
            f"{_comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ],
        "KUBE-NODEPORTS": health,
        "KUBE-PROXY-CANARY": [],
        "KUBE-PROXY-FIREWALL": firewall,
        "KUBE-SERVICES": refused,
    }


_NEW = "-m conntrack --ctstate NEW"
_FIREWALL = f"{_NEW} {_comment('kubernetes load balancer firewall')} -j KUBE-PROXY-FIREWALL"
_EXTERNAL = f"{_NEW} {_comment('kubernetes externally-visible service portals')} -j KUBE-EXTERNAL-SERVICES"
_PORTALS = f"{_NEW} {_comment('kubernetes service portals')} -j KUBE-SERVICES"

# What leads there from the chains that the kernel calls.
_NAT_HOOKS = {
    "PREROUTING": [f"{_comment('kubernetes service portals')} -j KUBE-SERVICES"],
    "INPUT": [],
    "OUTPUT": [f"{_comment('kubernetes service portals')} -j KUBE-SERVICES"],
    "POSTROUTING": [f"{_comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING"],
}
_FILTER_HOOKS = {
    "INPUT": [
        "-j KUBE-FIREWALL",
        _FIREWALL,
        f"{_comment('kubernetes health check service ports')} -j KUBE-NODEPORTS",
        _EXTERNAL,
    ],
    "FORWARD": [_FIREWALL, f"{_comment('kubernetes forwarding rules')} -j KUBE-FORWARD", _PORTALS, _EXTERNAL],
    "OUTPUT": ["-j KUBE-FIREWALL", _FIREWALL, _PORTALS],
}


def iptables_tables(services, cluster):
    """{table: {chain: [rule]}}, all that there is."""
    nat = {**_NAT_HOOKS, **_nat_dispatch(services)}
    for service in services:
        if service.endpoints:
            nat.update(service_chains(service, cluster))
    return {"filter": {**_FILTER_HOOKS, **_filter_dispatch(services)}, "nat": nat}


def iptables_change(services, changed, cluster):
    """What kube-proxy writes, with --noflush, when the endpoints of some Service
    ports have changed: the shared chains in full and those ports' own. The
    chains of endpoints that are gone stay until a full sync."""
    nat = _nat_dispatch(services)
    for service in changed:
        nat.update(service_chains(service, cluster))
    return {"filter": _filter_dispatch(services), "nat": nat}


def iptables_text(tables):
    """Input of iptables-restore."""
    lines = []
    for table, chains in tables.items():
        lines.append(f"*{table}")
        lines += [f":{chain} {'-' if chain.startswith('KUBE-') else 'ACCEPT'} [0:0]" for chain in chains]
        lines += [f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


# ---- nftables --------------------------------------------------------------------


def _nft_chain(kind, service):
    return f"{kind}-{_hash(service.path, 8)}-{service.path}"


def _nft_endpoint(kind, service, endpoint):
    path = f"{service.path}__{endpoint.ip}/{endpoint.port}"
    return f"{kind}-{_hash(path, 8)}-{path}"


def _nft_spread(service, endpoints):
    choices = ", ".join(f"{i} : {endpoint.ip} . {endpoint.port}" for i, endpoint in enumerate(endpoints))
    return f"meta l4proto {service.protocol} dnat ip to numgen random mod {len(endpoints)} map {{ {choices} }}"


def _nft_service(service, cluster):
    """The objects that are one Service port's own."""
    objects = {}
    name = _nft_chain("service", service)
    local, external = _nft_chain("local", service), _nft_chain("external", service)
    mark = "meta mark set meta mark | 0x00004000 comment"
    if service.affinity_seconds:
        rules, choices = [], []
        for i, endpoint in enumerate(service.endpoints):
            affinity, chain = (_nft_endpoint(kind, service, endpoint) for kind in ("affinity", "endpoint"))
            seconds = service.affinity_seconds
            timeout = f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"
            objects[f"set {affinity}"] = ["type ipv4_addr", "size 65535", "flags dynamic,timeout", f"timeout {timeout}"]
            objects[f"chain {chain}"] = [
                f"update @{affinity} {{ ip saddr }}",
                f"meta l4proto {service.protocol} dnat to {endpoint.ip}:{endpoint.port}",
            ]
            rules.append(f"ip saddr @{affinity} goto {chain}")
            choices.append(f"{i} : goto {chain}")
        rules.append(f"numgen random mod {len(choices)} vmap {{ {', '.join(choices)} }}")
        objects[f"chain {name}"] = rules
    else:
        objects[f"chain {name}"] = [_nft_spread(service, service.endpoints)]
    if service.is_external_local:
        objects[f"chain {local}"] = [_nft_spread(service, service.local_endpoints)]
        objects[f"chain {external}"] = [
            f'ip saddr {cluster.pods} goto {name} comment "short-circuit pod traffic"',
            f'fib saddr type local {mark} "masquerade local traffic"',
            f'fib saddr type local goto {name} comment "short-circuit local traffic"',
            f"goto {local}",
        ]
    elif service.is_external:
        objects[f"chain {external}"] = [f'{mark} "masquerade"', f"goto {name}"]
    if service.source_ranges:
        objects[f"chain {_nft_chain('firewall', service)}"] = [
            f"ip saddr != {source} drop" for source in service.source_ranges
        ]
    return objects


def _elements(items):
    return [f"elements = {{ {', '.join(items)} }}"] if items else []


def _hairpins(service):
    """An endpoint of this node that reaches itself through the Service."""
    return [f"{e.ip} . {e.ip} . {service.protocol} . {e.port}" for e in service.local_endpoints]


def nftables_objects(services, cluster):
    """{"chain NAME" or "set NAME" or "map NAME": [line]}, the whole table."""
    key = "type ipv4_addr . inet_proto . inet_service : verdict"
    node_port_key = "type inet_proto . inet_service : verdict"
    hairpins, cluster_ips, none, firewall, ips, node_ports = [], {}, [], [], [], []
    for service in services:
        protocol, external = service.protocol, _nft_chain("external", service)
        hairpins += _hairpins(service)
        cluster_ips[service.cluster_ip] = None
        at = f"{protocol} . {service.port}"
        if not service.endpoints:
            none.append(f'{service.cluster_ip} . {at} comment "{service.full_name}" : goto reject-chain')
            continue
        ips.append(f"{service.cluster_ip} . {at} : goto {_nft_chain('service', service)}")
        ips += [f"{ip} . {at} : goto {external}" for ip in (*service.external_ips, *service.load_balancer_ips)]
        if service.source_ranges:
            chain = _nft_chain("firewall", service)
            firewall += [f"{ip} . {at} : goto {chain}" for ip in service.load_balancer_ips]
        if service.node_port:
            node_ports.append(f"{protocol} . {service.node_port} : goto {external}")
    masquerade = "meta mark set meta mark | 0x00004000"
    services_check, new = "jump service-endpoints-check", "ct state new"

    def commented(comment, *lines):
        return [lines[0], f'comment "{comment}"', *lines[1:]]

    def hook(kind, where, priority, *rules):
        return [f"type {kind} hook {where} priority {priority}; policy accept;", *rules]

    objects = {
        "set hairpin-connections": commented(
            "service hairpin connections",
            "type ipv4_addr . ipv4_addr . inet_proto . inet_service",
            *_elements(hairpins),
        ),
        "set cluster-ips": commented("Active ClusterIPs", "type ipv4_addr", *_elements(cluster_ips)),
        "set nodeport-ips": commented(
            "IPs that accept NodePort traffic", "type ipv4_addr", *_elements([cluster.node_ip])
        ),
        "map no-endpoint-services": commented(
            "vmap to drop or reject packets to services with no endpoints", key, *_elements(none)
        ),
        "map no-endpoint-nodeports": commented(
            "vmap to drop or reject packets to service nodeports with no endpoints", node_port_key
        ),
        "map firewall-ips": commented(
            "destinations that are subject to LoadBalancerSourceRanges", key, *_elements(firewall)
        ),
        "map service-ips": commented("ClusterIP, ExternalIP and LoadBalancer IP traffic", key, *_elements(ips)),
        "map service-nodeports": commented("NodePort traffic", node_port_key, *_elements(node_ports)),
        "chain filter-prerouting-pre-dnat": hook("filter", "prerouting", "dstnat - 10", f"{new} jump firewall-check"),
        "chain filter-output-pre-dnat": hook("filter", "output", "-110", f"{new} jump firewall-check"),
        "chain filter-input": hook(
            "filter", "input", "filter", f"{new} jump nodeport-endpoints-check", f"{new} {services_check}"
        ),
        "chain filter-forward": hook(
            "filter", "forward", "filter", f"{new} {services_check}", f"{new} jump cluster-ips-check"
        ),
        "chain filter-output": hook(
            "filter", "output", "filter", f"{new} {services_check}", f"{new} jump cluster-ips-check"
        ),
        "chain nat-prerouting": hook("nat", "prerouting", "dstnat", "jump services"),
        "chain nat-output": hook("nat", "output", "-100", "jump services"),
        "chain nat-postrouting": hook("nat", "postrouting", "srcnat", "jump masquerading"),
        "chain nodeport-endpoints-check": ["ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports"],
        "chain service-endpoints-check": ["ip daddr . meta l4proto . th dport vmap @no-endpoint-services"],
        "chain firewall-check": ["ip daddr . meta l4proto . th dport vmap @firewall-ips"],
        "chain services": [
            f'ip daddr @cluster-ips ip saddr != {cluster.pods} {masquerade} comment "masquerade clusterIP traffic '
            'from outside cluster"',
            "ip daddr . meta l4proto . th dport vmap @service-ips",
            "ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports",
        ],
        "chain masquerading": [
            "meta mark & 0x00004000 != 0x00000000 meta mark set meta mark ^ 0x00004000 masquerade fully-random",
            "ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random",
        ],
        "chain cluster-ips-check": [
            'ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"',
            f'ip daddr {cluster.services} drop comment "Drop traffic to unallocated ClusterIPs"',
        ],
        "chain reject-chain": ['comment "helper for @no-endpoint-services / @no-endpoint-nodeports"', "reject"],
    }
    for service in services:
        if service.endpoints:
            objects.update(_nft_service(service, cluster))
    return objects


def nftables_text(objects):
    """Input of nft -f. The chains that maps lead to are declared first: a verdict
    is looked up when it is read."""
    lines = ["table ip kube-proxy {", '\tcomment "rules for kube-proxy"']
    for name, body in objects.items():
        if name.startswith("chain ") and not body[0].startswith("type "):
            lines.append(f"\t{name} {{ }}")
    for name, body in objects.items():
        lines += [f"\t{name} {{", *(f"\t\t{line}" for line in body), "\t}"]
    return "\n".join([*lines, "}"]) + "\n"


def nftables_change(before, after):
    """The transaction for one Service port whose endpoints have changed."""
    chain = _nft_chain("service", after)
    lines = [f"flush chain ip kube-proxy {chain}", f"add rule ip kube-proxy {chain} {_nft_spread(after, after.endpoints)}"]
    for verb, service in (("delete", before), ("add", after)):
        lines += [f"{verb} element ip kube-proxy hairpin-connections {{ {item} }}" for item in _hairpins(service)]
    return "\n".join(lines) + "\n"


# ---- ipvs ------------------------------------------------------------------------
#
# Not recorded: read from kube-proxy's source (pkg/proxy/ipvs). ClusterIPs only.

IPVS_DEVICE = "kube-ipvs0"
# What kube-proxy sets before it writes anything, below /proc/sys/net/ipv4/vs.
IPVS_SETTINGS = {"conntrack": 1, "expire_nodest_conn": 1, "expire_quiescent_template": 1}

_IPVS_SETS = {
    "KUBE-LOOP-BACK": "hash:ip,port,ip",
    "KUBE-CLUSTER-IP": "hash:ip,port",
    "KUBE-EXTERNAL-IP": "hash:ip,port",
    "KUBE-EXTERNAL-IP-LOCAL": "hash:ip,port",
    "KUBE-LOAD-BALANCER": "hash:ip,port",
    "KUBE-HEALTH-CHECK-NODE-PORT": "bitmap:port",
    "KUBE-IPVS-IPS": "hash:ip",
}


def ipvs_sets_text(services):
    """Input of ipset: what the rules match, so that there are as many for any
    number of Services."""
    elements = {name: {} for name in _IPVS_SETS}
    for service in services:
        elements["KUBE-CLUSTER-IP"][f"{service.cluster_ip},{service.protocol}:{service.port}"] = None
        elements["KUBE-IPVS-IPS"][service.cluster_ip] = None
        for e in service.local_endpoints:
            elements["KUBE-LOOP-BACK"][f"{e.ip},{service.protocol}:{e.port},{e.ip}"] = None
    lines = []
    for name, kind in _IPVS_SETS.items():
        size = "range 0-65535" if kind == "bitmap:port" else "family inet hashsize 1024 maxelem 65536"
        lines.append(f"create {name} {kind} {size}")
        lines += [f"add {name} {element}" for element in elements[name]]
    return "\n".join(lines) + "\n"


def _match_set(name, what="dst,dst"):
    return f"-m set --match-set {name} {what}"


def ipvs_tables(cluster):
    """{table: {chain: [rule]}}, whatever the Services."""
    off_cluster = _comment("Kubernetes service cluster ip + port for masquerade purpose")
    hairpin = _comment("Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose")
    firewall = f"{_comment('kube-proxy firewall rules')} -j KUBE-PROXY-FIREWALL"
    health = _match_set("KUBE-HEALTH-CHECK-NODE-PORT", "dst")
    shared = _nat_dispatch([])
    nat = {
        **_NAT_HOOKS,
        "KUBE-SERVICES": [
            "-s 127.0.0.0/8 -j RETURN",
            f"{off_cluster} {_match_set('KUBE-CLUSTER-IP')} ! -s {cluster.pods} -j KUBE-MARK-MASQ",
            "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
            f"{_match_set('KUBE-CLUSTER-IP')} -j ACCEPT",
        ],
        "KUBE-POSTROUTING": [
            f"{hairpin} {_match_set('KUBE-LOOP-BACK', 'dst,dst,src')} -j MASQUERADE",
            *shared["KUBE-POSTROUTING"],
        ],
        "KUBE-NODE-PORT": [],
        "KUBE-LOAD-BALANCER": ["-j KUBE-MARK-MASQ"],
        "KUBE-MARK-MASQ": shared["KUBE-MARK-MASQ"],
    }
    passed = ("KUBE-LOAD-BALANCER", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL")
    filtered = {
        "INPUT": [
            f"{_comment('kubernetes ipvs access filter')} -j KUBE-IPVS-FILTER",
            firewall,
            f"{_comment('kubernetes health check rules')} -j KUBE-NODE-PORT",
        ],
        "FORWARD": [firewall, f"{_comment('kubernetes forwarding rules')} -j KUBE-FORWARD"],
        "OUTPUT": [f"{_comment('kubernetes ipvs access filter')} -j KUBE-IPVS-OUT-FILTER"],
        "KUBE-FORWARD": _filter_dispatch([])["KUBE-FORWARD"][1:],
        "KUBE-NODE-PORT": [f"{_comment('Kubernetes health check node port')} {health} -j ACCEPT"],
        "KUBE-PROXY-FIREWALL": [],
        "KUBE-SOURCE-RANGES-FIREWALL": ["-j DROP"],
        "KUBE-IPVS-FILTER": [
            *(f"{_match_set(name)} -j RETURN" for name in passed),
            f"{health} -j RETURN",
            f"{_NEW} {_match_set('KUBE-IPVS-IPS', 'dst')} -j REJECT --reject-with icmp-port-unreachable",
        ],
        "KUBE-IPVS-OUT-FILTER": [],
    }
    return {"filter": filtered, "nat": nat}


def ipvs_addresses_text(services):
    """Input of ip -batch: packets to a Service are to go to the node itself."""
    ips = dict.fromkeys(service.cluster_ip for service in services)
    return "".join(f"addr add {ip}/32 dev {IPVS_DEVICE}\n" for ip in ips)


def _virtual(service):
    return f"-{service.protocol[0]} {service.cluster_ip}:{service.port}"


def _ipvs_server(service, endpoint):
    return f"-a {_virtual(service)} -r {endpoint.ip}:{endpoint.port} -m -w 1"


def ipvs_text(services):
    """Input of ipvsadm --restore."""
    lines = []
    for service in services:
        affinity = f" -p {service.affinity_seconds}" if service.affinity_seconds else ""
        lines.append(f"-A {_virtual(service)} -s rr{affinity}")
        lines += [_ipvs_server(service, endpoint) for endpoint in service.endpoints]
    return "\n".join(lines) + "\n"


def ipvs_change(before, after):
    """Input of ipvsadm --restore when a Service port's endpoints have changed; as
    if nobody was connected to those that are gone."""
    lines = [_ipvs_server(after, endpoint) for endpoint in after.endpoints if endpoint not in before.endpoints]
    lines += [f"-d {_virtual(before)} -r {endpoint.ip}:{endpoint.port}"
              for endpoint in before.endpoints if endpoint not in after.endpoints]
    return "\n".join(lines) + "\n"
