import json
import sys
from types import ModuleType

from training.log import last_start, open_sinks
from training.run_files import LOG_FILE

ENTRIES = [
    {"event": "start", "step": 0, "hardware": "an abacus"},
    {"event": "steps", "step": 50, "loss": 1.5, "exact": None},
    {"event": "heldout", "step": 50, "source": "generated", "exact": 0.25},
]


def write(sinks):
    for sink in sinks:
        for entry in ENTRIES:
            sink.write(entry)
        sink.close()


def test_json_lines_go_on_where_an_earlier_process_stopped(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # not installed
    assert last_start(tmp_path) == {}
    for _ in range(2):
        write(open_sinks(tmp_path, 0))
    lines = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    assert [{k: v for k, v in line.items() if k != "time"} for line in lines] == ENTRIES * 2
    assert last_start(tmp_path)["hardware"] == "an abacus"


def test_a_line_that_a_full_disk_tore_spoils_no_other(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    write(open_sinks(tmp_path, 0))
    torn = '{"time": 1.5, "event": "start", "hardware": "an ab'
    with (tmp_path / LOG_FILE).open("a") as log:
        log.write(torn)
    assert last_start(tmp_path)["hardware"] == "an abacus", "of the start before"
    write(open_sinks(tmp_path, 0))
    lines = (tmp_path / LOG_FILE).read_text().splitlines()
    assert lines.pop(len(ENTRIES)) == torn
    assert [json.loads(line)["event"] for line in lines] == [entry["event"] for entry in ENTRIES * 2]


def test_curves_go_to_tensorboard_where_it_is_installed(tmp_path, monkeypatch):
    points = []

    class SummaryWriter:
        def __init__(self, directory, purge_step):
            points.append((directory, purge_step))

        def add_scalar(self, name, value, step):
            points.append((name, value, step))

        def close(self):
            points.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    write(open_sinks(tmp_path, 7))
    assert points == [
        (str(tmp_path / "tensorboard"), 7), ("train/loss", 1.5, 50), ("heldout/generated/exact", 0.25, 50), "closed",
    ]  # fmt: skip
