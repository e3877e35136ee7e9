#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""memcached.py [--seed N] fill|change|read SOCKET ITEMS: asks a memcached by four connections at once, and prints what came back, as a checksum.

Values have up to 16 KiB; `change` replaces, appends to, removes and counts some of what `fill` has stored. `read` looks up every key.
"""
import argparse
import concurrent.futures
import hashlib
import random
import socket

CONNECTIONS = 4


def value(seed, key):
    r = random.Random(f"{seed} {key}")
    return r.randbytes(128) * r.randint(1, 128)


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rwb")

    def command(self, line, data=None):
        self.file.write(line.encode() + b"\r\n" + (b"" if data is None else data + b"\r\n"))
        self.file.flush()
        return self.file.readline()

    def get(self, key):
        head = self.command(f"get {key}")
        if head == b"END\r\n":
            return head
        body = self.file.read(int(head.split()[3]))
        self.file.readline()
        self.file.readline()
        return head + body


def fill(client, seed, key):
    data = value(seed, key)
    return client.command(f"set k{key} {key % 1000} 0 {len(data)}", data)


def change(client, seed, key):
    if key % 5 == 0:
        data = value(seed + 1, key)
        return client.command(f"replace k{key} 1 0 {len(data)}", data)
    if key % 5 == 1:
        return client.command(f"append k{key} 0 0 5", b"after")
    if key % 5 == 2:
        return client.command(f"delete k{key}")
    if key % 5 == 3:
        return client.command(f"set k{key} 0 0 1", b"7") + client.command(f"incr k{key} {key}")
    return b""


def read(client, seed, key):
    return client.get(f"k{key}")


def work(path, operation, seed, keys):
    client = Client(path)
    digest = hashlib.sha256()
    for key in keys:
        digest.update(operation(client, seed, key))
    return digest.hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("operation", choices=["fill", "change", "read"])
    parser.add_argument("socket")
    parser.add_argument("items", type=int)
    args = parser.parse_args()
    operation = globals()[args.operation]
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as threads:
        parts = [threads.submit(work, args.socket, operation, args.seed, range(n, args.items, CONNECTIONS)) for n in range(CONNECTIONS)]
        for part in parts:
            print(args.operation, part.result())


main()
