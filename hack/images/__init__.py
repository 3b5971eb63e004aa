"""Images for local clusters: real Dockerfiles built by buildah, without a daemon; `python -m hack.images operator`."""
