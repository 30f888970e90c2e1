# One file, four images: docker build --target api|worker-cpu|train|worker-cuda .
#
# Dependencies lie in layers of their own, below the code: a change of the code neither reinstalls nor moves torch.
# Behind a mirror of PyPI: --secret id=pip_conf,src=PATH_OF_YOUR_PIP.CONF

ARG BASE_IMAGE=python:3.11-slim
# What `train` computes on: cpu or cuda.
ARG ACCELERATOR=cpu

FROM ${BASE_IMAGE} AS build

# What pyproject.toml asks for, image by image. The layers below change when one of these files does, not before.
FROM build AS requirements
WORKDIR /requirements
COPY pyproject.toml constraints.txt docker/requirements.py ./
RUN python requirements.py otel remote > api.txt \
    && python requirements.py otel remote worker onnx > cpu.txt \
    && python requirements.py otel remote worker onnx-gpu > cuda.txt \
    && python requirements.py train > train.txt

FROM build AS deps-api
COPY --from=requirements /requirements/constraints.txt /requirements/api.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m venv --without-pip /opt/hrm \
    && python -m pip --python /opt/hrm/bin/python install -c /requirements/constraints.txt -r /requirements/api.txt \
    && rm -r /opt/hrm/lib/python3*/site-packages/numpy/*/tests  # 17 MB

# The code and the shipped checkpoints alone, to be laid over the dependencies.
FROM deps-api AS package
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY model model
COPY service service
COPY training training
COPY checkpoints checkpoints
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    PIP_CONSTRAINT=/src/constraints.txt \
    python -m pip --python /opt/hrm/bin/python install --no-deps --prefix /package .

FROM build AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="hrm-serve" \
      org.opencontainers.image.description="Serves the Hierarchical Reasoning Model with continuous batching by segment" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/hrm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/hrm \
    HRM_HOST=0.0.0.0 \
    HRM_LOG_FORMAT=json \
    HRM_STATE_DIR=/var/lib/hrm/state \
    HRM_CHECKPOINTS=/var/lib/hrm/checkpoints
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/hrm --shell /usr/sbin/nologin hrm \
    && install --directory --owner=hrm --group=hrm /var/lib/hrm /var/lib/hrm/state /var/lib/hrm/runs /var/lib/hrm/checkpoints
WORKDIR /var/lib/hrm

FROM runtime AS api
COPY --from=deps-api /opt/hrm /opt/hrm
COPY --from=package /package /opt/hrm
ENV HRM_PORT=8000 \
    HRM_METRICS_PORT=8001
USER 10001:10001
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8001/readyz', timeout=4)"]
ENTRYPOINT ["hrm"]
CMD ["api"]

# torch.compile turns a segment into C++ (on a GPU: its launchers into C) and needs a compiler where it runs.
FROM runtime AS compiler
# The version is that of the base image's Debian.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

# PyTorch's own index holds its CPU builds, a tenth in size of those on PyPI.
FROM deps-api AS deps-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=requirements /requirements/cpu.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m pip --python /opt/hrm/bin/python install -c /requirements/constraints.txt \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r /requirements/cpu.txt

FROM compiler AS worker-cpu
COPY --from=deps-cpu /opt/hrm /opt/hrm
COPY --from=package /package /opt/hrm
ENV HRM_DEVICE=cpu \
    HRM_PROBE_PORT=8001
USER 10001:10001
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "from urllib.request import urlopen; [urlopen(f'http://127.0.0.1:8001/{check}', timeout=4) for check in ('livez', 'readyz')]"]
ENTRYPOINT ["hrm"]
CMD ["worker"]

FROM deps-api AS deps-cuda
COPY --from=requirements /requirements/cuda.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m pip --python /opt/hrm/bin/python install -c /requirements/constraints.txt -r /requirements/cuda.txt

FROM compiler AS worker-cuda
COPY --from=deps-cuda /opt/hrm /opt/hrm
COPY --from=package /package /opt/hrm
ENV HRM_DEVICE=cuda \
    HRM_PROBE_PORT=8001 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "from urllib.request import urlopen; [urlopen(f'http://127.0.0.1:8001/{check}', timeout=4) for check in ('livez', 'readyz')]"]
ENTRYPOINT ["hrm"]
CMD ["worker"]

# hadolint ignore=DL3006
FROM deps-${ACCELERATOR} AS deps-train
COPY --from=requirements /requirements/train.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python -m pip --python /opt/hrm/bin/python install -c /requirements/constraints.txt -r /requirements/train.txt

FROM compiler AS train
COPY --from=deps-train /opt/hrm /opt/hrm
COPY --from=package /package /opt/hrm
# What is compiled is mapped into memory, which Docker's tmpfs on /tmp does not allow.
ENV TORCHINDUCTOR_CACHE_DIR=/var/lib/hrm/state/compiled \
    NUMBA_CACHE_DIR=/var/lib/hrm/state/numba \
    MPLCONFIGDIR=/var/lib/hrm/state/matplotlib
USER 10001:10001
ENTRYPOINT ["hrm-train"]
CMD ["--help"]
