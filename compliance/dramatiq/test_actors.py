"""Actors, with workers as processes of their own: delays, retries, dead letters, priorities, workers that end and die."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pika
from check import URI, check, equal, main, unique

os.environ["COMPLIANCE_NAME"] = unique("dramatiq")
os.environ["COMPLIANCE_FOLDER"] = tempfile.mkdtemp(prefix="compliance-")

# So often a worker looks whether it is to end, and so soon it consumes again after a refusal; in milliseconds.
os.environ["dramatiq_worker_timeout"] = "100"
os.environ["dramatiq_restart_delay"] = "200"

import dramatiq  # noqa: E402
import jobs  # noqa: E402

# Long for what must come, short for what must not.
LIMIT = 30
QUIET = 0.3


def eventually(holds, what):
    end = time.monotonic() + LIMIT
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"never: {what}; noted {notes()[-10:]}")
        time.sleep(0.02)


def fresh():
    """A start without notes, without messages that an earlier check left behind."""
    for name in ("notes", "go"):
        (jobs.FOLDER / name).unlink(missing_ok=True)
    for queue in jobs.QUEUES:
        jobs.broker.declare_queue(queue, ensure=True)
        jobs.broker.flush(queue)


def notes():
    with contextlib.suppress(FileNotFoundError):
        return (jobs.FOLDER / "notes").read_text().split("\n")[:-1]
    return []


def noted(*lines):
    """Waits until these lines, and no others, are noted in this order."""
    eventually(lambda: len(notes()) >= len(lines), f"{len(lines)} notes")
    equal(notes(), list(lines))


def counts(queue):
    """How many messages are ready in a queue, among those that wait for their time, among the dead."""
    return jobs.broker.get_queue_message_counts(queue)


class Worker:
    """A dramatiq worker of one process, from the start of the `with` to its end."""

    def __init__(self, name, *options, **environment):
        self._log = jobs.FOLDER / f"{name}.log"
        self._options = options
        self._environment = environment

    def __enter__(self):
        with open(self._log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dramatiq", "jobs", "--processes=1", *self._options],
                cwd=pathlib.Path(__file__).parent,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: its children can be killed with it.
                start_new_session=True,
            )
        return self

    def log(self):
        return self._log.read_text()

    def end(self):
        """An orderly end: actors that run are let finish."""
        self.process.send_signal(signal.SIGTERM)

    def gone(self):
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the worker does not end: {self.log()[-400:]}") from None
        if code != 0:
            raise ChildProcessError(f"the worker ended with {code}: {self.log()[-400:]}")

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT)

    def __exit__(self, kind, error, _trace):
        self.kill()
        if error and not isinstance(error, SystemExit):
            print(f"# the worker's log ends: {' '.join(self.log()[-600:].split())}", flush=True)


@check("dramatiq: messages, pipelines and a queue that empties")
def messages():
    fresh()
    for n in range(100):
        jobs.mark.send(n)
    eventually(lambda: len(notes()) == 100, "a hundred ran")
    equal(sorted(int(line) for line in notes()), list(range(100)))
    dramatiq.pipeline([jobs.add.message(1, 2), jobs.add.message(3), jobs.add.message(4)]).run()
    eventually(lambda: len(notes()) == 103, "three more ran")
    equal(notes()[100:], ["sum 3", "sum 6", "sum 10"])
    jobs.broker.join(jobs.NAME, timeout=LIMIT * 1000)
    equal(counts(jobs.NAME), (0, 0, 0))


@check("dramatiq: delays, the longest sent first")
def delays():
    fresh()
    begun = time.time()
    for milliseconds in (1500, 1000, 500):
        jobs.when.send_with_options(args=(milliseconds,), delay=milliseconds)
    jobs.when.send(0)
    eventually(lambda: len(notes()) == 4, "four ran")
    ran = [(int(text), float(at)) for text, at in map(str.split, notes())]
    equal([text for text, _ in ran], [0, 500, 1000, 1500])
    for milliseconds, at in ran:
        if at - begun < milliseconds / 1000 - 0.1:
            raise AssertionError(f"{milliseconds} ms were over after {at - begun:.2f} s")
    jobs.broker.join(jobs.NAME, timeout=LIMIT * 1000)


@check("dramatiq: retries with more time between them each time")
def retries():
    fresh()
    jobs.flaky.send("good", 2)
    eventually(lambda: len(notes()) == 3, "three attempts")
    times = [float(line.split()[2]) for line in notes()]
    equal([line.split()[1] for line in notes()], ["0", "1", "2"])
    if times[1] - times[0] < 0.04 or times[2] - times[1] < 0.09:
        raise AssertionError(f"too early: {times}")
    eventually(lambda: counts(jobs.NAME) == (0, 0, 0), "nothing is left")


@check("dramatiq: what fails for good is a dead letter, with its death")
def dead_letters():
    fresh()
    jobs.flaky.send("bad", 9)
    jobs.fail.send("at once")
    eventually(lambda: counts(jobs.NAME) == (0, 0, 2), "two are dead")
    dead = []
    with pika.BlockingConnection(pika.URLParameters(URI)) as connection:
        channel = connection.channel()
        for _ in range(2):
            method, properties, body = channel.basic_get(f"{jobs.NAME}.XQ", auto_ack=True)
            death = properties.headers["x-death"][0]
            dead.append((dramatiq.Message.decode(body).args[0], death["queue"], death["reason"], death["count"]))
    equal(sorted(dead), [(text, jobs.NAME, "rejected", 1) for text in ("at once", "bad")])
    equal(len(notes()), 4)


@check("dramatiq: a worker whose queue is deleted goes on with the next one")
def deleted():
    fresh()
    jobs.mark.send("before")
    noted("before")
    # The consumer's queue goes away; the worker makes it again.
    jobs.broker.channel.queue_delete(jobs.NAME)
    jobs.mark.send("after")
    noted("before", "after")


@check("dramatiq: an idle worker ends at SIGTERM")
def idle():
    shared.end()
    shared.gone()


@check("dramatiq: priorities of the broker order what waits")
def priorities():
    fresh()
    for n, priority in enumerate((0, 5, 9, None, 5, 10)):
        options = {} if priority is None else {"broker_priority": priority}
        jobs.ranked.send_with_options(args=(n,), **options)
    equal(counts(f"{jobs.NAME}-ranked")[0], 6)
    # One at a time, so that the order is the queue's.
    with Worker("priorities", "--threads=1", f"--queues={jobs.NAME}-ranked", dramatiq_queue_prefetch="1"):
        noted("5", "2", "1", "4", "0", "3")


@check("dramatiq: a worker that ends gives back what it has not begun")
def ends():
    fresh()
    for n in range(6):
        jobs.held.send(n)
    jobs.held.send_with_options(args=("later",), delay=600_000)
    with Worker("ends", "--threads=1", dramatiq_queue_prefetch="4") as worker:
        eventually(lambda: notes() == ["0 begins"], "one runs")
        eventually(lambda: counts(f"{jobs.NAME}-held") == (2, 0, 0), "four are with the worker, and the late one")
        worker.end()
        eventually(lambda: "Shutting down..." in worker.log(), "the worker is about to end")
        time.sleep(QUIET)
        (jobs.FOLDER / "go").touch()
        worker.gone()
    equal(notes(), ["0 begins", "0 ends"])
    eventually(lambda: counts(f"{jobs.NAME}-held") == (5, 1, 0), "five are back, and the late one")


@check("dramatiq: a worker that is killed leaves all of it to the next")
def killed():
    fresh()
    for n in range(4):
        jobs.held.send(n)
    with Worker("killed", "--threads=2") as worker:
        eventually(lambda: len(notes()) == 2, "two run")
        worker.kill()
    eventually(lambda: counts(f"{jobs.NAME}-held") == (4, 0, 0), "four are back")
    (jobs.FOLDER / "notes").unlink()
    (jobs.FOLDER / "go").touch()
    with Worker("next", "--threads=1"):
        noted(*(f"{n} {what}" for n in range(4) for what in ("begins", "ends")))


@check("dramatiq: a queue that was deleted is there again for the next message")
def declared_again():
    fresh()
    jobs.broker.channel.queue_delete(jobs.NAME)
    jobs.mark.send("there")
    equal(counts(jobs.NAME)[0], 1)


# An end from outside must end the workers too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
# For the checks up to the one that ends it.
shared = Worker("shared", "--threads=4")
try:
    with shared:
        main()
finally:
    shutil.rmtree(jobs.FOLDER, ignore_errors=True)
    with pika.BlockingConnection(pika.URLParameters(URI)) as connection:
        channel = connection.channel()
        for queue in jobs.QUEUES:
            for suffix in ("", ".DQ", ".XQ"):
                channel.queue_delete(queue + suffix)
    jobs.broker.close()
