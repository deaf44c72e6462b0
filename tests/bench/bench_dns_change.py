# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How long a changed endpoint takes until it is in the answers: from the API
server's object to the first answer that has it, with 10,000 Services of 10
endpoints. A client asks without a pause. Run it in scripts/sandbox: `make
bench-dns`.
"""

import socket
import statistics
import time

from scale import SERVICES, harness, node_and_server  # first: it says where the others are
from names import headless, named_slice
from test_dns_upstream import Answer, make_query

CHANGES = 200
PORTS = [{"name": "sql", "port": 5432, "protocol": "TCP"}]
GIVE_UP_SECONDS = 5


def seconds_until(client, server, number):
    address, query = f"10.244.9.{number}", make_query("db.default.svc.cluster.local")
    server.put(named_slice("db-1", "db", [(address, None, True)], PORTS))
    began = time.monotonic()
    while True:
        client.send(query)
        if Answer(client.recv(4096)).addresses == [address]:
            return time.monotonic() - began
        assert time.monotonic() - began < GIVE_UP_SECONDS, f"{address} is not in the answers"


def measure(node, server):
    server.put(headless("db", [harness.port(5432, name="sql")]))
    server.put(named_slice("db-1", "db", [("10.244.9.1", None, True)], PORTS))
    node.agent("--dns", "127.0.0.1:5353", "--dns-upstream", "none")
    with node.host.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(GIVE_UP_SECONDS)
        client.connect(("127.0.0.1", 5353))
        values = []
        for number in range(2, 2 + CHANGES):
            values.append(seconds_until(client, server, number) * 1000)
            # Some come after a quiet time, some while the maps are being changed.
            time.sleep(0.15 if number % 2 else 0.02)
    values.sort()
    print(f"a changed endpoint in the answers, {SERVICES} Services, {CHANGES} changes: median "
          f"{statistics.median(values):.2f}, p99 {values[int(0.99 * CHANGES)]:.2f}, most {values[-1]:.2f} ms (10)")


def main():
    harness.unshare(harness.CLONE_NEWNS)
    harness.mount("none", "/", "none", harness.MS_REC | harness.MS_PRIVATE)
    with node_and_server() as (node, server):
        measure(node, server)


if __name__ == "__main__":
    main()
