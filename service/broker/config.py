"""The numbers of the queue's protocol."""

from __future__ import annotations

from dataclasses import dataclass

from service.broker.connection import check_url
from service.settings import Settings, SettingsError, variable


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """What all processes of one deployment agree on; the defaults suit most."""

    url: str
    """unix:///path, redis://[user:password@]host[:port][/db], or rediss:// for TLS."""
    namespace: str = "hrm"
    """Deployments that share a Redis differ in this."""
    lease_s: float = 8.0
    """How long a worker may be silent about a job before another one gets it; renew at least three times as often."""
    queue_limit: int = 1000
    """How many jobs may wait in one lane of one task."""
    high_per_normal: int = 4
    """While both lanes hold something, so many of the high lane are taken before one of the normal lane."""
    max_crashes: int = 3
    """A job that so many workers died of, while it sat in a slot, is given up."""
    max_losses: int = 10
    """So is one that so many workers died with, before they said that it sat in a slot."""


def broker_config(settings: Settings) -> BrokerConfig:
    """The part of the settings that is about the queue; raises SettingsError where no Redis is set, or a wrong URL."""
    if settings.redis_url is None:
        raise SettingsError(f"{variable('redis_url')} is not set; only `hrm serve` brings its own Redis")
    try:
        url = check_url(settings.redis_url.get_secret_value())
    except ValueError as error:
        raise SettingsError(f"{variable('redis_url')}: {error}") from None
    return BrokerConfig(
        url,
        namespace=settings.namespace,
        lease_s=settings.lease_s,
        queue_limit=settings.queue_limit,
    )
