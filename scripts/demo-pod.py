#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The programs in the demo's Pods.

demo-pod.py backend ADDRESS NAME    JSON on port 5000: /host_name, /healthy
demo-pod.py database ADDRESS        a line of greeting on port 5432
demo-pod.py peer ADDRESS PORT       dial, and print what getpeername() says
demo-pod.py requests URL FILE       one request after another until FILE exists;
                                    prints how many went well, how many did not
"""
import http.server
import json
import os
import signal
import socket
import socketserver
import sys
import time
import urllib.request


def backend(address, name):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answers = {"/host_name": {"host_name": name}, "/healthy": {"healthy": True}}
            answer = answers.get(self.path)
            body = json.dumps(answer or {"error": "not found"}).encode() + b"\n"
            self.send_response(200 if answer else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    http.server.ThreadingHTTPServer((address, 5000), Handler).serve_forever()


def database(address):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            host, port = self.request.getsockname()
            self.request.sendall(f"database at {host}:{port}, ready\n".encode())

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer((address, 5432), Handler).serve_forever()


def peer(address, port):
    with socket.create_connection((address, int(port)), timeout=5) as sock:
        print("%s:%d" % sock.getpeername())


def requests(url, stop):
    good = bad = 0
    for _ in range(20000):
        if os.path.exists(stop):
            break
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                json.load(answer)
            good += 1
        except OSError as error:
            bad += 1
            print(error, file=sys.stderr)
        time.sleep(0.002)
    print(good, bad)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end on Ctrl-C without a word
    {"backend": backend, "database": database, "peer": peer, "requests": requests}[sys.argv[1]](
        *sys.argv[2:]
    )
