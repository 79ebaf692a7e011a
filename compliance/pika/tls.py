"""pika over TLS, against a Warren of its own: versions, a login by certificate, an authority nobody knows.

Run by the runner, with the broker's program in WARREN_BIN.
"""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time

import pika
from check import check, equal, main
from pika.credentials import ExternalCredentials
from pika.exceptions import AMQPConnectionError, ProbableAuthenticationError

TIMEOUT = 30
CONFIG = """\
listen = []
[tls]
listen = ["127.0.0.1:{port}"]
cert_file = "{dir}/server.pem"
key_file = "{dir}/server.key"
ca_file = "{dir}/ca.pem"
verify = "peer"
login_from = "common_name"
[management]
listen = "off"
[metrics]
listen = "off"
"""


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=TIMEOUT)


def authority(directory, name):
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.pem",
    )


def certificate(directory, signer, name, common_name, *extensions):
    openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={common_name}",
        "-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.csr",
    )
    with open(f"{directory}/{name}.ext", "w", encoding="ascii") as file:
        file.write("\n".join(["basicConstraints=CA:FALSE", *extensions]))
    openssl(
        "x509", "-req", "-in", f"{directory}/{name}.csr", "-CA", f"{directory}/{signer}.pem", "-CAkey", f"{directory}/{signer}.key",
        "-CAcreateserial", "-days", "2", "-extfile", f"{directory}/{name}.ext", "-out", f"{directory}/{name}.pem",
    )


class Lab:
    """Certificates, and a broker that shows and asks for them."""

    def __init__(self, directory):
        self._directory = directory
        authority(directory, "ca")
        authority(directory, "stranger")
        certificate(directory, "ca", "server", "localhost", "subjectAltName=DNS:localhost", "extendedKeyUsage=serverAuth")
        for signer, name, user in [("ca", "guest", "guest"), ("ca", "nobody", "nobody"), ("stranger", "forged", "guest")]:
            certificate(directory, signer, name, user, "extendedKeyUsage=clientAuth")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with open(f"{directory}/warren.toml", "w", encoding="ascii") as file:
            file.write(CONFIG.format(port=self.port, dir=directory))
        with open(f"{directory}/log", "wb") as log:
            command = [os.environ["WARREN_BIN"], "--config", f"{directory}/warren.toml", "--data-dir", f"{directory}/data"]
            self._broker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + TIMEOUT
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            if self._broker.poll() is not None or time.monotonic() > deadline:
                with open(f"{directory}/log", encoding="utf-8") as log:
                    raise RuntimeError(f"the broker does not start: {log.read()[-500:]}")
            time.sleep(0.05)

    def stop(self):
        self._broker.send_signal(signal.SIGTERM)
        return self._broker.wait(TIMEOUT)

    def connect(self, client=None, trusted="ca", version=None, credentials=None):
        context = ssl.create_default_context(cafile=f"{self._directory}/{trusted}.pem")
        if client:
            context.load_cert_chain(f"{self._directory}/{client}.pem", f"{self._directory}/{client}.key")
        if version:
            context.minimum_version = context.maximum_version = version
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                "127.0.0.1", self.port, ssl_options=pika.SSLOptions(context, "localhost"),
                credentials=credentials or pika.PlainCredentials("guest", "guest"),
                socket_timeout=TIMEOUT, stack_timeout=TIMEOUT, blocked_connection_timeout=TIMEOUT,
            )
        )


def echo(connection, sizes):
    """Messages of these sizes come back as they were sent."""
    with contextlib.closing(connection):
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for size in sizes:
            body = os.urandom(size)
            channel.basic_publish("", queue, body, mandatory=True)
            equal(channel.basic_get(queue, auto_ack=True)[2] == body, True)


def fails(error, connect):
    try:
        connect().close()
    except error:
        return
    raise AssertionError(f"let in, expected {error}")


with tempfile.TemporaryDirectory(prefix="tls-") as place:
    lab = Lab(place)

    @check("TLS 1.3 with a password, messages of every size")
    def _():
        echo(lab.connect(version=ssl.TLSVersion.TLSv1_3), [0, 1, 20_000, 3_000_000])

    @check("TLS 1.2 with a password")
    def _():
        echo(lab.connect(version=ssl.TLSVersion.TLSv1_2), [0, 1, 200_000])

    @check("A10 EXTERNAL logs in whom the certificate names")
    def _():
        echo(lab.connect("guest", credentials=ExternalCredentials()), [10])

    @check("A10 EXTERNAL does not let in a name that no user has")
    def _():
        fails(ProbableAuthenticationError, lambda: lab.connect("nobody", credentials=ExternalCredentials()))

    @check("A10 EXTERNAL is not offered to who shows no certificate")
    def _():
        fails(AMQPConnectionError, lambda: lab.connect(credentials=ExternalCredentials()))

    @check("a certificate of another authority ends the handshake")
    def _():
        fails((AMQPConnectionError, ssl.SSLError), lambda: lab.connect("forged", credentials=ExternalCredentials()))

    @check("a client that trusts another authority does not stay")
    def _():
        fails((AMQPConnectionError, ssl.SSLError), lambda: lab.connect(trusted="stranger"))

    @check("the broker stops in good order")
    def _():
        equal(lab.stop(), 0)

    main()
