"""tx.select, commit and rollback."""

import pika
from client import Consumer, check, drain, equal, fill, get, holds, main, ready, refused, temporary, wait


def transaction(client):
    channel = client.channel()
    channel.tx_select()
    return channel


@check("A5.5 publishes come with the commit, in order")
def _(client):
    channel, other = transaction(client), client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    fill(channel, queue, *[b"%d" % number for number in range(10)])
    equal(ready(channel, queue), 0)
    consumer = Consumer(other, queue)
    consumer.nothing()
    channel.tx_commit()
    equal(consumer.bodies(10), [b"%d" % number for number in range(10)])


@check("A5.5 what is committed is there when commit-ok comes, in all queues")
def _(client):
    channel = transaction(client)
    queues = [client.name("q") for _ in range(3)]
    for number, queue in enumerate(queues):
        channel.queue_declare(queue, durable=number > 0)
        fill(channel, queue, b"m", delivery_mode=1 + number % 2)
    channel.tx_commit()
    equal([ready(channel, queue) for queue in queues], [1, 1, 1])


@check("A5.5 rollback forgets publishes")
def _(client):
    channel = transaction(client)
    queue = temporary(channel)
    fill(channel, queue, b"1", b"2")
    channel.tx_rollback()
    channel.tx_commit()
    fill(channel, queue, b"3")
    channel.tx_commit()
    equal(drain(channel, queue), [b"3"])


@check("A5.5 acks come with the commit")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    fill(channel, queue, b"1", b"2")
    holds(channel, queue, 2)
    channel.tx_select()
    channel.basic_ack(get(channel, queue).tag)
    channel.basic_ack(get(channel, queue).tag)
    channel.tx_commit()
    channel.close()
    equal(drain(client.channel(), queue), [])


@check("A5.5 acks that are not committed come to nothing with the channel")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    fill(channel, queue, b"1", b"2", b"3")
    holds(channel, queue, 3)
    channel.tx_select()
    channel.basic_ack(get(channel, queue).tag)
    channel.basic_nack(get(channel, queue).tag, requeue=False)
    channel.close()
    other = client.channel()
    holds(other, queue, 3)
    message = get(other, queue)
    equal((message.body, message.redelivered), (b"1", True))


@check("A5.5 publishes that are not committed come to nothing with the channel")
def _(client):
    queue = client.name("q")
    other = client.channel()
    other.queue_declare(queue)
    for end in [lambda channel: channel.close(), lambda channel: channel.connection.close()]:
        channel = transaction(client)
        fill(channel, queue, b"m")
        end(channel)
        equal(ready(other, queue), 0)


@check("A5.5 rollback: what was acked is unacked, and can be acked again")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    fill(channel, queue, b"1", b"2")
    holds(channel, queue, 2)
    channel.tx_select()
    first, second = get(channel, queue), get(channel, queue)
    channel.basic_ack(first.tag)
    channel.basic_ack(second.tag)
    channel.tx_rollback()
    # It is not requeued, either.
    equal(ready(channel, queue), 0)
    channel.basic_ack(second.tag)
    channel.tx_commit()
    channel.close()
    equal(drain(client.channel(), queue), [b"1"])


@check("A5.5 rollback, then multiple: in the order of the tags")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    fill(channel, queue, b"1", b"2", b"3")
    holds(channel, queue, 3)
    channel.tx_select()
    tags = [get(channel, queue).tag for _ in range(3)]
    channel.basic_ack(tags[1])
    channel.basic_nack(tags[0], requeue=True)
    channel.tx_rollback()
    channel.basic_ack(tags[1], multiple=True)
    channel.tx_commit()
    channel.close()
    equal(drain(client.channel(), queue), [b"3"])


@check("A5.5 rejects come with the commit: dead letters and requeues")
def _(client):
    channel = client.channel()
    queue, dead = client.name("q"), client.name("dead")
    channel.queue_declare(dead)
    channel.queue_declare(queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    fill(channel, queue, b"1", b"2", b"3")
    holds(channel, queue, 3)
    channel.tx_select()
    tags = [get(channel, queue).tag for _ in range(3)]
    channel.basic_reject(tags[0], requeue=False)
    channel.basic_nack(tags[1], requeue=True)
    channel.basic_ack(tags[2])
    equal([ready(channel, name) for name in (queue, dead)], [0, 0])
    channel.tx_commit()
    holds(channel, dead, 1)
    holds(channel, queue, 1)
    message = get(channel, queue)
    equal((message.body, message.redelivered), (b"2", True))
    equal(drain(channel, dead), [b"1"])


@check("A5.5 a tag is acked once, commit or not")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, b"1")
    holds(channel, queue, 1)
    channel.tx_select()
    tag = get(channel, queue).tag
    channel.basic_ack(tag)
    channel.basic_ack(tag)
    with refused(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}"):
        channel.tx_commit()


