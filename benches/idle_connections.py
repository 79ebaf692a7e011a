#!/usr/bin/env python3
"""What idle connections cost a broker: memory and processor time.

Opens connections with one channel each, leaves them alone, and reads /proc of the broker before and after.
The broker must run on this machine; its process id is the argument. Needs nothing but Python.

    benches/idle_connections.py --port 5672 --seconds 30 PID
"""

import argparse
import os
import socket
import struct
import time

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
START, TUNE, OPEN_OK, CHANNEL_OPEN_OK = (10, 10), (10, 30), (10, 41), (20, 11)


def short(text):
    return bytes([len(text)]) + text


def long(octets):
    return struct.pack(">I", len(octets)) + octets


def method(channel, class_id, method_id, fields):
    payload = struct.pack(">HH", class_id, method_id) + fields
    return struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"


def exactly(sock, count):
    octets = b""
    while len(octets) < count:
        more = sock.recv(count - len(octets))
        if not more:
            raise SystemExit("the broker closed a connection")
        octets += more
    return octets


def expect(sock, wanted):
    """Reads one method frame; gives its fields."""
    _, _, size = struct.unpack(">BHI", exactly(sock, 7))
    payload = exactly(sock, size + 1)
    if struct.unpack(">HH", payload[:4]) != wanted:
        raise SystemExit(f"expected method {wanted}, got {payload[:-1]!r}")
    return payload[4:-1]


def connect(args):
    """A connection without heartbeats, with channel 1 open."""
    sock = socket.create_connection(("127.0.0.1", args.port), 10)
    sock.sendall(PROTOCOL_HEADER)
    expect(sock, START)
    login = f"\0{args.user}\0{args.password}".encode()
    sock.sendall(method(0, 10, 11, long(b"") + short(b"PLAIN") + long(login) + short(b"en_US")))
    channel_max, frame_max, _ = struct.unpack(">HIH", expect(sock, TUNE))
    sock.sendall(method(0, 10, 31, struct.pack(">HIH", channel_max, frame_max, 0)))
    sock.sendall(method(0, 10, 40, short(b"/") + short(b"") + b"\0"))
    expect(sock, OPEN_OK)
    sock.sendall(method(1, 20, 10, short(b"")))
    expect(sock, CHANNEL_OPEN_OK)
    return sock


def resident_mib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pid", type=int, help="the broker's process")
    parser.add_argument("-n", "--connections", type=int, default=1000, help="default 1000")
    parser.add_argument("-s", "--seconds", type=float, default=10, help="idle for, default 10")
    parser.add_argument("--port", type=int, default=5672)
    parser.add_argument("--user", default="guest")
    parser.add_argument("--password", default="guest")
    args = parser.parse_args()

    idle = resident_mib(args.pid)
    sockets = [connect(args) for _ in range(args.connections)]
    time.sleep(1)
    opened = cpu_s(args.pid)
    time.sleep(args.seconds)
    spent = cpu_s(args.pid) - opened
    held = resident_mib(args.pid)
    for sock in sockets:
        sock.close()

    each = (held - idle) * 1024 / args.connections
    print(f"before                  {idle:8.1f} MiB")
    print(f"{args.connections:6} connections      {held:8.1f} MiB, {each:.1f} KiB each")
    print(f"cpu in {args.seconds:g} s idle      {spent:8.2f} s")


if __name__ == "__main__":
    main()
