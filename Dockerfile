# One image of ours: services, operator or drills. They differ only in what the
# build context holds, which `make images` assembles as `src/`, and in BASE: the
# image's Python with the locked dependencies under /app/site, built from
# platform/hailstorm_platform/files/site.Dockerfile. The build needs no network,
# no compiler and no BuildKit feature.
ARG BASE
FROM ${BASE}

ENV PYTHONPATH=/app/src:/app/site PYTHONUNBUFFERED=1
WORKDIR /app
# Compiled here, because the running container cannot write; without it every
# start would compile anew on half a core.
COPY src /app/src
RUN ["python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "/app/src"]

# Last, so that a second version of the same tree is one empty layer.
ARG VERSION
ENV HAILSTORM_VERSION=${VERSION}
USER 65532:65532
