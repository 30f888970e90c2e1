"""How far a run is, where there is no terminal to draw a bar on."""

import pytest

from service.cli import progress as module
from service.cli.progress import progress


def test_a_log_gets_plain_lines_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100, 4))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with progress(8, show=True) as advance:
        for _ in range(8):
            advance()
    assert capsys.readouterr().err.splitlines() == [
        "3 of 8 puzzles, 0.2 a second, about 20 s left",
        "6 of 8 puzzles, 0.2 a second, about 8 s left",
    ]


def test_nothing_is_said_where_it_would_disturb(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(1, show=False) as advance:
        advance()
    assert capsys.readouterr().err == ""
