# The base image as it is, for pods that run a few lines of Python.
ARG BASE
FROM ${BASE}
USER 65532:65532
ENTRYPOINT ["python3"]
