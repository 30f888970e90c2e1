"""A worker process like `hrm worker`, but with a stub in the network's place: it reasons about nothing.

    python -m benchmarks.stub_worker [--segments N] [--segment-s S] [HRM_* settings as flags]

For measuring and testing what is around the network; it starts without torch.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from benchmarks.stub import StubLoader, StubRunner
from model.checkpoint import CheckpointError
from service.cli.flags import add_fields
from service.cli.settings import settings_from
from service.lifeline import hold_lifeline
from service.logs import configure_logs
from service.settings import Settings, SettingsError
from service.worker.main import run_worker


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=1, help="segments after which every puzzle halts")
    parser.add_argument("--segment-s", type=float, default=0.0, help="seconds that a segment takes")
    add_fields(parser, Settings, "settings")
    arguments = parser.parse_args()
    hold_lifeline()
    settings = settings_from(arguments)
    configure_logs(settings.log_level, settings.log_format)
    make = partial(StubRunner, segments=arguments.segments, segment_s=arguments.segment_s)
    try:
        return run_worker(settings, StubLoader(settings, make))
    except (SettingsError, CheckpointError) as error:
        sys.exit(f"stub_worker: {error}")


if __name__ == "__main__":
    sys.exit(main())
