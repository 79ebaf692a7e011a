"""Refusals: their codes, their texts, and what they leave standing."""

import pika
from client import (
    Consumer,
    answered,
    check,
    disconnected,
    drain,
    equal,
    fill,
    get,
    main,
    missing_exchange,
    missing_queue,
    refused,
    temporary,
)
from pika.exceptions import AMQPConnectionError, ProbableAuthenticationError

DEFAULT_EXCHANGE = "ACCESS_REFUSED - operation not permitted on the default exchange"


@check("A2 a channel error leaves the connection and its other channels")
def _(client):
    connection = client.connect()
    other = connection.channel()
    queue = temporary(other)
    consumer = Consumer(other, queue, auto_ack=True)
    failed = connection.channel()
    with missing_queue("compliance-none"):
        failed.queue_declare("compliance-none", passive=True)
    equal((failed.is_open, connection.is_open), (False, True))
    fill(connection.channel(), queue, b"m")
    equal(consumer.bodies(), [b"m"])


@check("A2 a channel error requeues what the channel held")
def _(client):
    connection = client.connect()
    queue = temporary(connection.channel())
    failed = connection.channel()
    fill(failed, queue, b"1", b"2")
    get(failed, queue)
    with missing_queue("compliance-none"):
        failed.queue_declare("compliance-none", passive=True)
    equal(drain(connection.channel(), queue), [b"1", b"2"])


@check("A2 a missing exchange: publish, bind, passive")
def _(client):
    connection = client.connect()
    queue = temporary(connection.channel())
    name = client.name("x")

    def publish(channel):
        channel.basic_publish(name, "k", b"m")
        answered(channel, queue)

    def publish_confirmed(channel):
        channel.confirm_delivery()
        channel.basic_publish(name, "k", b"m")

    for use in [
        publish,
        publish_confirmed,
        lambda channel: channel.queue_bind(queue, name),
        lambda channel: channel.exchange_bind("amq.fanout", name),
        lambda channel: channel.exchange_bind(name, "amq.fanout"),
        lambda channel: channel.exchange_declare(name, passive=True),
    ]:
        with missing_exchange(name):
            use(connection.channel())
    channel = connection.channel()
    channel.queue_unbind(queue, name)
    channel.exchange_unbind(name, "amq.fanout")
    channel.exchange_delete(name)


@check("A2 of two missing ends of a binding the source is told")
def _(client):
    connection = client.connect()
    for use in [
        lambda channel: channel.queue_bind("compliance-target", "compliance-source", "k"),
        lambda channel: channel.exchange_bind("compliance-target", "compliance-source", "k"),
    ]:
        with missing_exchange("compliance-source"):
            use(connection.channel())


@check("A2 the default exchange is not to be touched")
def _(client):
    connection = client.connect()
    queue = temporary(connection.channel())
    for use in [
        lambda channel: channel.exchange_declare("", "direct", durable=True),
        lambda channel: channel.exchange_declare("", "direct", passive=True),
        lambda channel: channel.exchange_delete(""),
        lambda channel: channel.queue_bind(queue, "", "k"),
        lambda channel: channel.queue_unbind(queue, "", queue),
        lambda channel: channel.exchange_bind("amq.fanout", ""),
        lambda channel: channel.exchange_bind("", "amq.fanout"),
        lambda channel: channel.exchange_unbind("amq.fanout", ""),
    ]:
        with refused(403, DEFAULT_EXCHANGE):
            use(connection.channel())


