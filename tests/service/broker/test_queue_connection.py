"""URLs, key names and scripts."""

import re
from pathlib import Path

import pytest

from service.broker import script
from service.broker.connection import check_url, place
from service.broker.keys import Keys
from service.broker.script import Script
from service.schemas import Lane


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/redis.sock?db=1",
        "redis://localhost",
        "redis://:secret@host:6379/0",
        "rediss://user:secret@host:6380/1?ssl_cert_reqs=none",
    ],
)
def test_a_url_of_a_redis(url: str) -> None:
    assert check_url(url) == url
    assert "secret" not in place(url)


@pytest.mark.parametrize(
    "url", ["", "localhost:6379", "http://:secret@host", "redis://", "redis://:secret@host:notaport", "unix://"]
)
def test_no_url_of_a_redis(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of a Redis") as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("surprise=1", "unexpected keyword argument 'surprise'"),
        ("socket_timeout=soon", "Invalid value for 'socket_timeout'"),
        ("retry=often", "'str' object"),
        ("protocol=9", "protocol must be either 2 or 3"),
        ("ssl_cert_reqs=some", "unexpected keyword argument 'ssl_cert_reqs'"),
    ],
)
def test_options_that_no_connection_has(options: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        check_url(f"redis://:secret@host?{options}")
    assert "secret" not in str(caught.value)


def test_python_and_lua_give_keys_the_same_names() -> None:
    keys = Keys("ns")
    lua = (Path(script.__file__).parent / "scripts" / "lib.lua").read_text()

    def name(what: str, *arguments: str) -> str:
        pattern = rf"(?:function {what}\([^)]*\) return|local {what} =) (ns [^\n]*?)(?: end)?\n"
        found = re.search(pattern, lua)
        assert found is not None, what
        parts = [part.strip() for part in found[1].split("..")]
        values = iter(arguments)
        return "".join("{ns}" if part == "ns" else part[1:-1] if part[0] == "'" else next(values) for part in parts)

    assert name("queue_key", "t", "high") == keys.queue("t", Lane.HIGH)
    assert name("nudge_key", "t") == keys.nudge("t")
    assert name("dead_key", "t") == keys.dead("t")
    assert name("job_key", "i") == keys.job("i")
    assert name("reply_key", "p") == keys.reply("p")
    assert name("tasks_key") == keys.tasks
    assert name("control_channel") == keys.control


def test_every_script_is_used() -> None:
    files = {path.stem for path in (Path(script.__file__).parent / "scripts").glob("*.lua")}
    assert files - {"lib"} == {value.name for value in vars(script).values() if isinstance(value, Script)}
