"""Real Kubernetes clusters on one Linux machine, without Docker: `python -m hack.cluster --help`.

A cluster is etcd, the control plane, nodes (each a kubelet, containerd and kube-proxy in a network namespace of its
own) and, by KWOK, fake nodes. `spec` says what a cluster is, `lifecycle` makes it and takes it away, `fault` breaks it
for a time.
"""
