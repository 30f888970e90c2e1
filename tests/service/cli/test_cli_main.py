"""`hrm` as a user meets it: help, mistakes, and the settings."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cluster import HRM
from service.cli import main
from service.settings import Settings

WRONG_URL = "HRM_REDIS_URL: not the URL of a Redis"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HRM_{name.upper()}", raising=False)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("solv", "hrm: argument COMMAND: invalid choice: 'solv'"),
        ("config --ports 1", "hrm config: unrecognized arguments: --ports 1 (see hrm config --help)"),
        ("config --port x", "hrm config: argument --port: invalid int value: 'x'"),
        ("config --port 99999", "hrm config: --port: input should be less than or equal to 65535, not '99999'"),
        ("serve --device tpu", "hrm serve: --device: must be auto, cpu, mps, cuda or cuda:N, not 'tpu'"),
        ("serve --port 0 --state-dir /proc/none", "hrm serve: the state directory /proc/none cannot be used"),
        ("serve --host 203.0.113.1", "hrm serve: cannot listen on port 8000 of 203.0.113.1"),
        ("api", "hrm api: HRM_REDIS_URL is not set"),
        ("worker", "hrm worker: HRM_REDIS_URL is not set"),
        ("worker --redis-url localhost", "hrm worker: --redis-url: must start with redis://"),
        *(
            (f"{command} --redis-url redis://host:abc", f"hrm {command.split()[0]}: {WRONG_URL}: 'redis://host:abc'")
            for command in ("api", "worker", "serve --port 0", "dead list", "checkpoint prune x --keep 1")
        ),
        ("dead list --redis-url redis://host?foo=1", f"hrm dead: {WRONG_URL}: 'redis://host'"),
        ("solve --file none.csv", "hrm solve: --file: cannot read none.csv: No such file or directory"),
        ("solve 53.. --file none.csv", "hrm solve: give a puzzle or --file, not both"),
        ("solve 53.. --max-segments 0", "hrm solve: --max-segments: input should be greater than or equal to 1"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(arguments.split())
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert one_line(capsys).startswith(message)


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([*HRM, "config"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "hrm config: No space left on device\n")


def test_puzzles_that_are_no_text_are_one_line() -> None:
    ended = subprocess.run([*HRM, "solve", "--task", "sudoku"], input=b"\xff\xfe\n", capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, b"hrm solve: standard input is not text in UTF-8\n")


def test_config_shows_where_each_value_comes_from_and_no_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("open sesame")
    monkeypatch.setenv("HRM_ADMIN_KEY_FILE", str(key))
    monkeypatch.setenv("HRM_REDIS_URL", "redis://hrm:hunter2@queue:6379/0?password=hunter2")
    monkeypatch.setenv("HRM_QUEUE_LIMIT", "7")
    assert main(["config", "--json", "--port", "9000", "--fixed-batch"]) == 0
    printed = capsys.readouterr().out
    shown = json.loads(printed)
    assert shown["port"] == {"value": 9000, "from": "--port"}
    assert shown["fixed_batch"] == {"value": True, "from": "--fixed-batch"}
    assert shown["queue_limit"] == {"value": 7, "from": "HRM_QUEUE_LIMIT"}
    assert shown["redis_url"] == {"value": "redis://********@queue:6379/0?********", "from": "HRM_REDIS_URL"}
    assert shown["admin_key"] == {"value": "********", "from": "HRM_ADMIN_KEY_FILE"}
    assert shown["slots"] == {"value": None, "from": "default"}
    assert list(shown) == list(Settings.model_fields)
    assert "hunter2" not in printed
    assert "sesame" not in printed


def test_config_is_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["HRM_PORT", "8000", "default"] in lines
    assert len(lines) == 1 + len(Settings.model_fields)


@pytest.mark.parametrize("command", ["serve", "api", "worker", "config"])
def test_every_setting_is_a_flag_with_a_help_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description
        assert field.description.split(".")[0] in text


def test_help_loads_nothing_heavy() -> None:
    code = """
import sys
from service.cli import main
for command in (["--help"], ["serve", "--help"], ["worker", "--help"], ["solve", "--help"]):
    try:
        main(command)
    except SystemExit:
        pass
print(*({"torch", "fastapi"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []
    assert "usage" in done.stdout
