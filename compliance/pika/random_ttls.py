#!/usr/bin/env python3
"""How exactly messages expire that stand behind one which never does (A7.9), and whether their memory comes back.

Publishes messages with random times to live into one queue whose first message has none, has what dies delivered by
a dead-letter exchange, and prints how late each death was, how many messages the queue said it had meanwhile, and
what the broker held before, at the most, and after. The broker must run on this machine; give its process id.

    target/compliance/pika/venv/bin/python compliance/pika/random_ttls.py --messages 100000 PID

Takes about a minute. RabbitMQ expires only at the head of a queue, so there it never ends: stop it with Ctrl-C.
"""

import argparse
import os
import random
import threading
import time

import pika

QUEUE, DEAD = "random-ttls", "random-ttls-dead"


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


class Deaths(threading.Thread):
    """Takes what died, on a connection of its own."""

    def __init__(self, uri, count):
        super().__init__(daemon=True)
        self.late_ms, self.count = [], count
        self.channel = pika.BlockingConnection(pika.URLParameters(uri)).channel()

    def run(self):
        self.channel.basic_consume(DEAD, self.died, auto_ack=True)
        self.channel.start_consuming()

    def died(self, channel, _method, _properties, body):
        self.late_ms.append(time.time() * 1000 - float(body))
        if len(self.late_ms) == self.count:
            channel.stop_consuming()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pid", type=int, help="the broker's process id")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--body", type=int, default=200, help="octets of each message")
    parser.add_argument("--first", type=float, default=40, help="seconds from the start to the first death")
    parser.add_argument("--spread", type=float, default=15, help="seconds over which they die")
    args = parser.parse_args()
    uri = os.environ.get("WARREN_URI", "amqp://guest:guest@127.0.0.1:5672/%2f")
    channel = pika.BlockingConnection(pika.URLParameters(uri)).channel()
    for queue in (QUEUE, DEAD):
        channel.queue_delete(queue)
    channel.queue_declare(DEAD)
    channel.queue_declare(QUEUE, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD})
    channel.basic_publish("", QUEUE, b"stays")
    before = resident_mib(args.pid)

    # All are to be published before the first dies.
    first_s = args.first
    started = time.time()
    for _ in range(args.messages):
        ttl_ms = int(max(0, first_s + random.random() * args.spread - (time.time() - started)) * 1000)
        due = str(time.time() * 1000 + ttl_ms).encode().ljust(args.body)
        channel.basic_publish("", QUEUE, due, pika.BasicProperties(expiration=str(ttl_ms)))
    held = channel.queue_declare(QUEUE, passive=True).method.message_count
    print(f"published {args.messages} in {time.time() - started:.1f} s; the queue says {held}")
    if held != args.messages + 1:
        raise SystemExit("some died before all were published: take a later --first")
    most = resident_mib(args.pid)

    deaths = Deaths(uri, args.messages)
    deaths.start()
    apart = 0
    while deaths.is_alive():
        left = channel.queue_declare(QUEUE, passive=True).method.message_count
        # Deaths that are on their way here are not counted yet, so this is what is apart at most.
        apart = max(apart, abs(args.messages + 1 - len(deaths.late_ms) - left))
        most = max(most, resident_mib(args.pid))
        time.sleep(0.05)
    left = channel.queue_declare(QUEUE, passive=True).method.message_count
    time.sleep(1)
    late = sorted(deaths.late_ms)
    at = lambda part: late[min(len(late) - 1, int(len(late) * part))]
    print(f"late by ms: least {late[0]:.1f}, median {at(0.5):.1f}, 99 % {at(0.99):.1f}, most {late[-1]:.1f}")
    print(f"counts apart from what had died here: at most {apart}; left at the end: {left}")
    print(f"resident MiB: before {before:.0f}, at the most {most:.0f}, after {resident_mib(args.pid):.0f}")
    for queue in (QUEUE, DEAD):
        channel.queue_delete(queue)


if __name__ == "__main__":
    main()
