"""Every setting of the service in one typed object: from flags, from HRM_* variables, from *_FILE secrets."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "HRM_"
SECRETS = ("redis_url", "api_keys", "admin_key")
"""Settings that may come from a file: HRM_API_KEYS_FILE names one that holds what HRM_API_KEYS would."""

CLIENT_KEY = "HRM_API_KEY"
"""The one variable that is no setting: the key that `hrm solve --url` shows a server."""

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400, allow_inf_nan=False)]


class SettingsError(Exception):
    """A setting is wrong; the message is one line that names it and what is allowed."""


class Settings(BaseSettings):
    """What can be set. A description says when to change the setting."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    # The queue
    redis_url: SecretStr | None = Field(
        None,
        description="Redis or Valkey: redis://, rediss:// (TLS) or unix://. Set it to run on several machines; "
        "left out, `hrm serve` starts an embedded Valkey.",
    )
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = Field(
        "hrm", description="Prefix of every key. Change it where several deployments share one Redis."
    )
    queue_limit: Annotated[int, Field(ge=1)] = Field(
        4096,
        description="Puzzles that may wait in one lane (normal, high) of a task before new ones are refused with 503. "
        "Raise it for bursts, lower it where an early refusal is better than a long wait.",
    )
    lease_s: Annotated[float, Field(ge=1, le=300, allow_inf_nan=False)] = Field(
        8.0,
        description="How long a silent worker keeps its puzzles before others take them over. Raise it where one "
        "segment takes seconds.",
    )
    state_dir: Path = Field(
        Path(".hrm"),
        description="Where the embedded Valkey keeps its queue and compiled graphs are cached. Put it on a disk that "
        "survives a restart.",
    )

    # Checkpoints and tasks
    checkpoints: str | Path = Field(
        Path("checkpoints"),
        description="The registry that training publishes to: a directory, or a URL (s3://bucket/checkpoints) whose "
        "checkpoints are copied to the state directory. Those that ship with the code lie under it.",
    )
    tasks: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="The tasks to serve, separated by commas; left out, all of the registry. Set it on workers that "
        "shall serve some tasks only, or where a shipped checkpoint is not wanted.",
    )
    default_task: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="The task of a request that names none. Set it where you serve one task."
    )
    max_segments_cap: Annotated[int, Field(ge=1, le=4096)] = Field(
        256, description="The most segments a request may ask for. Lower it to bound what one request costs."
    )

    attempts_cap: Annotated[int, Field(ge=1, le=1024)] = Field(
        32, description="The most attempts a request may ask for. Lower it to bound what one request costs."
    )
    total_segments_cap: Annotated[int, Field(ge=1)] = Field(
        4096, description="The most segments that all attempts of a request may take together."
    )

    # The API
    host: str = Field("127.0.0.1", description="Address to listen on. 0.0.0.0 to be reached from other machines.")
    port: Port = Field(8000, description="Port of the API. Change it where it is taken; 0 takes a free one.")
    metrics_port: Port | None = Field(
        None,
        description="A second port for probes and metrics of the API process. Set it to keep metrics off the public "
        "one. Probes are answered on both; `hrm serve` still shows the metrics of all its processes on the public one.",
    )
    metrics_from: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="URLs, separated by commas, of the processes whose metrics the API's /metrics shows in place of "
        "its own; what follows a `#` is the name of the process. `hrm serve` sets it.",
    )
    api_processes: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="API processes that `hrm serve` starts on its port. Raise it when one process has its core full."
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        1 << 20, description="The largest body that is read. Raise it for larger batches."
    )
    body_timeout_s: Seconds = Field(
        30.0, description="How long a client may take to send its body. Raise it for slow links."
    )
    timeout_default_s: Seconds = Field(
        120.0, description="The deadline of a request that names none. Raise it where the queue is long by intention."
    )
    timeout_max_s: Seconds = Field(
        300.0, description="The longest deadline a request may ask for. Keep it under your proxy's own."
    )
    result_ttl_s: Seconds = Field(
        300.0,
        description="How long a repeated POST with the same Idempotency-Key gets the first one's result. Raise it for "
        "clients that retry late; each result takes about 2 kB of Redis.",
    )
    job_ttl_s: Seconds = Field(
        21600.0, description="How long a job of POST /jobs may wait, and how long its result is kept afterwards."
    )
    batch_limit: Annotated[int, Field(ge=1)] = Field(1000, description="Puzzles in one POST /solve/batch.")
    api_keys: SecretStr | None = Field(
        None,
        description="Keys that callers must show, separated by commas or lines, each `name:key` or only `key`, without "
        "further colons. Set it wherever strangers can reach the port.",
    )
    quota: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Unfinished puzzles that one API key may have at a time; 0 for any number. Set it where callers "
        "share the service.",
    )
    admin_key: SecretStr | None = Field(
        None, description="The key for /checkpoints. Left out, checkpoints cannot be administered over HTTP."
    )

    # The worker
    worker_processes: Annotated[int, Field(ge=1, le=64)] = Field(
        1,
        description="Workers that `hrm serve` starts; on a CPU they share the cores out among themselves. One for each "
        "core solves more puzzles a second and takes more memory; a lone puzzle takes longer.",
    )
    worker_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = Field(
        None,
        description="The worker's name in the queue, which no worker may have had before. Leave it out: `hrm serve` "
        "sets it, so that it can hand over what a dead worker held.",
    )
    slots: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        None, description="Puzzles that are reasoned about at the same time. Left out, the worker picks for its device."
    )
    slot_share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        0.5,
        description="The share of the slots that the attempts of one request may hold. Lower it where many callers ask "
        "for several attempts at once.",
    )
    device: str = Field("auto", description="auto, cpu, mps, cuda or cuda:N. Set it where a machine has several.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="auto takes what a checkpoint asks for, and for others measures which is faster. fp32 where "
        "answers must match another machine's.",
    )
    backend: Literal["auto", "torch", "onnx"] = Field(
        "auto", description="What runs the network. auto takes the faster one on this machine."
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Compile the network at start. off for a quick start, on to fail where it cannot be compiled.",
    )
    batch_wait_ms: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] = Field(
        0.0,
        description="How long an idle worker waits for company for the first puzzle that comes. Set it to some ms on a "
        "CPU whose puzzles come in bursts; whatever comes later joins at the next segment anyway.",
    )
    halt_rule: Literal["auto", "halt_over_continue", "halt_over_zero"] = Field(
        "auto",
        description="When the Q-head ends a puzzle: q_halt above q_continue, or above 0. auto is the checkpoint's own "
        "rule: that of its training, unless it was published with another.",
    )
    fixed_batch: bool = Field(
        False,
        description="Run one batch shape only: answers are then bitwise the same under any load, at some latency.",
    )
    drain_timeout_s: Seconds = Field(
        30.0,
        description="How long a process may take to finish what it holds after SIGTERM. Keep the grace period above.",
    )
    stall_timeout_s: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = Field(
        30.0,
        description="Seconds without a step until a worker says it is stalled. After twice as many it ends itself, "
        "to be started again. Raise it for slow devices.",
    )
    probe_port: Port | None = Field(
        None,
        description="Port of the worker's probes and metrics. Set it where something asks them; 0 takes a free one.",
    )

    # Logs and traces
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug also logs puzzles: not where they are private."
    )
    log_format: Literal["console", "json"] = Field("console", description="json where machines read the logs.")
    trace_sample: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        description="Share of requests that are traced, to where OTEL_EXPORTER_OTLP_ENDPOINT says. Set it on API and "
        "workers alike; 0.01 is plenty for a busy service.",
    )

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("tasks", "metrics_from", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
            raise ValueError("must be auto, cpu, mps, cuda or cuda:N")
        return value

    @field_validator("api_keys")
    @classmethod
    def _readable_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            read_api_keys(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _default_within_maximum(self) -> Self:
        if self.timeout_default_s > self.timeout_max_s:
            raise ValueError(f"{variable('timeout_default_s')} is above {variable('timeout_max_s')}")
        return self

    @cached_property
    def keys(self) -> dict[str, str]:
        """API key by caller's name; empty where none is asked for."""
        return read_api_keys(self.api_keys.get_secret_value()) if self.api_keys else {}


def load_settings(**flags: Any) -> Settings:
    """The settings in force: flags first, then HRM_* variables, then the files that HRM_*_FILE name, then defaults.

    Raises:
        SettingsError: One of them is wrong; the message is one line that names it and what is allowed.
    """
    given = _secrets_from_files() | flags
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(fault, flags) for fault in error.errors())) from None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def read_api_keys(text: str) -> dict[str, str]:
    """Key by caller's name, from entries `name:key` or `key` between commas or lines; raises ValueError.

    A key without a name is called after its hash, so that logs and records never show it. A name holds no colon: the
    queue puts one between a caller's name and an Idempotency-Key.
    """
    keys: dict[str, str] = {}
    for number, entry in enumerate(filter(None, map(str.strip, text.replace("\n", ",").split(","))), start=1):
        if entry.count(":") > 1:
            raise ValueError(f"entry {number} must be `name:key` or `key`, with no other colon in it")
        name, colon, key = entry.rpartition(":")
        name = name.strip() if colon else f"key-{hashlib.sha256(entry.encode()).hexdigest()[:12]}"
        if not name or not key.strip():
            raise ValueError(f"entry {number} must be `name:key` or `key`")
        if name in keys or key.strip() in keys.values():
            raise ValueError(f"entry {number} repeats an earlier one's name or key")
        keys[name] = key.strip()
    if not keys:
        raise ValueError("holds no key; leave it empty where none is asked for")
    return keys


def _secrets_from_files() -> dict[str, str]:
    values = {}
    for name in SECRETS:
        path = os.environ.get(f"{variable(name)}_FILE")
        if not path:
            continue
        if os.environ.get(variable(name)):
            raise SettingsError(f"{variable(name)} and {variable(name)}_FILE are both set; one of them is enough")
        try:
            values[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise SettingsError(f"{variable(name)}_FILE: cannot read {path}: {reason}") from None
        if not values[name]:  # a secret that was not filled in must not mean that none is asked for
            raise SettingsError(f"{variable(name)}_FILE: {path} is empty")
    return values


def _explain(fault: ErrorDetails, flags: Mapping[str, Any]) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    name = str(fault["loc"][0])
    shown = f"--{name.replace('_', '-')}" if name in flags else variable(name)
    got = "" if name in SECRETS else f", not {str(fault['input'])[:80]!r}"
    return f"{shown}: {message[0].lower()}{message[1:]}{got}"
