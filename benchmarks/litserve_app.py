"""The same checkpoint behind LitServe, as its users write it: dynamic batches that run until their last row halts.

    python -m benchmarks.litserve_app --port PORT [--checkpoints DIR] [--slots 64] [--batch-timeout 0.01]

Needs the extra `bench`.
"""

from __future__ import annotations

from pathlib import Path

import litserve
from fastapi.responses import JSONResponse

from benchmarks.common import options, shipped
from benchmarks.ways import run_batches
from model.tasks import Tokens
from service.engine.codec import encode
from service.engine.load import Loader
from service.engine.work import Work
from service.ids import new_id
from service.schemas import SolveRequest
from service.settings import load_settings


class Api(litserve.LitAPI):
    """Solves with this project's codec and runner; only batching and serving are LitServe's."""

    def __init__(self, task: str, checkpoints: Path, slots: int, batch_timeout: float) -> None:
        super().__init__(max_batch_size=slots, batch_timeout=batch_timeout, api_path="/solve")
        self._task, self._checkpoints, self._slots = task, checkpoints, slots

    def setup(self, device: str) -> None:
        self.info = shipped(self._task, self._checkpoints)
        self.runner = Loader(load_settings(slots=self._slots, device=device)).load(self.info).runner

    def decode_request(self, request) -> Work:  # LitServe reads the body by this annotation; none: as JSON
        return encode(SolveRequest.model_validate(request), self.info, work_id=new_id())

    def batch(self, inputs: list[Work]) -> list[Work]:
        return inputs

    def predict(self, batch: list[Work]) -> list[tuple[Work, Tokens]]:
        _, answers = run_batches(self.runner, batch, "last", self.info.max_segments)
        return [(work, answers[work.id]) for work in batch]

    def unbatch(self, output: list[tuple[Work, Tokens]]) -> list[tuple[Work, Tokens]]:
        return output

    def encode_response(self, output: tuple[Work, Tokens]) -> JSONResponse:
        work, tokens = output
        solution = self.info.codec.format(tokens, like=work.request.puzzle)
        return JSONResponse({"solution": solution, "valid": self.info.codec.check(work.tokens, tokens).valid})


def main() -> None:
    parser = options(__doc__, file=False)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--batch-timeout", type=float, default=0.01)
    arguments = parser.parse_args()
    api = Api(arguments.task, arguments.checkpoints, arguments.slots, arguments.batch_timeout)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=False)
    server.run(
        host="127.0.0.1", port=arguments.port, num_api_servers=1, generate_client_file=False, log_level="warning"
    )


if __name__ == "__main__":
    main()
