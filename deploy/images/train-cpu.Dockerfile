# Training on CPUs: Ray, TensorFlow, Keras, and Horovod compiled against them, reducing over Gloo.
#
#   docker build -f deploy/images/train-cpu.Dockerfile -t ringmaster-train-cpu:0.1.0 .
#
# BASE may name a digest (debian@sha256:...) or a mirror; it must be Debian 12, whose Python is 3.11.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ make python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
# The system's certificates: a company's own authority can be mounted there.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_LINK_MODE=copy
WORKDIR /src

COPY requirements-uv.lock ./
RUN python3 -m venv /opt/uv \
 && /opt/uv/bin/pip install --quiet --no-cache-dir --require-hashes --requirement requirements-uv.lock \
 && python3 -m venv --without-pip /opt/venv

COPY deploy/images/train-cpu.lock requirements-build.lock ./
RUN /opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --require-hashes --requirement train-cpu.lock

# lo: while an image is built, the name of the host may have no address, and Gloo asks for it.
COPY packaging/horovod packaging/horovod
RUN /opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --no-deps \
        --build-constraints requirements-build.lock ./packaging/horovod \
 && HOROVOD_GLOO_IFACE=lo /opt/venv/bin/python packaging/horovod/check.py

COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY deploy deploy
COPY orchestrator orchestrator
COPY trainers trainers
RUN /opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --no-deps \
        --build-constraints requirements-build.lock .

# Headers for compiling, Ray's Java side, and tests: nothing loads them.
COPY deploy/images/slim.sh ./
RUN sh slim.sh /opt/venv/lib/python3.11/site-packages

FROM ${BASE}
# wget: KubeRay's probes call it. libstdc++6: Horovod and Ray load it.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libstdc++6 python3 wget \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/log/* \
 && useradd --uid 1000 --create-home --shell /usr/sbin/nologin ringmaster
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/ringmaster
CMD ["ringmaster", "doctor"]
