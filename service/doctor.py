"""What `hrm doctor` looks at before a start. Each check says what it found, or raises Trouble or Doubt in one line."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing

from model.checkpoint import CheckpointError
from service.broker.admin import QueueAdmin
from service.broker.config import broker_config
from service.broker.embedded import EmbeddedServer, EmbeddedServerError, lock_state_dir, server_binary
from service.broker.records import BrokerError
from service.packages import installed, onnx_installed, require_one_onnxruntime
from service.registry import registry_of
from service.settings import CLIENT_KEY, PREFIX, SECRETS, Settings, SettingsError, variable

Check = Callable[[Settings], str]


class Trouble(Exception):  # noqa: N818 (a finding, not a failure of the doctor's)
    """It will not work so."""


class Doubt(Exception):  # noqa: N818
    """It will work, but perhaps not as intended."""


def variables(settings: Settings) -> str:
    """Every HRM_* variable of the environment is a setting, or the client's key."""
    known = {variable(name) for name in Settings.model_fields} | {f"{variable(name)}_FILE" for name in SECRETS}
    strangers = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in {*known, CLIENT_KEY})
    if strangers:
        raise Doubt(f"{', '.join(strangers)}: no such setting; `hrm config` lists them")
    # Said, because a server whose keys were set by this name would ask for none.
    beside = f", but {CLIENT_KEY}, which is for `hrm solve --url`" if CLIENT_KEY in os.environ else ""
    return f"every HRM_* variable is a setting{beside}"


def queue(settings: Settings) -> str:
    """Redis answers, takes the password, and keeps what it is told."""
    try:
        with closing(QueueAdmin(broker_config(settings))) as admin:
            server = admin.server()
    except SettingsError as error:
        raise Trouble(str(error)) from None
    except BrokerError as error:
        raise Trouble(f"{variable('redis_url')}: {error}") from None
    if server.version < (6, 2):
        raise Trouble(f"{server} is too old: streams need 6.2 or later")
    if server.policy != "noeviction":
        raise Doubt(f"{server} forgets keys when its memory is full ({server.policy}): set maxmemory-policy noeviction")
    if not server.append_only:
        raise Doubt(f"{server} keeps no append-only file: a restart loses what is queued")
    return f"{server}, append-only, noeviction"


def own_queue(settings: Settings) -> str:
    """The same; where no Redis is named, there is a server to be started."""
    if settings.redis_url is not None:
        return queue(settings)
    try:
        binary = server_binary()
        lock_state_dir(settings.state_dir).close()
    except EmbeddedServerError as error:
        raise Trouble(str(error)) from None
    return f"`hrm serve` starts {binary.name} at {EmbeddedServer(settings.state_dir).url}"


def registry(settings: Settings) -> str:
    """There are checkpoints, and they are what they were when they were published."""
    try:
        found = registry_of(settings)
        tasks = found.tasks()
        for task in tasks:
            checkpoint = found.current(task)
            if checkpoint is not None:
                checkpoint.verify()
    except (SettingsError, CheckpointError, OSError) as error:
        raise Trouble(str(error)) from None
    if not tasks:
        raise Trouble(f"no checkpoint in {settings.checkpoints}, and none ships with the code: train or import one")
    if settings.default_task and settings.default_task not in tasks:
        raise Trouble(
            f"{variable('default_task')}: no checkpoint of {settings.default_task!r}, only {', '.join(tasks)}"
        )
    if missing := sorted(set(settings.tasks or ()) - set(tasks)):
        raise Doubt(f"{variable('tasks')}: no checkpoint of {', '.join(missing)} yet, only of {', '.join(tasks)}")
    said = f"{', '.join(tasks)}: as published"
    if "checkpoints" in settings.model_fields_set and not found.writable.exists():
        raise Doubt(f"{variable('checkpoints')}: nothing is in {settings.checkpoints} yet; what ships: {said}")
    return said


def state(settings: Settings) -> str:
    """The state directory can be written to."""
    directory = settings.state_dir
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise Trouble(f"{variable('state_dir')}: {directory} cannot be written to: {error.strerror}") from None
    free = shutil.disk_usage(directory).free
    if free < 1 << 30:
        raise Doubt(f"{variable('state_dir')}: {free >> 20} MB are free in {directory}")
    return f"{directory} can be written to"


def api_ports(settings: Settings) -> str:
    """Nobody listens where the API will."""
    return _free_ports(settings, "port", "metrics_port")


def worker_ports(settings: Settings) -> str:
    """Nobody listens where the worker's probes will."""
    return _free_ports(settings, "probe_port")


def device(settings: Settings) -> str:
    """The device is there, and what runs on it."""
    try:
        require_one_onnxruntime()
    except SettingsError as error:
        raise Trouble(str(error)) from None
    if settings.backend == "onnx" and not onnx_installed():
        raise Trouble(f"{variable('backend')}: ONNX Runtime is not installed: pip install 'hrm-serve[onnx]'")
    for package in ("torch", "safetensors"):
        if not installed(package):
            raise Trouble(f"{package} is not installed: pip install 'hrm-serve[worker]'")
    from model.device import DeviceError, pick_device  # noqa: PLC0415 (torch takes seconds)
    from service.engine.graph import can_compile  # noqa: PLC0415

    try:
        picked = pick_device(settings.device)
    except DeviceError as error:
        raise Trouble(f"{variable('device')}: {error}") from None
    if settings.compile != "off" and settings.backend != "onnx" and not can_compile(picked):
        lacking = f"no compiler for {picked}"
        if settings.compile == "on":
            raise Trouble(f"{variable('compile')} is on, but there is {lacking} on this machine")
        if settings.backend == "auto" and onnx_installed():
            return f"{picked} is there; {lacking}, but ONNX Runtime"
        raise Doubt(f"{lacking} on this machine: segments run about half as fast (pip install 'hrm-serve[onnx]')")
    return f"{picked} is there" + ("" if settings.compile == "off" else ", and a compiler for it")


def traces(settings: Settings) -> str:
    """Traces, where they are asked for, can be sent."""
    if settings.trace_sample == 0:
        return "none asked for"
    if not installed("opentelemetry-sdk") or not installed("opentelemetry-exporter-otlp-proto-http"):
        raise Trouble(f"{variable('trace_sample')}: traces need the extra otel: pip install 'hrm-serve[otel]'")
    places = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not any(os.environ.get(name) for name in places):
        raise Doubt(f"{variable('trace_sample')}: {places[0]} is not set; traces go to http://localhost:4318")
    return f"{settings.trace_sample:.2%} of requests"


_API = {"variables": variables, "queue": queue, "registry": registry, "API ports": api_ports, "traces": traces}
_WORKER = {"state": state, "worker ports": worker_ports, "device": device}

CHECKS: Mapping[str, Mapping[str, Check]] = {
    "serve": {**_API, "queue": own_queue, **_WORKER},
    "api": _API,
    "worker": {name: check for name, check in {**_API, **_WORKER}.items() if check is not api_ports},
}
"""What matters to each role, by name."""


def _free_ports(settings: Settings, *names: str) -> str:
    ports = {name: port for name in names if (port := getattr(settings, name))}
    for name, port in ports.items():
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        try:
            socket.create_server((settings.host, port), family=family).close()
        except OSError as error:
            reason = f"cannot listen on port {port} of {settings.host}: {error.strerror or error}"
            raise Trouble(f"{variable(name)}: {reason}") from None
    return f"free: {', '.join(map(str, ports.values()))}" if ports else "none asked for"