@check("A2 system exchanges and reserved names")
def _(client):
    connection = client.connect()
    # Whether it is there or not.
    for name in ["amq.direct", "amq.rabbitmq.trace", "amq.none"]:
        with refused(403, f"ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '/' not allowed"):
            connection.channel().exchange_delete(name)
    with refused(403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'"):
        connection.channel().exchange_declare("amq.mine", "direct")
    text = (
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': "
        "received 'fanout' but current is 'direct'"
    )
    with refused(406, text):
        connection.channel().exchange_declare("amq.direct", "fanout", durable=True)


@check("A2 unknown exchange type")
def _(client):
    # 3.x closes the connection with 503, 4.x the channel with 406.
    text = "unknown exchange type 'compliance-none'"
    channel = client.channel()
    try:
        with disconnected(503, f"COMMAND_INVALID - {text}"):
            channel.exchange_declare(client.name("x"), "compliance-none")
    except pika.exceptions.ChannelClosedByBroker as closed:
        equal((closed.reply_code, closed.reply_text), (406, f"PRECONDITION_FAILED - {text}"))


@check("A2 unknown delivery tags")
def _(client):
    connection = client.connect()
    queue = temporary(connection.channel())
    for settle in [
        lambda channel: channel.basic_ack(7),
        lambda channel: channel.basic_ack(7, multiple=True),
        lambda channel: channel.basic_nack(7),
        lambda channel: channel.basic_reject(7),
    ]:
        with refused(406, "PRECONDITION_FAILED - unknown delivery tag 7"):
            channel = connection.channel()
            settle(channel)
            answered(channel, queue)
    for settle in [lambda channel: channel.basic_ack(0), lambda channel: channel.basic_reject(0)]:
        with refused(406, "PRECONDITION_FAILED - unknown delivery tag 0"):
            channel = connection.channel()
            settle(channel)
            answered(channel, queue)


@check("A2 a delivery tag is acked once")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, b"m")
    tag = get(channel, queue).tag
    channel.basic_ack(tag)
    with refused(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}"):
        channel.basic_ack(tag)
        answered(channel, queue)


@check("A2 invalid argument values")
def _(client):
    connection = client.connect()
    queue = client.name("q")
    text = f"PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue '{queue}' in vhost '/': "
    cases = [
        (-1, "{value_negative,-1}"),
        (256, "{max_value_exceeded,256}"),
        ("x", '"expected integer, got longstr"'),
        (True, '"expected integer, got bool"'),
    ]
    for value, reason in cases:
        with refused(406, text + reason):
            connection.channel().queue_declare(queue, arguments={"x-max-priority": value})
    channel = connection.channel()
    for value in (0, 255):
        temporary(channel, arguments={"x-max-priority": value})


@check("A3.18 a CC or BCC header that is no array is 406")
def _(client):
    connection = client.connect()
    for name, value, kind in [("CC", "k", "longstr"), ("BCC", 1, "signedint")]:
        text = f'PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,"{name}",{kind}}}'
        channel = connection.channel()
        queue = temporary(channel)
        with refused(406, text):
            fill(channel, queue, b"m", headers={name: value})
            answered(channel, queue)


@check("A5.6 user-id must be the user's name")
def _(client):
    channel = client.channel()
    queue = temporary(channel)
    fill(channel, queue, b"m", user_id="guest")
    equal(get(channel, queue).properties.user_id, "guest")
    text = "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'"
    with refused(406, text):
        fill(channel, queue, b"m", user_id="somebody")
        answered(channel, queue)


@check("A2 what is not implemented ends the connection with 540")
def _(client):
    cases = [
        (lambda channel: channel.basic_qos(prefetch_size=9), "prefetch_size!=0 (9)"),
        (lambda channel: channel.basic_recover(requeue=False), "requeue=false"),
        (lambda channel: channel.flow(active=False), "active=false"),
    ]
    for use, text in cases:
        channel = client.channel()
        with disconnected(540, f"NOT_IMPLEMENTED - {text}"):
            use(channel)


@check("A1.19 channel.flow active=true is answered")
def _(client):
    equal(client.channel().flow(active=True), True)


@check("A1.14 wrong password: 403 and the text")
def _(client):
    for user, password in [("guest", "wrong"), ("nobody", "guest")]:
        try:
            client.connect(credentials=pika.PlainCredentials(user, password))
        except ProbableAuthenticationError as error:
            closed = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the "
            assert f"(403) {closed!r}"[:-1] in str(error), f"refused with {error}"
        else:
            raise AssertionError("accepted")


@check("A2 unknown vhost: 530")
def _(client):
    try:
        client.connect(virtual_host="none")
    except AMQPConnectionError as error:
        assert "530" in str(error) and "NOT_ALLOWED - vhost none not found" in str(error), f"refused with {error}"
    else:
        raise AssertionError("accepted")


main()
