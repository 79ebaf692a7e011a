"""Tasks of all kinds with one worker of two processes, results by rpc://."""

import datetime
import signal
import sys
import threading
import time

import lab
from celery import chain, group
from celery.exceptions import TaskRevokedError
from check import check, equal, main, unique
from lab import LIMIT, eventually, noted, notes, reset

jobs = lab.load()


def result(answer):
    return answer.get(timeout=LIMIT)


@check("celery: a task's result comes back")
def results():
    equal(result(jobs.add.delay(1, 2)), 3)
    answer = jobs.add.delay("a", "b")
    equal((result(answer), answer.state, answer.successful()), ("ab", "SUCCESS", True))


@check("celery: a failure comes back as it was raised")
def failure():
    answer = jobs.fail.delay("broken ☃")
    try:
        result(answer)
    except ValueError as error:
        equal(str(error), "broken ☃")
        equal(answer.state, "FAILURE")
        return
    raise AssertionError("it did not fail")


@check("celery: a group's results, in order")
def groups():
    answer = group(jobs.add.s(n, n) for n in range(30)).apply_async()
    equal(answer.get(timeout=LIMIT), [2 * n for n in range(30)])


@check("celery: a chain hands results on")
def chains():
    equal(result(chain(jobs.add.s(1, 2), jobs.add.s(3), jobs.add.s(4))()), 10)


@check("celery: callbacks and errbacks")
def callbacks():
    reset(jobs)
    result(jobs.add.apply_async((1, 2), link=jobs.mark.si("linked")))
    noted(jobs, "linked")
    jobs.fail.apply_async(("x",), link_error=jobs.mark.si("error"))
    noted(jobs, "linked", "error")


@check("celery: states on the way come back in order")
def states():
    answer = jobs.progress.delay()
    seen = []
    equal(answer.get(timeout=LIMIT, on_message=seen.append), "all")
    # Late results of other tasks come here too.
    equal([meta["status"] for meta in seen if meta["task_id"] == answer.id], ["PROGRESS", "SUCCESS"])


@check("celery: a task sees its message")
def message():
    got = result(jobs.request.apply_async(priority=4, headers={"tenant": "a", "n": 1}))
    wanted = dict(exchange="", routing_key=jobs.NAME, priority=4, redelivered=False, correlation_id=True)
    headers = got.pop("headers") or {}
    equal({key: headers.get(key) for key in ("tenant", "n")}, {"tenant": "a", "n": 1})
    # A queue and an exchange of its own name: by which of them it came is celery's choice.
    wanted["exchange"] = got["exchange"]
    equal(got, wanted)


@check("celery: countdowns and ETAs, the last first")
def countdowns():
    reset(jobs)
    begun = time.time()
    for seconds in (1.2, 0.8, 0.4):
        jobs.when.apply_async((seconds,), countdown=seconds)
    eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.6)
    jobs.when.apply_async((1.6,), eta=eta)
    # They are out of the queue at once, beyond the two a worker prefetches.
    eventually(lambda: len(notes(jobs)) == 4, "four tasks ran")
    ran = [(float(text), float(at)) for text, at in (line.split() for line in notes(jobs))]
    equal([text for text, _ in ran], [0.4, 0.8, 1.2, 1.6])
    for seconds, at in ran:
        if at - begun < seconds - 0.1:
            raise AssertionError(f"{seconds} s were over after {at - begun:.2f} s")


@check("celery: what waits for its ETA takes no room from other tasks")
def etas_aside():
    held = [jobs.mark.apply_async((f"eta {n}",), countdown=600) for n in range(6)]
    equal([result(jobs.add.delay(n, 1)) for n in range(5)], [1, 2, 3, 4, 5])
    jobs.app.control.revoke([answer.id for answer in held])
    equal(scheduled(6), 6)


def scheduled(count):
    def waiting():
        replies = jobs.app.control.inspect(timeout=LIMIT, limit=1).scheduled() or {}
        return sum(len(tasks) for tasks in replies.values()) == count

    eventually(waiting, f"{count} tasks are scheduled")
    return count


