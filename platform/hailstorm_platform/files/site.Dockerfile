# The dependencies of one of our images, below the layer that changes with the
# code. Compiled here, because the running container cannot write, and unchecked
# at import, because nothing in the image changes after the build.
ARG BASE
FROM ${BASE}
COPY site /app/site
RUN ["python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "/app/site"]
