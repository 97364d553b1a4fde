# Three targets: `server` (ONNX Runtime for NVIDIA GPUs), `server-cpu` (without), and `trainer` (PyTorch, with a GPU or without).
#
#   podman build --format docker --target server-cpu --tag eyas-server:0.1.0-cpu .
#
# They share the layers of what they have in common. What makes the layers stays out of them; docker/layer.py says what else does.

# To pin it: --build-arg PYTHON=python:3.11-slim@sha256:DIGEST. requirements/ is for this version of Python.
ARG PYTHON=python:3.11-slim

# --- Layers are made here.

FROM ${PYTHON} AS tools
COPY requirements/tools.txt /requirements/
RUN python3 -m venv /tools && /tools/bin/pip install --no-cache-dir --require-hashes --requirement /requirements/tools.txt
COPY docker/layer.py /tools/

FROM tools AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY client client
COPY service service
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheel .

FROM tools AS make-daemon
COPY requirements/daemon.txt /requirements/
RUN /tools/bin/python /tools/layer.py daemon /requirements/daemon.txt

FROM make-daemon AS make-cpu
COPY requirements/server-cpu.txt /requirements/
RUN /tools/bin/python /tools/layer.py cpu /requirements/server-cpu.txt

FROM make-daemon AS make-cuda
COPY requirements/server.txt /requirements/
RUN /tools/bin/python /tools/layer.py cuda /requirements/server.txt

FROM make-cpu AS make-torch
COPY requirements/trainer.txt /requirements/
RUN /tools/bin/python /tools/layer.py torch /requirements/trainer.txt

FROM make-cpu AS make-server-cpu
COPY --from=wheel /wheel /wheel
RUN /tools/bin/python /tools/layer.py eyas /wheel

FROM make-cuda AS make-server
COPY --from=wheel /wheel /wheel
RUN /tools/bin/python /tools/layer.py eyas /wheel

FROM make-torch AS make-trainer
COPY --from=wheel /wheel /wheel
RUN /tools/bin/python /tools/layer.py eyas /wheel

# --- Images are put together here.

FROM ${PYTHON} AS daemon
COPY docker/layer.py /tmp/
RUN python3 /tmp/layer.py && rm /tmp/layer.py \
    && echo 'eyas:x:1000:1000::/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'eyas:x:1000:' >> /etc/group \
    && install --directory --owner 1000 --group 1000 /var/lib/eyas
COPY --from=make-daemon /layers/daemon /
# Beyond loopback, as there is nobody else in the container. A daemon that listens there wants credentials.
ENV PATH=/opt/eyas/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    EYASD_DATA_DIR=/var/lib/eyas \
    EYASD_API__LISTEN=0.0.0.0:50051 \
    EYASD_TELEMETRY__METRICS_LISTEN=0.0.0.0:9464
EXPOSE 50051 9464
VOLUME /var/lib/eyas
WORKDIR /var/lib/eyas
USER 1000:1000
ENTRYPOINT ["eyasd"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["python", "-m", "eyasd.health", "127.0.0.1:50051"]
ARG SOURCE=https://eyas.example/source
LABEL org.opencontainers.image.source=${SOURCE} \
      org.opencontainers.image.licenses=Apache-2.0

FROM daemon AS cpu
COPY --from=make-cpu /layers/cpu /

FROM cpu AS trainer
COPY --from=make-torch /layers/torch /
COPY --from=make-trainer /layers/eyas /
# What NVIDIA's container toolkit shall bring. Which GPUs it brings is not said here: pods that ask for none would have all.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Eyas trainer" \
      org.opencontainers.image.description="Trains and evaluates image classifiers, asked over gRPC." \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}
CMD ["trainer"]

FROM cpu AS server-cpu
COPY --from=make-server-cpu /layers/eyas /
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Eyas server, without a GPU" \
      org.opencontainers.image.description="Classifies pictures over gRPC, with ONNX Runtime." \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}
CMD ["server"]

FROM daemon AS server
COPY --from=make-cuda /layers/cuda /
COPY --from=make-server /layers/eyas /
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Eyas server" \
      org.opencontainers.image.description="Classifies pictures over gRPC, with ONNX Runtime on NVIDIA GPUs or without." \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}
CMD ["server"]
