# For machines that are not x86-64 Linux with glibc: macOS, Windows, ARM, Alpine. The Debian, the Python and the TFX are
# those of `make test-latest`.
#
#     docker build -t bcl .
#     docker run --rm -v "$PWD/runs:/bcl/runs" bcl                                          the demo
#     docker run --rm -v "$PWD/runs:/bcl/runs" -v "$PWD/mine:/data:ro" bcl make demo DATA=/data     your own data
#     docker run --rm -it bcl bash
#
# TFX comes for x86-64 alone, hence the platform: other processors emulate it, and need AVX for TensorFlow.
# tests/docker_steps.sh runs these steps without Docker, in a plain Debian.
FROM --platform=linux/amd64 debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv python3-dev gcc g++ libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /bcl
COPY . .
ENV UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1
RUN make .venv/ready-tfx-1.21
CMD ["make", "demo"]
