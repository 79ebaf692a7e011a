"""Connections for the commands that show or close one."""

import pika

from api import api
from check import URI, unique


class Clients:
    def __init__(self):
        self.connections = []

    def open(self, user=None, password="secret", vhost=None):
        """Opens one with a channel, for as long as the program runs. Always true."""
        parameters = pika.URLParameters(URI)
        parameters.client_properties = {"connection_name": unique("connection")}
        if user:
            parameters.credentials = pika.PlainCredentials(user, password)
            parameters.virtual_host = vhost
        connection = pika.BlockingConnection(parameters)
        self.channel = connection.channel()
        self.connections.append((parameters.client_properties["connection_name"], connection))
        return True

    def consume(self):
        """Has the last one consume from a queue of its own."""
        queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.basic_consume(queue, lambda *_: None)

    def name(self):
        """Opens one, and gives the broker's name of it. Listings may learn of it late."""
        self.open()
        given, connection = self.connections[-1]
        for _ in range(100):
            for known in api("/connections"):
                if known.get("client_properties", {}).get("connection_name") == given:
                    return known["name"]
            connection.process_data_events(time_limit=0.1)
        raise AssertionError(f"{given} is not listed")

    def named(self):
        return f"name={self.name()}"

    def closed(self):
        """Whether the last one is closed by the broker."""
        _, connection = self.connections[-1]
        try:
            connection.process_data_events(time_limit=20)
        except pika.exceptions.AMQPError:
            pass
        return connection.is_closed
