"""Services of nameko in one process: remote calls, events in all three ways, queues, a service that is killed."""

import warnings

warnings.simplefilter("ignore")

import eventlet  # noqa: E402

eventlet.monkey_patch()

import contextlib  # noqa: E402
import logging  # noqa: E402

from check import URI, check, equal, main, unique  # noqa: E402
from kombu import Connection, Exchange, Queue  # noqa: E402
from nameko.containers import ServiceContainer  # noqa: E402
from nameko.events import BROADCAST, SERVICE_POOL, SINGLETON, EventDispatcher, event_handler  # noqa: E402
from nameko.exceptions import RemoteError  # noqa: E402
from nameko.messaging import Publisher, consume  # noqa: E402
from nameko.rpc import RpcProxy, rpc  # noqa: E402
from nameko.standalone.events import event_dispatcher  # noqa: E402
from nameko.standalone.rpc import ClusterRpcProxy  # noqa: E402

# Faults are what some checks are about.
logging.disable(logging.CRITICAL)

CONFIG = {"AMQP_URI": URI, "max_workers": 10, "serializer": "json"}

# Long for what must come, short for what must not.
LIMIT = 30
QUIET = 0.3


@contextlib.contextmanager
def running(*services):
    containers = [ServiceContainer(service, config=CONFIG) for service in services]
    for container in containers:
        container.start()
    try:
        yield containers
    finally:
        for container in containers:
            container.stop()
        for container in containers:
            clean(container)


def clean(container):
    """Takes away what a service declared and leaves behind."""
    queues = [extension.queue for extension in container.extensions if getattr(extension, "queue", None)]
    with Connection(URI) as connection:
        for queue in queues:
            queue(connection.channel()).delete()
            if queue.exchange.name.startswith("compliance-"):
                queue.exchange(connection.channel()).delete()


def eventually(holds, what):
    with eventlet.Timeout(LIMIT, TimeoutError(f"never: {what}")):
        while not holds():
            eventlet.sleep(0.02)


@check("a remote call is answered, and many at once are")
def calls():
    class Sums:
        name = unique("sums")

        @rpc
        def add(self, a, b):
            return a + b

    with running(Sums), ClusterRpcProxy(CONFIG) as proxy:
        equal(proxy[Sums.name].add(20, 22), 42)
        pending = [proxy[Sums.name].add.call_async(n, n) for n in range(100)]
        equal([answer.result() for answer in reversed(pending)], [2 * n for n in reversed(range(100))])


@check("a fault on the other side comes back as one")
def faults():
    class Faulty:
        name = unique("faulty")

        @rpc
        def fail(self):
            raise ValueError("no such thing")

    with running(Faulty), ClusterRpcProxy(CONFIG) as proxy:
        try:
            proxy[Faulty.name].fail()
        except RemoteError as error:
            equal((error.exc_type, error.value), ("ValueError", "no such thing"))
        else:
            raise AssertionError("no fault")


@check("a service calls another one")
def chains():
    class Inner:
        name = unique("inner")

        @rpc
        def double(self, n):
            return 2 * n

    class Outer:
        name = unique("outer")
        inner = RpcProxy(Inner.name)

        @rpc
        def twice(self, n):
            return self.inner.double(self.inner.double(n))

    with running(Inner, Outer), ClusterRpcProxy(CONFIG) as proxy:
        equal(proxy[Outer.name].twice(3), 12)


@check("A3.4 an event goes to one of a pool, to each of a broadcast, to one singleton")
def events():
    source, noted = unique("source"), []

    def listener(kind, number, service, **options):
        class Listener:
            name = service

            @event_handler(source, "ping", handler_type=kind, reliable_delivery=kind != BROADCAST, **options)
            def heard(self, payload):
                noted.append((kind, number, payload))

        return Listener

    pool, once = unique("pool"), unique("once")
    listeners = [listener(SERVICE_POOL, n, pool) for n in range(2)]
    listeners += [listener(BROADCAST, n, unique("all")) for n in range(2)]
    listeners += [listener(SINGLETON, 0, once)]
    with running(*listeners):
        dispatch = event_dispatcher(CONFIG)
        for number in range(10):
            dispatch(source, "ping", number)
        eventually(lambda: len(noted) == 40, "10 events for a pool, two of all and a singleton")
        eventlet.sleep(QUIET)
    for kind, each in ((SERVICE_POOL, 1), (BROADCAST, 2), (SINGLETON, 1)):
        equal(sorted(payload for k, _, payload in noted if k == kind), sorted(list(range(10)) * each))


@check("A6.14 a message whose handler fails is tried again")
def retries():
    queue = Queue(unique("retried"), exchange=Exchange(unique("retried"), type="direct"), routing_key="k")
    tries = []

    class Trier:
        name = unique("trier")
        publish = Publisher(exchange=queue.exchange)

        @rpc
        def send(self, payload):
            self.publish(payload, routing_key="k")

        @consume(queue, requeue_on_error=True)
        def handle(self, payload):
            tries.append(payload)
            if len(tries) < 3:
                raise RuntimeError("again")

    with running(Trier), ClusterRpcProxy(CONFIG) as proxy:
        proxy[Trier.name].send("work")
        eventually(lambda: len(tries) == 3, "three tries")
        eventlet.sleep(QUIET)
    equal(tries, ["work"] * 3)


@check("A6.8 what a killed service was at goes to another")
def killed():
    queue = Queue(unique("passed-on"), exchange=Exchange(unique("passed-on"), type="direct"), routing_key="k")
    began, done = [], []

    def worker(hangs):
        class Worker:
            name = unique("worker")
            publish = Publisher(exchange=queue.exchange)

            @rpc
            def send(self, payload):
                self.publish(payload, routing_key="k")

            @consume(queue)
            def handle(self, payload):
                began.append(payload)
                if hangs:
                    eventlet.sleep(LIMIT)
                done.append(payload)

        return Worker

    first = ServiceContainer(worker(True), config=CONFIG)
    first.start()
    with ClusterRpcProxy(CONFIG) as proxy:
        proxy[first.service_cls.name].send("work")
        eventually(lambda: began == ["work"], "the first began")
        first.kill()
    with running(worker(False)):
        eventually(lambda: done == ["work"], "the second did it")


if __name__ == "__main__":
    main()
