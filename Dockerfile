# The agent's image: the interpreter, the part of the standard library that is used, the locked dependencies, nri-cdi; nothing else.
# No shell, no package manager, no compiler. `make image` builds it; docs/install.md says what is in it and how big it is.
#
# The base is what the interpreter and its C libraries are taken from; the last stage begins from nothing.
ARG BASE_IMAGE=docker.io/library/python:3.12-slim
FROM ${BASE_IMAGE} AS build
WORKDIR /build
COPY requirements/image.txt requirements/image.txt
# Wheels only (so no compiler), each checked against the hashes in the lock.
RUN python3 -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --no-compile \
    --require-hashes --no-deps --only-binary :all: --target packages -r requirements/image.txt
COPY deploy/image/ deploy/image/
COPY nri_cdi/ packages/nri_cdi/
COPY LICENSE LICENSE
RUN python3 deploy/image/assemble.py packages /image && python3 deploy/image/sbom.py requirements/image.txt /image

FROM scratch
COPY --from=build /image/ /
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="nri-cdi" \
      org.opencontainers.image.description="Gives Kubernetes containers their CDI devices through NRI: exactly, or not at all" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/usr/local/bin \
    PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/usr/local/bin/nri-cdi"]
