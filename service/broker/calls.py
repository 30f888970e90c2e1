"""Script calls from threads."""

from __future__ import annotations

import math
import time
from typing import Any, cast

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.broker.connection import REPEAT_AFTER_S, broker_error
from service.broker.script import Argument, Command, Script


class Calls:
    """Runs scripts and commands on a client, and knows which may be repeated."""

    def __init__(self, client: redis.Redis, *, url: str, tag: str) -> None:
        self._client = client
        self._url = url
        self._tag = tag
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

    def command(self, *command: Argument, repeat: bool = True) -> Any:
        """A plain command's reply. See `run`."""
        try:
            return self._send(command, repeat=repeat)
        except RedisError as error:
            raise broker_error(self._url, error) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, command: Command, *, repeat: bool) -> Any:
        try:
            return self._send_once(command)
        except RedisConnectionError:
            if not repeat:
                raise
            time.sleep(REPEAT_AFTER_S)
            return self._send_once(command)

    def _send_once(self, command: Command) -> Any:
        try:
            return cast(Any, self._client.execute_command(*command))
        except (RedisConnectionError, RedisTimeoutError):
            self.troubled_at = time.monotonic()
            raise
