"""Workers that end, die and lose their connection; priorities; chords. Workers of one process (`solo`) where one matters."""

import socket
import threading
import time
import urllib.parse

import lab
from celery import chord, group
from check import URI, check, equal, main
from lab import LIMIT, depth, eventually, fresh, go, noted, notes, reset

# rpc:// cannot do chords; a folder can.
jobs = lab.load(backend="file://FOLDER")


@check("celery: tasks run in the order of their priority")
def priorities():
    fresh(jobs)
    for n, priority in enumerate((0, 5, 9, None, 5, 10)):
        jobs.late.apply_async((n,), priority=priority)
    with lab.Worker(jobs, "priorities", "--pool=solo"):
        # They wait already, and a worker of one takes one at a time.
        noted(jobs, "5 first", "2 first", "1 first", "4 first", "0 first", "3 first")


@check("celery: a chord, with the results of its group")
def chords():
    with lab.Worker(jobs, "chords", "--pool=prefork", "--concurrency=2"):
        answer = chord(group(jobs.add.s(n, n) for n in range(10)))(jobs.total.s())
        equal(answer.get(timeout=LIMIT, interval=0.1), 90)


@check("celery: SIGTERM lets running tasks end and gives back the others")
def terminated():
    fresh(jobs)
    for n in range(4):
        jobs.hold_late.delay(f"task {n}")
    with lab.Worker(jobs, "ending", "--pool=prefork", "--concurrency=1", "--prefetch-multiplier=2") as worker:
        noted(jobs, "task 0 begins first")
        # One runs, one is prefetched.
        eventually(lambda: depth(jobs, ".late") == 2, "two of four are with the worker")
        worker.terminate()
        time.sleep(lab.QUIET)
        go(jobs)
        worker.gone()
    noted(jobs, "task 0 begins first", "task 0 ends")
    eventually(lambda: depth(jobs, ".late") == 3, "three of four are back")
    with lab.Worker(jobs, "next", "--pool=solo"):
        eventually(lambda: len(notes(jobs)) == 8, "the other three are run")
    lines = notes(jobs)
    # The prefetched one comes back marked, in its place.
    equal(lines[2], "task 1 begins again")
    equal([line for line in lines if "begins first" in line][1:], ["task 2 begins first", "task 3 begins first"])


@check("celery: SIGKILL gives back what was acknowledged late")
def killed_late():
    fresh(jobs)
    for n in range(3):
        jobs.hold_late.delay(f"task {n}")
    with lab.Worker(jobs, "killed", "--pool=prefork", "--concurrency=2") as worker:
        eventually(lambda: len(notes(jobs)) == 2, "two tasks run")
        worker.kill()
    eventually(lambda: depth(jobs, ".late") == 3, "three tasks are back")
    reset(jobs)
    go(jobs)
    with lab.Worker(jobs, "next", "--pool=solo"):
        eventually(lambda: len(notes(jobs)) == 6, "three tasks are run")
    begun = [line for line in notes(jobs) if "begins" in line]
    equal(begun[:2], ["task 0 begins again", "task 1 begins again"])
    equal(begun[2].startswith("task 2 begins"), True)


@check("celery: SIGKILL loses what was acknowledged early, and only that")
def killed_early():
    fresh(jobs)
    for n in range(3):
        jobs.hold.delay(f"task {n}")
    with lab.Worker(jobs, "killed", "--pool=prefork", "--concurrency=1") as worker:
        noted(jobs, "task 0 begins first")
        worker.kill()
    eventually(lambda: depth(jobs) == 2, "two tasks are back")
    reset(jobs)
    go(jobs)
    with lab.Worker(jobs, "next", "--pool=solo"):
        eventually(lambda: len(notes(jobs)) == 4, "two tasks are run")
    equal([line.split(" begins")[0] for line in notes(jobs) if "begins" in line], ["task 1", "task 2"])


class Cable:
    """A way to the broker that can be cut."""

    def __init__(self):
        broker = urllib.parse.urlsplit(URI)
        self._broker = (broker.hostname, broker.port or 5672)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = []
        port = self._listener.getsockname()[1]
        user = broker.netloc.rpartition("@")[0]
        self.uri = broker._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._broker)
            self._sockets += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    @staticmethod
    def _carry(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        sockets, self._sockets = self._sockets, []
        for end in sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self._listener.close()
        self.cut()


@check("celery: a worker that loses its connection comes back and does the rest")
def lost_connection():
    fresh(jobs)
    cable = Cable()
    try:
        with lab.Worker(jobs, "cut", "--pool=prefork", "--concurrency=1", uri=cable.uri) as worker:
            for n in range(3):
                jobs.hold_late.delay(f"task {n}")
            noted(jobs, "task 0 begins first")
            cable.cut()
            # The one that runs is another's now, too: nobody acknowledged it.
            go(jobs)
            eventually(lambda: "task 2 ends" in notes(jobs), "the last task ends")
            equal("task 1 ends" in notes(jobs), True)
            eventually(lambda: depth(jobs, ".late") == 0, "the queue is empty")
            worker.terminate()
            worker.gone()
    finally:
        cable.close()


try:
    main()
finally:
    lab.clean(jobs)
