"""Direct reply-to: requests and replies without a queue."""

import pika
from client import Consumer, check, equal, fill, get, main, missing_queue, ready, refused, temporary

REPLY_TO = "amq.rabbitmq.reply-to"


def requester(client):
    """A channel that takes replies, and their consumer."""
    channel = client.channel()
    return channel, Consumer(channel, REPLY_TO, auto_ack=True)


def request(channel, queue, body, **properties):
    channel.basic_publish("", queue, body, pika.BasicProperties(reply_to=REPLY_TO, **properties))


def reply(channel, asked, body, **properties):
    channel.basic_publish("", asked.properties.reply_to, body, pika.BasicProperties(**properties))


@check("A7.12 request and reply, with its properties")
def _(client):
    server = client.channel()
    queue = temporary(server)
    asking, replies = requester(client)
    requests = Consumer(server, queue, auto_ack=True)
    request(asking, queue, b"question", correlation_id="1")
    asked = requests.take(1)[0]
    assert asked.properties.reply_to.startswith(REPLY_TO + "."), asked.properties.reply_to
    reply(server, asked, b"answer", correlation_id=asked.properties.correlation_id, headers={"a": 1})
    answer = replies.take(1)[0]
    properties = answer.properties
    equal((answer.body, properties.correlation_id, properties.headers), (b"answer", "1", {"a": 1}))
    equal((answer.exchange, answer.routing_key, answer.redelivered), ("", asked.properties.reply_to, False))


@check("A7.12 1,000 requests by 5 requesters: each gets its own replies, in order")
def _(client):
    server = client.channel()
    queue = temporary(server)
    requests = Consumer(server, queue, auto_ack=True)
    asking = [requester(client) for _ in range(5)]
    for number in range(200):
        for who, (channel, _replies) in enumerate(asking):
            request(channel, queue, b"%d %d" % (who, number))
    for asked in requests.take(1000):
        reply(server, asked, asked.body)
    for who, (_channel, replies) in enumerate(asking):
        equal(replies.bodies(200), [b"%d %d" % (who, number) for number in range(200)])


@check("A7.12 the name may be used again and again, on other connections")
def _(client):
    server = client.channel()
    queue = temporary(server)
    asking, replies = requester(client)
    request(asking, queue, b"m")
    asked = Consumer(server, queue, auto_ack=True).take(1)[0]
    for turn in range(3):
        reply(client.channel(), asked, b"%d" % turn)
        equal(replies.bodies(), [b"%d" % turn])


@check("A7.12 replies of every size")
def _(client):
    server = client.channel()
    queue = temporary(server)
    asking, replies = requester(client)
    request(asking, queue, b"m")
    asked = Consumer(server, queue, auto_ack=True).take(1)[0]
    for size in [0, 1, 200_000]:
        reply(server, asked, b"x" * size)
        equal(replies.bodies(), [b"x" * size])


@check("A7.12 without a consumer for replies no request is taken")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    with refused(406, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        request(channel, queue, b"m")
        ready(channel, queue)


@check("A7.12 the consumer must be the channel's own")
def _(client):
    channel, _replies = requester(client)
    second = channel.connection.channel()
    queue = temporary(second)
    with refused(406, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        request(second, queue, b"m")
        ready(second, queue)


@check("A7.12 replies cannot be acked")
def _(client):
    with refused(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"):
        client.channel().basic_consume(REPLY_TO, print, auto_ack=False)


@check("A7.12 one consumer for replies a channel")
def _(client):
    channel, _replies = requester(client)
    with refused(406, "PRECONDITION_FAILED - reply consumer already set"):
        channel.basic_consume(REPLY_TO, print, auto_ack=True)


@check("A7.12 after its cancel there may be another, under another name")
def _(client):
    server = client.channel()
    queue = temporary(server)
    requests = Consumer(server, queue, auto_ack=True)
    asking, replies = requester(client)
    request(asking, queue, b"1")
    first = requests.take(1)[0]
    asking.basic_cancel(replies.tag)
    with refused(406, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        request(asking, queue, b"m")
        ready(asking, REPLY_TO)
    # A reply that comes too late is dropped.
    reply(server, first, b"late")
    asking, replies = requester(client)
    request(asking, queue, b"2")
    second = requests.take(1)[0]
    reply(server, second, b"answer")
    equal(replies.bodies(), [b"answer"])
    replies.nothing()


@check("A7.12 a reply to one who is gone is dropped, and confirmed")
def _(client):
    server = client.channel(confirms=True)
    queue = temporary(server)
    requests = Consumer(server, queue, auto_ack=True)
    asking, _replies = requester(client)
    request(asking, queue, b"m")
    asked = requests.take(1)[0]
    reply(server, asked, b"in time")
    asking.connection.close()
    for body in [b"late", b"later"]:
        reply(server, asked, body)
    equal(ready(server, queue), 0)


@check("A7.12 declaring the general name")
def _(client):
    channel = client.channel()
    for passive in (True, False):
        declared = channel.queue_declare(REPLY_TO, passive=passive).method
        equal((declared.queue, declared.message_count, declared.consumer_count), (REPLY_TO, 0, 1))


@check("A7.12 a requester's own name is there as long as the requester")
def _(client):
    server = client.channel()
    queue = temporary(server)
    requests = Consumer(server, queue, auto_ack=True)
    asking, _replies = requester(client)
    request(asking, queue, b"m")
    own = requests.take(1)[0].properties.reply_to
    for passive in (True, False):
        declared = server.queue_declare(own, passive=passive).method
        equal((declared.queue, declared.message_count, declared.consumer_count), (own, 0, 1))
    asking.close()
    with missing_queue(own):
        client.channel().queue_declare(own, passive=True)


@check("A7.12 other replies-to are left alone")
def _(client):
    channel = client.channel(confirms=True)
    queue = temporary(channel)
    for name in ["mine", "amq.rabbitmq.reply-to.mine", ""]:
        fill(channel, queue, b"m", reply_to=name)
        equal(get(channel, queue, auto_ack=True).properties.reply_to, name)


@check("A7.12 the rest of a request's properties stays")
def _(client):
    asking, _replies = requester(client)
    queue = temporary(asking)
    request(
        asking, queue, b"m", content_type="t", priority=3, expiration="60000", message_id="id", headers={"a": [1, {}]}
    )
    properties = Consumer(asking, queue, auto_ack=True).take(1)[0].properties
    equal((properties.content_type, properties.priority, properties.expiration), ("t", 3, "60000"))
    equal((properties.message_id, properties.headers), ("id", {"a": [1, {}]}))


main()