@check("A5.5 mandatory and unroutable: returned at the commit")
def _(client):
    channel = transaction(client)
    returned = []
    channel.add_on_return_callback(lambda _channel, method, _properties, body: returned.append((method, body)))
    for number in range(3):
        channel.basic_publish("", client.name("none"), b"%d" % number, mandatory=True)
    channel.connection.sleep(0.3)
    equal(returned, [])
    channel.tx_commit()
    wait(channel.connection, lambda: len(returned) == 3, "return")
    equal([(method.reply_code, body) for method, body in returned], [(312, b"0"), (312, b"1"), (312, b"2")])


@check("A5.5 mandatory and unroutable, rolled back: not returned")
def _(client):
    channel = transaction(client)
    returned = []
    channel.add_on_return_callback(lambda *what: returned.append(what))
    channel.basic_publish("", client.name("none"), b"m", mandatory=True)
    channel.tx_rollback()
    channel.tx_commit()
    channel.connection.sleep(0.3)
    equal(returned, [])


@check("A5.5 a missing exchange is refused at the publish")
def _(client):
    channel = transaction(client)
    queue, exchange = client.name("q"), client.name("none")
    channel.queue_declare(queue)
    fill(channel, queue, b"m")
    with refused(404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"):
        channel.basic_publish(exchange, "k", b"m")
        ready(channel, queue)
    equal(ready(client.channel(), queue), 0)


@check("A5.5 routes are those of the commit")
def _(client):
    channel, other = transaction(client), client.channel()
    queue, exchange = client.name("q"), client.name("x")
    channel.exchange_declare(exchange, "direct")
    channel.queue_declare(queue)
    channel.basic_publish(exchange, "k", b"m")
    # The publish has been taken before the binding comes.
    ready(channel, queue)
    other.queue_bind(queue, exchange, "k")
    channel.tx_commit()
    # 3.10 and 4.x route at the publish; later is as good, since nothing is in a queue before the commit.
    assert drain(channel, queue) in ([], [b"m"])


@check("A5.5 prefetch counts what is acked and not committed")
def _(client):
    channel = client.channel()
    queue = client.name("q")
    channel.queue_declare(queue)
    fill(channel, queue, b"1", b"2")
    holds(channel, queue, 2)
    channel.tx_select()
    channel.basic_qos(prefetch_count=1)
    consumer = Consumer(channel, queue)
    channel.basic_ack(consumer.take(1)[0].tag)
    channel.tx_commit()
    equal(consumer.bodies(), [b"2"])


@check("A5.5 A6.2 a commit gives back the channel's shared prefetch")
def _(client):
    channel = client.channel()
    first, second = client.name("q"), client.name("q")
    for queue in (first, second):
        channel.queue_declare(queue)
        fill(channel, queue, b"m")
        holds(channel, queue, 1)
    channel.tx_select()
    channel.basic_qos(prefetch_count=1, global_qos=True)
    consumers = [Consumer(channel, queue) for queue in (first, second)]
    held = consumers[0].take(1)[0]
    consumers[1].nothing()
    channel.basic_ack(held.tag)
    channel.tx_commit()
    equal(consumers[1].bodies(), [b"m"])


@check("A5.5 ack and publish in one: moved from queue to queue")
def _(client):
    channel = client.channel(confirms=True)
    source, target = client.name("source"), client.name("target")
    for queue in (source, target):
        channel.queue_declare(queue, durable=True)
    bodies = [b"%d" % number for number in range(100)]
    fill(channel, source, *bodies, delivery_mode=2)
    mover = transaction(client)
    consumer = Consumer(mover, source)
    for _ in range(10):
        for delivery in consumer.take(10):
            mover.basic_publish("", target, delivery.body, pika.BasicProperties(delivery_mode=2))
            mover.basic_ack(delivery.tag)
        mover.tx_commit()
    mover.connection.close()
    equal((drain(channel, source), drain(channel, target)), ([], bodies))


@check("A5.5 tx.select twice is ok, and an empty commit and rollback")
def _(client):
    channel = transaction(client)
    channel.tx_select()
    channel.tx_commit()
    channel.tx_rollback()


@check("A2 tx and confirm exclude each other")
def _(client):
    channel = client.channel()
    channel.tx_select()
    with refused(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode"):
        channel.confirm_delivery()
    channel = client.channel(confirms=True)
    with refused(406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode"):
        channel.tx_select()


@check("A2 commit and rollback without select are 406")
def _(client):
    with refused(406, "PRECONDITION_FAILED - channel is not transactional"):
        client.channel().tx_commit()
    with refused(406, "PRECONDITION_FAILED - channel is not transactional"):
        client.channel().tx_rollback()


@check("A2 a commit that a queue rejects is 406")
def _(client):
    channel = transaction(client)
    full, other = client.name("full"), client.name("other")
    channel.queue_declare(full, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    channel.queue_declare(other)
    fill(channel, full, b"m")
    fill(channel, other, b"m")
    with refused(406, "PRECONDITION_FAILED - partial tx completion"):
        channel.tx_commit()
    holds(client.channel(), other, 1)


main()
