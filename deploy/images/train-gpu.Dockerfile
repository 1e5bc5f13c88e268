# Training on NVIDIA GPUs: Horovod compiled against CUDA and NCCL, which come from TensorFlow's own wheels at run time.
#
#   docker build -f deploy/images/train-gpu.Dockerfile -t ringmaster-train-gpu:0.1.0 .
#
# TOOLKIT has nvcc, for the build alone; its CUDA must be that of nvidia-cuda-runtime-cu12 in train-gpu.lock.
ARG TOOLKIT=docker.io/nvidia/cuda:12.9.1-devel-ubuntu24.04
ARG BASE=docker.io/library/ubuntu:24.04

FROM ${TOOLKIT} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ make python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_LINK_MODE=copy
WORKDIR /src

COPY requirements-uv.lock ./
RUN python3 -m venv /opt/uv \
 && /opt/uv/bin/pip install --quiet --no-cache-dir --require-hashes --requirement requirements-uv.lock \
 && python3 -m venv --without-pip /opt/venv

COPY deploy/images/train-gpu.lock requirements-build.lock ./
RUN /opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --require-hashes --requirement train-gpu.lock

# From T4 to B200; without a list the kernels are compiled for every GPU that nvcc knows.
ENV HOROVOD_BUILD_CUDA_CC_LIST=75,80,86,89,90,100
# The wheel of NCCL holds libnccl.so.2 alone; the linker asks for libnccl.so.
ENV NVIDIA=/opt/venv/lib/python3.12/site-packages/nvidia
ENV HOROVOD_GPU_OPERATIONS=NCCL HOROVOD_CUDA_HOME=/usr/local/cuda HOROVOD_NCCL_LINK=SHARED \
    HOROVOD_NCCL_INCLUDE=${NVIDIA}/nccl/include HOROVOD_NCCL_LIB=${NVIDIA}/nccl/lib
COPY packaging/horovod packaging/horovod
RUN ln -s libnccl.so.2 ${NVIDIA}/nccl/lib/libnccl.so \
 && /opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --no-deps \
        --build-constraints requirements-build.lock ./packaging/horovod

COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY deploy deploy
COPY orchestrator orchestrator
COPY trainers trainers
RUN /opt/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --no-deps \
        --build-constraints requirements-build.lock .

COPY deploy/images/slim.sh ./
RUN sh slim.sh /opt/venv/lib/python3.12/site-packages

FROM ${BASE}
# The user `ubuntu` of the base has the id that our pods run as.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libstdc++6 python3 wget \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/log/* \
 && userdel --remove ubuntu \
 && useradd --uid 1000 --create-home --shell /usr/sbin/nologin ringmaster
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH RAY_USAGE_STATS_ENABLED=0 \
    LD_LIBRARY_PATH=/opt/venv/lib/python3.12/site-packages/nvidia/nccl/lib:/opt/venv/lib/python3.12/site-packages/nvidia/cuda_runtime/lib \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
WORKDIR /home/ringmaster
CMD ["ringmaster", "doctor"]
