"""The queue over TLS, with a password that comes from a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_lab import TASK, Desk, answer, ids, new_job
from tls_proxy import OPENSSL, TlsProxy, make_certificate

from service.broker.config import BrokerConfig, broker_config
from service.broker.embedded import EmbeddedServer
from service.broker.front import RedisFrontBroker
from service.broker.records import BrokerError, JobState
from service.broker.worker import RedisWorkerBroker
from service.settings import load_settings

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed: no certificate can be made")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


@pytest.fixture
def proxy(redis_server: EmbeddedServer, desk: Desk, certificate: tuple[Path, Path]) -> Iterator[TlsProxy]:
    desk.redis.config_set("requirepass", "open sesame")
    with TlsProxy(redis_server.url, *certificate) as proxy:
        yield proxy
    desk.redis.config_set("requirepass", "")


@pytest.fixture
def config(redis_url: str) -> BrokerConfig:
    return BrokerConfig(redis_url)


async def test_both_sides_work_over_tls(
    proxy: TlsProxy, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "redis_url"
    secret.write_text(f"rediss://:open%20sesame@localhost:{proxy.port}/0?ssl_ca_certs={certificate[1]}\n")
    monkeypatch.setenv("HRM_REDIS_URL_FILE", str(secret))
    config = broker_config(load_settings())
    front, worker = RedisFrontBroker(config, "api"), RedisWorkerBroker(config, "w")
    await front.start()
    await front.admit(new_job("a"))
    claims = worker.take({TASK: 1}, wait_s=5)
    assert ids(claims) == ["a"]
    assert worker.control(0.01) == []
    assert worker.finish([answer(claims[0])]) == [True]
    ending = await front.wait("a", 5)
    assert ending
    assert ending.state is JobState.DONE
    await front.close()
    worker.close()


async def test_a_certificate_of_nobody_we_know_is_refused(proxy: TlsProxy) -> None:
    config = BrokerConfig(f"rediss://:open%20sesame@localhost:{proxy.port}")
    front, worker = RedisFrontBroker(config, "api"), RedisWorkerBroker(config, "w")
    with pytest.raises(BrokerError, match="certificate") as refused:
        await front.start()
    assert "sesame" not in str(refused.value)
    with pytest.raises(BrokerError, match="certificate"):
        worker.take({TASK: 1})
    await front.close()
    worker.close()
