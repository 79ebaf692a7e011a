"""The actors of the dramatiq checks, for the program that sends and for workers alike.

The program names the queues by COMPLIANCE_NAME, and has actors write down what they did in COMPLIANCE_FOLDER.
"""

import os
import pathlib
import time

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import CurrentMessage

NAME = os.environ["COMPLIANCE_NAME"]
FOLDER = pathlib.Path(os.environ["COMPLIANCE_FOLDER"])
# No actor waits for longer.
LIMIT = 30
QUEUES = [NAME, f"{NAME}-held", f"{NAME}-ranked"]

broker = RabbitmqBroker(url=os.environ["WARREN_URI"], confirm_delivery=True, max_priority=10)
broker.add_middleware(CurrentMessage())
dramatiq.set_broker(broker)


def note(text):
    """A line in the list of what actors did."""
    with open(FOLDER / "notes", "a") as notes:
        notes.write(f"{text}\n")


@dramatiq.actor(queue_name=NAME)
def mark(text):
    note(text)


@dramatiq.actor(queue_name=NAME)
def when(text):
    """Its own time of run."""
    note(f"{text} {time.time()}")


@dramatiq.actor(queue_name=NAME, max_retries=3, min_backoff=50, max_backoff=400)
def flaky(text, times):
    retries = CurrentMessage.get_current_message().options.get("retries", 0)
    note(f"{text} {retries} {time.time()}")
    if retries < times:
        raise ValueError(text)


@dramatiq.actor(queue_name=NAME, max_retries=0)
def fail(text):
    raise ValueError(text)


@dramatiq.actor(queue_name=NAME)
def add(x, y):
    note(f"sum {x + y}")
    return x + y


@dramatiq.actor(queue_name=f"{NAME}-ranked")
def ranked(text):
    note(text)


@dramatiq.actor(queue_name=f"{NAME}-held")
def held(text):
    """Notes its begin, waits for the file `go`, notes its end."""
    note(f"{text} begins")
    end = time.monotonic() + LIMIT
    while not (FOLDER / "go").exists():
        if time.monotonic() > end:
            raise TimeoutError("never let go")
        time.sleep(0.02)
    note(f"{text} ends")
