"""Script calls from threads."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any, cast

import redis
from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.broker.connection import REPEAT_AFTER_S, broker_error
from service.broker.script import Argument, Command, Script


class Calls:
    """Runs scripts and commands for threads, and knows which may be repeated.

    It keeps as many connections open as threads ever called at the same time. What redis-py does around each command
    besides (a pool, retries that are off, metrics) takes as long as the command.
    """

    def __init__(self, client: redis.Redis, *, url: str, tag: str) -> None:
        """Connect at the first call, as `client` does; its replies are read as it reads them."""
        self._client = client
        self._url = url
        self._tag = tag
        self._idle: deque[Connection] = deque()
        self.troubled_at = -math.inf
        """When Redis last failed a call, also one that was repeated with success; by the monotonic clock."""

    def run(self, script: Script, *arguments: Argument, repeat: bool = True) -> Any:
        """The script's reply.

        Args:
            script: What to run.
            arguments: Its ARGV.
            repeat: Whether a call whose reply got lost may be made once more.

        Raises:
            BrokerError: Redis is away, or the script failed.
        """
        try:
            return self._send(script.by_hash(self._tag, arguments), repeat=repeat)
        except NoScriptError:
            return self.command(*script.by_text(self._tag, arguments), repeat=repeat)
        except RedisError as error:
            raise broker_error(self._url, error) from error

    def run_after(self, wait: Command, script: Script, *arguments: Argument) -> Any:
        """The script's reply, as soon as the blocking command `wait` has returned; not made a second time.

        Both travel in one exchange: the server goes on with the script by itself, without a word from here.

        Raises:
            BrokerError: Redis is away, or one of them failed.
        """
        try:
            return self._exchange(wait, script.by_hash(self._tag, arguments))[-1]
        except NoScriptError:
            return self.command(*script.by_text(self._tag, arguments), repeat=False)
        except RedisError as error:
            raise broker_error(self._url, error) from error

    def command(self, *command: Argument, repeat: bool = True) -> Any:
        """A plain command's reply. See `run`."""
        try:
            return self._send(command, repeat=repeat)
        except RedisError as error:
            raise broker_error(self._url, error) from error

    def close(self) -> None:
        """Close the connections; no call may be under way."""
        while self._idle:
            self._idle.pop().disconnect()
        self._client.close()

    def _send(self, command: Command, *, repeat: bool) -> Any:
        try:
            return self._exchange(command)[0]
        except RedisConnectionError:
            if not repeat:
                raise
            time.sleep(REPEAT_AFTER_S)
            return self._exchange(command)[0]

    def _exchange(self, *commands: Command) -> list[Any]:
        """Send all, read all replies, and raise the first error among them."""
        connection = self._connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            replies = [self._reply(connection, command) for command in commands]
        except (RedisConnectionError, RedisTimeoutError):
            self.troubled_at = time.monotonic()
            raise
        finally:
            self._idle.append(connection)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    def _reply(self, connection: Connection, command: Command) -> Any:
        try:
            return self._client.parse_response(connection, command[0])
        except ResponseError as error:
            return error

    def _connection(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return cast(Connection, self._client.connection_pool.make_connection())