@check("celery: retries until it works, and until it is given up")
def retries():
    reset(jobs)
    equal(result(jobs.flaky.delay(3)), 3)
    answer = jobs.hopeless.delay()
    try:
        result(answer)
    except KeyError:
        pass
    else:
        raise AssertionError("it did not fail")
    equal(notes(jobs), ["hopeless 0", "hopeless 1"])


@check("celery: a task that expired is not run")
def expires():
    answer = jobs.mark.apply_async(("expired",), expires=-1)
    try:
        result(answer)
    except TaskRevokedError:
        return
    raise AssertionError("it ran")


@check("celery: a task refused by itself is dropped")
def rejects():
    jobs.refuse.delay()
    equal(result(jobs.add.delay(1, 1)), 2)
    eventually(lambda: lab.depth(jobs) == 0, "the queue is empty")


@check("celery: a task that kills its process is run again by another")
def lost():
    equal(result(jobs.die_once.delay()), "survived")


@check("celery: workers answer ping, inspection and control")
def control():
    equal(jobs.app.control.ping(timeout=LIMIT, limit=1), [{worker.name: {"ok": "pong"}}])
    inspect = jobs.app.control.inspect([worker.name], timeout=LIMIT)
    queues = inspect.active_queues()[worker.name]
    equal(sorted(queue["name"] for queue in queues), [jobs.NAME, f"{jobs.NAME}.late"])
    equal("jobs.add" in inspect.registered()[worker.name], True)
    equal(inspect.stats()[worker.name]["broker"]["transport"], "amqp")


@check("celery: a worker takes up another queue and leaves it")
def more_queues():
    reset(jobs)
    name = unique("more")
    options = dict(destination=[worker.name], reply=True, timeout=LIMIT)
    jobs.app.control.add_consumer(name, **options)
    try:
        equal(result(jobs.add.apply_async((4, 5), queue=name)), 9)
        jobs.app.control.cancel_consumer(name, **options)
        # The worker answers before it has cancelled.
        with jobs.app.connection() as connection:
            channel = connection.channel()
            left = lambda: channel.queue_declare(name, passive=True).consumer_count == 0  # noqa: E731
            eventually(left, "nobody consumes from it")
    finally:
        with jobs.app.connection() as connection:
            connection.channel().queue_delete(name)
            connection.channel().exchange_delete(name)


@check("celery: a task that runs is stopped from outside")
def revoked():
    reset(jobs)
    answer = jobs.hold.delay("held")
    noted(jobs, "held begins first")
    answer.revoke(terminate=True, signal=signal.SIGTERM)
    try:
        result(answer)
    except TaskRevokedError:
        equal(result(jobs.add.delay(2, 2)), 4)
        return
    raise AssertionError("it went on")


@check("celery: events of a task reach who listens")
def events():
    kinds = []
    listening = threading.Event()
    failed = []

    def on_event(event):
        if event["type"].startswith("task-") and event["uuid"] == wanted:
            kinds.append(event["type"])
            if event["type"] == "task-succeeded":
                receiver.should_stop = True
        elif event["type"] == "worker-heartbeat":
            listening.set()

    def listen():
        try:
            receiver.capture(limit=None, timeout=LIMIT, wakeup=False)
        except Exception as error:
            failed.append(error)
            listening.set()

    wanted = unique("task")
    with jobs.app.connection() as connection:
        receiver = jobs.app.events.Receiver(connection, handlers={"*": on_event})
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        listening.wait(LIMIT)
        equal(failed, [])
        equal(jobs.add.apply_async((1, 1), task_id=wanted).get(timeout=LIMIT), 2)
        thread.join(LIMIT)
        receiver.should_stop = True
    equal(failed, [])
    equal(kinds, ["task-received", "task-started", "task-succeeded"])


@check("celery: two hundred tasks at once")
def many():
    answers = [jobs.add.delay(n, 1) for n in range(200)]
    equal([result(answer) for answer in answers], [n + 1 for n in range(200)])


@check("celery: an idle worker ends at SIGTERM")
def ends():
    worker.terminate()
    worker.gone()


worker = lab.Worker(jobs, "two", "--pool=prefork", "--concurrency=2", "-E", "--heartbeat-interval=1")
try:
    with worker:
        main()
except Exception as error:
    print(f"not ok celery: a worker of two processes: {' '.join(str(error).split())}", flush=True)
    sys.exit(1)
finally:
    lab.clean(jobs)
