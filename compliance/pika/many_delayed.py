#!/usr/bin/env python3
"""What a million delayed messages cost, and in which order and how exactly they come out after SIGKILL (A3.11).

Starts a broker with a data directory of its own, publishes messages with random delays to a durable
x-delayed-message exchange, all confirmed, kills the broker, starts it again on what is on disk, and takes what comes.
Prints what one pending message costs in memory before the kill and after it, how late each came, and fails if one is
lost, comes twice, comes early, or comes after one that was due more than a tick later.

    target/compliance/pika/venv/bin/python compliance/pika/many_delayed.py --warren target/release/warren

Needs pika. Publishing and consuming are written out by hand here: pika would be what is measured.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import pika

EXCHANGE, QUEUE = "many-delayed", "many-delayed"
# The broker looks at whole milliseconds.
TICK_MS = 1


def resident_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


class Broker:
    def __init__(self, binary, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        listen = f"127.0.0.1:{self.port}"
        self.command = [binary, "--data-dir", directory, "--listen", listen]
        self.command += ["--management", "off", "--metrics", "off", "--log", "error"]
        self.process = None

    def start(self):
        began = time.time()
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                return pika.BlockingConnection(pika.URLParameters(self.uri())), time.time() - began
            except pika.exceptions.AMQPConnectionError:
                if self.process.poll() is not None:
                    raise SystemExit("the broker does not start") from None
                time.sleep(0.05)

    def uri(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2f?heartbeat=0"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def frame(kind, payload):
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"


def short(text):
    return bytes([len(text)]) + text


class Raw:
    """A connection with channel 1 open, frames written and read by hand."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.got = bytearray()
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.method(10)
        start_ok = struct.pack(">I", 0) + short(b"PLAIN") + struct.pack(">I", 12) + b"\0guest\0guest" + short(b"en_US")
        self.say(10, 11, start_ok, 0)
        self.method(30)
        self.say(10, 31, struct.pack(">HIH", 2047, 131072, 0), 0)
        self.say(10, 40, short(b"/") + b"\0\0", 0)
        self.method(41)
        self.say(20, 10, b"\0")
        self.method(11)

    def say(self, class_id, method_id, fields, channel=1):
        payload = struct.pack(">HH", class_id, method_id) + fields
        self.socket.sendall(struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce")

    def frames(self):
        """The whole frames that are there, as (kind, payload); waits for one at least."""
        found = []
        while not found:
            at, got = 0, self.got
            while len(got) - at >= 8:
                kind, _, size = struct.unpack_from(">BHI", got, at)
                if len(got) - at < size + 8:
                    break
                found.append((kind, bytes(got[at + 7 : at + 7 + size])))
                at += size + 8
            del got[:at]
            if not found:
                octets = self.socket.recv(1 << 20)
                if not octets:
                    raise SystemExit("the broker closed the connection")
                got += octets
        return found

    def method(self, method_id):
        while True:
            for kind, payload in self.frames():
                if kind == 1 and struct.unpack_from(">HH", payload)[1] == method_id:
                    return payload[4:]


def publish(raw, args, due_from):
    """Publishes all with confirms. When each is due: at the earliest, if the broker took it as soon as it was sent,
    and at the latest, if it did when it confirmed."""
    raw.say(85, 10, b"\0")
    raw.method(11)
    method = frame(1, struct.pack(">HHH", 60, 40, 0) + short(EXCHANGE.encode()) + short(b"") + b"\0")
    earliest, latest = [], []
    while len(earliest) < args.messages:
        now, out = time.time() * 1000, []
        first = len(earliest)
        for number in range(first, min(first + 500, args.messages)):
            delay = max(1, round(due_from + random.random() * args.spread * 1000 - now))
            earliest.append(now + delay)
            table = short(b"x-delay") + b"I" + struct.pack(">i", delay)
            # Headers and delivery mode.
            properties = struct.pack(">HI", 0x3000, len(table)) + table + b"\x02"
            body = struct.pack(">I", number)
            header = struct.pack(">HHQ", 60, 0, len(body)) + properties
            out += [method, frame(2, header), frame(3, body)]
        raw.socket.sendall(b"".join(out))
        while acked(raw) < len(earliest):
            pass
        took = time.time() * 1000 - now
        latest += [due + took for due in earliest[first:]]
    return earliest, latest


def acked(raw):
    tags = [struct.unpack_from(">Q", p, 4)[0] for kind, p in raw.frames() if kind == 1 and p[:4] == b"\0\x3c\0\x50"]
    return max(tags, default=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warren", required=True, help="the broker's binary")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--first", type=float, default=180, help="seconds from the start to the first that is due")
    parser.add_argument("--spread", type=float, default=120, help="seconds over which they are due")
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="warren-delayed-")
    broker = Broker(args.warren, os.path.join(directory, "data"))
    try:
        run(args, broker)
    finally:
        broker.kill()
        shutil.rmtree(directory)


def run(args, broker):
    connection, _ = broker.start()
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
    channel.queue_declare(QUEUE, durable=True)
    channel.queue_bind(QUEUE, EXCHANGE)
    before = resident_bytes(broker.process.pid)
    due_from = time.time() * 1000 + args.first * 1000
    began = time.time()
    due = publish(Raw(broker.port), args, due_from)
    took = time.time() - began
    if time.time() * 1000 >= due_from:
        raise SystemExit(f"some were due before all were published ({took:.0f} s): take a later --first")
    time.sleep(2)
    most = resident_bytes(broker.process.pid)
    print(f"published and confirmed {args.messages} in {took:.1f} s ({args.messages / took:.0f} a second)")
    print(f"resident MiB: {before / 2**20:.0f}, with all pending {most / 2**20:.0f}: "
          f"{(most - before) / args.messages:.0f} octets a message")

    broker.kill()
    connection, took = broker.start()
    after = resident_bytes(broker.process.pid)
    waiting = connection.channel().queue_declare(QUEUE, durable=True, passive=True).method.message_count
    print(f"SIGKILL; serves again after {took:.1f} s, resident MiB: {after / 2**20:.0f}; "
          f"{waiting} came out meanwhile")
    raw = Raw(broker.port)
    raw.say(60, 20, b"\0\0" + short(QUEUE.encode()) + short(b"") + b"\x02" + struct.pack(">I", 0))
    raw.method(21)
    come, late = [], []
    while len(come) < args.messages:
        frames = raw.frames()
        now = time.time() * 1000
        for kind, payload in frames:
            if kind == 3:
                [number] = struct.unpack(">I", payload)
                come.append(number)
                late.append(now - due[0][number])
    judge(args, due, come, late)


def judge(args, due, come, late):
    earliest, latest = due
    twice = len(come) - len(set(come))
    # How long before one that came earlier each was due, for certain.
    last, behind = 0.0, 0.0
    for number in come:
        behind = max(behind, last - latest[number])
        last = max(last, earliest[number])
    late = sorted(late)
    at = lambda part: late[min(len(late) - 1, int(len(late) * part))]
    print(f"come: {len(come)}, twice: {twice}, out of order by {behind:.2f} ms at most")
    print(f"late by ms at most: least {late[0]:.2f}, median {at(0.5):.2f}, 99 % {at(0.99):.2f}, "
          f"99.9 % {at(0.999):.2f}, most {late[-1]:.2f}")
    if twice or len(set(come)) != args.messages or behind > TICK_MS + 1 or late[0] < -1:
        raise SystemExit("not as promised")


if __name__ == "__main__":
    main()
