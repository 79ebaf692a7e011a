"""What the celery checks share: the application's names, workers as processes of their own, what tasks noted."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import check as frame

# Long for what must come, short for what must not.
LIMIT = 30
QUIET = 0.3


def eventually(holds, what):
    """Waits until `holds()` is true; its value."""
    end = time.monotonic() + LIMIT
    while not (value := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"never: {what}")
        time.sleep(0.02)
    return value


def load(backend="rpc://"):
    """The application, under names of its own."""
    os.environ["COMPLIANCE_NAME"] = frame.unique("celery")
    os.environ["COMPLIANCE_FOLDER"] = tempfile.mkdtemp(prefix="compliance-")
    os.environ["COMPLIANCE_BACKEND"] = backend.replace("FOLDER", os.environ["COMPLIANCE_FOLDER"])
    # An end from outside must end the workers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    import jobs

    return jobs


def clean(jobs):
    """Deletes what the application declared, and what its tasks wrote."""
    shutil.rmtree(jobs.FOLDER, ignore_errors=True)
    with jobs.app.connection(connect_timeout=LIMIT) as connection:
        channel = connection.channel()
        for queue in (jobs.NAME, f"{jobs.NAME}.late"):
            channel.queue_delete(queue)
        control = jobs.app.control.mailbox
        for exchange in (jobs.NAME, control.exchange.name, control.reply_exchange.name, f"{jobs.NAME}.events"):
            channel.exchange_delete(exchange)


def reset(jobs):
    """Forgets what was noted, and holds tasks again."""
    for name in ("notes", "go"):
        (jobs.FOLDER / name).unlink(missing_ok=True)


def fresh(jobs):
    """A start without notes, and without tasks that an earlier check left behind."""
    reset(jobs)
    with jobs.app.connection() as connection:
        for queue in jobs.app.amqp.queues.values():
            bound = queue(connection.default_channel)
            bound.declare()
            bound.purge()


def go(jobs):
    (jobs.FOLDER / "go").touch()


def notes(jobs):
    with contextlib.suppress(FileNotFoundError):
        return (jobs.FOLDER / "notes").read_text().split("\n")[:-1]
    return []


def noted(jobs, *lines):
    """Waits until these lines, and no others, are noted in this order."""
    try:
        eventually(lambda: len(notes(jobs)) >= len(lines), f"{len(lines)} notes")
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {notes(jobs)}") from None
    frame.equal(notes(jobs), list(lines))


def depth(jobs, queue=""):
    """How many messages of the application's queue are ready."""
    with jobs.app.connection() as connection:
        return connection.channel().queue_declare(jobs.NAME + queue, passive=True).message_count


class Worker:
    """A celery worker, ready to work from the start of the `with` to its end."""

    def __init__(self, jobs, name, *options, uri=frame.URI):
        self._jobs = jobs
        self.name = f"{name}@{jobs.NAME}"
        self._log = jobs.FOLDER / f"{name}.log"
        self._options = options
        self._uri = uri

    def __enter__(self):
        here = pathlib.Path(__file__).parent
        with open(self._log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "jobs", "worker", "-n", self.name, "-l", "INFO"]
                + ["--without-gossip", "--without-mingle", *self._options],
                cwd=here,
                env={**os.environ, "WARREN_URI": self._uri},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: its children can be killed with it.
                start_new_session=True,
            )
        try:
            eventually(self._ready, "the worker is ready")
        except TimeoutError as error:
            self.kill()
            raise TimeoutError(f"{error}: {self.log()}") from None
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise ChildProcessError(f"the worker ended: {self.log()}")
        return f"{self.name} ready." in self._log.read_text()

    def log(self):
        return self._log.read_text()[-400:]

    def terminate(self):
        """An orderly end: tasks that run are finished."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def gone(self):
        """Waits for the end of an orderly end."""
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the worker does not end: {self.log()}") from None
        if code != 0:
            raise ChildProcessError(f"the worker ended with {code}: {self.log()}")

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT)

    def __exit__(self, *_error):
        self.kill()
