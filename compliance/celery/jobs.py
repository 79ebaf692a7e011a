"""The application of the celery checks: its settings and tasks, for the program that asks and for workers alike.

The program names the queues by COMPLIANCE_NAME, and has tasks write down what they did in COMPLIANCE_FOLDER.
"""

import os
import pathlib
import time

import celery
from kombu import Exchange, Queue

NAME = os.environ["COMPLIANCE_NAME"]
FOLDER = pathlib.Path(os.environ["COMPLIANCE_FOLDER"])
# No task waits for longer.
LIMIT = 30

app = celery.Celery("jobs", broker=os.environ["WARREN_URI"], backend=os.environ.get("COMPLIANCE_BACKEND", "rpc://"))
app.conf.update(
    task_default_queue=NAME,
    task_queues=[
        Queue(NAME, Exchange(NAME), NAME),
        Queue(f"{NAME}.late", Exchange(NAME), f"{NAME}.late", queue_arguments={"x-max-priority": 10}),
    ],
    control_exchange=f"{NAME}.control",
    event_exchange=f"{NAME}.events",
    event_queue_prefix=f"{NAME}.events",
    worker_prefetch_multiplier=1,
    result_persistent=False,
    result_expires=60,
    broker_connection_retry_on_startup=False,
    worker_enable_remote_control=True,
    worker_hijack_root_logger=True,
)


def note(text):
    """A line in the list of what tasks did."""
    with open(FOLDER / "notes", "a") as notes:
        notes.write(f"{text}\n")


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def flaky(self, times):
    """Succeeds after so many failures."""
    if self.request.retries < times:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task(bind=True, autoretry_for=(KeyError,), retry_backoff=True, retry_jitter=False, max_retries=1)
def hopeless(self):
    note(f"hopeless {self.request.retries}")
    raise KeyError("gone")


@app.task(bind=True)
def request(self):
    """What the worker knows of the message."""
    info = self.request.delivery_info
    return {
        "exchange": info["exchange"],
        "routing_key": info["routing_key"],
        "priority": info["priority"],
        "redelivered": info["redelivered"],
        "headers": self.request.headers,
        "correlation_id": self.request.correlation_id == self.request.id,
    }


@app.task(bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    return "all"


@app.task
def mark(text):
    note(text)


@app.task
def when(text):
    """Its own time of run."""
    note(f"{text} {time.time()}")


@app.task(bind=True, acks_late=True, queue=f"{NAME}.late")
def late(self, text):
    note(f"{text} {'again' if self.request.delivery_info['redelivered'] else 'first'}")


def _hold(self, text):
    """Notes its begin, waits for the file `go`, notes its end."""
    note(f"{text} begins {'again' if self.request.delivery_info['redelivered'] else 'first'}")
    end = time.monotonic() + LIMIT
    while not (FOLDER / "go").exists():
        if time.monotonic() > end:
            raise TimeoutError("never let go")
        time.sleep(0.02)
    note(f"{text} ends")


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True, queue=f"{NAME}.late")
def hold_late(self, text):
    _hold(self, text)


@app.task(bind=True)
def hold(self, text):
    _hold(self, text)


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True, queue=f"{NAME}.late")
def die_once(self):
    """Takes its process with it, the first time."""
    if not self.request.delivery_info["redelivered"]:
        os._exit(9)
    return "survived"


@app.task
def refuse():
    raise celery.exceptions.Reject("not this one", requeue=False)
