"""Connections to Redis or Valkey, with every timeout and retry said.

redis-py's own defaults differ between its constructors and would repeat a write whose reply got lost. Here nothing is
repeated below the broker: it knows which calls may be.
"""

from __future__ import annotations

from typing import cast
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from service.broker.records import BrokerError

CONNECT_TIMEOUT_S = 1.0
BLOCK_S = 5.0
"""The longest time a blocking read waits on the server's side."""
BLOCKING_TIMEOUT_S = BLOCK_S + 5.0
"""When a blocking read that did not come back is given up; above BLOCK_S, or every quiet period would be an error."""
REPEAT_AFTER_S = 0.05
"""The pause before a harmless call is repeated on a new connection."""

_SCHEMES = ("unix", "redis", "rediss")


def check_url(url: str) -> str:
    """The URL as it is.

    Raises:
        ValueError: It is not one of a Redis, or has options that redis-py does not take; the message does not show its
            password.
    """
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        port_is_fine = False
    if not port_is_fine or parts.scheme not in _SCHEMES or not (parts.hostname or parts.path.strip("/")):
        expected = "unix:///path, redis://host:port or rediss://host:port"
        raise ValueError(f"not the URL of a Redis: {place(url)!r}; expected {expected}")
    try:
        redis.asyncio.ConnectionPool.from_url(url).make_connection()
    except (RedisError, AttributeError, TypeError, ValueError) as error:  # whatever its constructors make of an option
        raise ValueError(f"not the URL of a Redis: {place(url)!r} with these options: {error}") from None
    return url


def place(url: str) -> str:
    """The URL without what is secret, for messages."""
    scheme, _, rest = url.partition("://")
    location = rest.rpartition("@")[2].partition("?")[0]
    return f"{scheme}://{location}" if rest else url


def connect(url: str, *, name: str, timeout_s: float) -> redis.Redis:
    """A client for threads; its pool holds one connection, and whoever does not find it free waits.

    Args:
        url: Where the server is.
        name: What `CLIENT LIST` shows.
        timeout_s: How long an answer may take; above the longest BLOCK.
    """
    pool = redis.BlockingConnectionPool.from_url(
        check_url(url),
        max_connections=1,
        timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        health_check_interval=0,
        protocol=2,
        client_name=name,
        decode_responses=False,
    )
    return redis.Redis(connection_pool=pool)


def connect_async(url: str, *, name: str, timeout_s: float) -> AbstractConnection:
    """One connection for asyncio, not yet open; its owner sends and reads in turn."""
    pool = redis.asyncio.ConnectionPool.from_url(
        check_url(url),
        max_connections=1,
        retry=AsyncRetry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        health_check_interval=0,
        protocol=2,
        client_name=name,
        decode_responses=False,
    )
    return cast(AbstractConnection, pool.make_connection())


def broker_error(url: str, error: Exception) -> BrokerError:
    """What the broker's callers see of an error of redis-py."""
    return BrokerError(f"Redis at {place(url)}: {str(error) or type(error).__name__}")
