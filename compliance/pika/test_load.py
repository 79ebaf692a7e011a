"""A publisher and consumers at work at the same time."""

import threading

from client import Client, Consumer, answered, check, equal, fill, main

COUNT = 20_000


def together(*works):
    """Runs each in a thread, with connections of its own, and fails if one of them does."""
    failures = []

    def run(work):
        client = Client()
        try:
            work(client)
        except Exception as error:
            failures.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=run, args=[work], daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def publish(queue, numbers):
    def work(client):
        channel = client.channel()
        for number in numbers:
            fill(channel, queue, b"%d" % number)
        answered(channel, queue)

    return work


def consume(queue, count, received, auto_ack=False):
    def work(client):
        channel = client.channel()
        channel.basic_qos(prefetch_count=500)
        consumer = Consumer(channel, queue, auto_ack=auto_ack)
        while len(received) < count:
            deliveries = consumer.take(min(100, count - len(received)))
            received.extend(int(delivery.body) for delivery in deliveries)
            if not auto_ack:
                channel.basic_ack(deliveries[-1].tag, multiple=True)
        channel.close()

    return work


@check("20,000 messages from one thread to another, in order")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    received = []
    together(publish(queue, range(COUNT)), consume(queue, COUNT, received))
    equal(received == list(range(COUNT)), True)
    equal(channel.queue_delete(queue).method.message_count, 0)


@check("20,000 messages without acks, in order")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    received = []
    together(publish(queue, range(COUNT)), consume(queue, COUNT, received, auto_ack=True))
    equal(received == list(range(COUNT)), True)


@check("four publishers: each one's order holds")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue, durable=True)
    parts = [range(start, COUNT, 4) for start in range(4)]
    received = []
    together(*(publish(queue, part) for part in parts), consume(queue, COUNT, received))
    for start, part in enumerate(parts):
        equal([number for number in received if number % 4 == start] == list(part), True)


main()
