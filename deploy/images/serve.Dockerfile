# Serving on CPUs: Ray Serve, TensorFlow and Keras. No Horovod, no compiler, no training code.
#
#   docker build -f deploy/images/serve.Dockerfile -t ringmaster-serve:0.1.0 .
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3-venv \
 && rm -rf /var/lib/apt/lists/*
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_LINK_MODE=copy
WORKDIR /src

COPY requirements-uv.lock ./
RUN python3 -m venv /opt/uv \
 && /opt/uv/bin/pip install --quiet --no-cache-dir --require-hashes --requirement requirements-uv.lock \
 && python3 -m venv --without-pip /opt/venv

COPY deploy/images/serve.lock ./
RUN /opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --require-hashes --requirement serve.lock

COPY deploy/images/slim.sh ./
RUN sh slim.sh /opt/venv/lib/python3.11/site-packages
# Two packages are all that a replica imports of ours.
COPY configs /opt/venv/lib/python3.11/site-packages/configs
COPY deploy /opt/venv/lib/python3.11/site-packages/deploy
RUN cd /opt/venv/lib/python3.11/site-packages && rm -rf deploy/images deploy/manifests \
 && /opt/venv/bin/python -m compileall -q configs deploy

FROM ${BASE}
# wget: KubeRay's probes of a service call it.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libstdc++6 python3 wget \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/log/* \
 && useradd --uid 1000 --create-home --shell /usr/sbin/nologin ringmaster
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/ringmaster
CMD ["serve", "--help"]
