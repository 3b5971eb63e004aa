"""Command line of hack/cluster: `python -m hack.cluster up --name a --nodes 2 --fake-nodes 20 --fake-gpus 8`."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hack.shell import Failure, cache_dir, say, tail

from . import discovery, fault, lifecycle, node, process, prometheus
from .control_plane import ready
from .spec import DEFAULT_NAME, Spec, clusters, find
from .tools import program


def main(words: list[str] | None = None) -> int:
    """Run one command; a failure is one clear message and exit code 1."""
    options = _parser().parse_args(words)
    try:
        options.action(options)
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hack.cluster", description="Real Kubernetes clusters on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action: object, help: str | None, named: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help) if help else commands.add_parser(name)
        made.set_defaults(action=action)
        if named:
            made.add_argument("--name", default=DEFAULT_NAME, help="the cluster (default: %(default)s)")
        return made

    up = command("up", _up, "make a cluster and wait until it is Ready")
    up.add_argument("--nodes", type=int, default=1, help="real nodes (default 1); 0: control plane only")
    up.add_argument("--fake-nodes", type=int, default=0, help="nodes by KWOK, tainted kwok.x-k8s.io/node=fake")
    up.add_argument("--fake-gpus", type=int, default=0, help="nvidia.com/gpu on each fake node")
    up.add_argument("--prometheus", action="store_true", help="a Prometheus that scrapes model servers")
    command("down", _down, "take a cluster away; nothing of it stays").add_argument("--all", action="store_true")
    command("status", _status, "show all clusters, their components and faults", named=False)
    command("env", _env, 'print shell settings: eval "$(python -m hack.cluster env)"')
    logs = command("logs", _logs, "print the end of a component's log, or of each")
    logs.add_argument("component", nargs="?")
    logs.add_argument("--lines", type=int, default=20)
    load = command("load-image", _load_image, "import an OCI archive on all real nodes")
    load.add_argument("file", type=Path)
    kinds = "\n".join(f"  {kind:10} {text}" for kind, text in fault.KINDS.items())
    broken = command("fault", _fault, "break something for a time; undone by itself")
    broken.formatter_class = argparse.RawDescriptionHelpFormatter
    broken.description = (
        f"Break something for a time; it is undone by itself.\n\n{kinds}\n  clear      undo all faults now"
    )
    broken.add_argument("kind", choices=[*fault.KINDS, "clear"])
    broken.add_argument("target", nargs="?", help="a node, a component or another cluster, as `status` names it")
    broken.add_argument("--wait", action="store_true", help="return when it is over")
    hold = command("fault-hold", _fault_hold, None)
    hold.add_argument("kind")
    hold.add_argument("target")
    command("discover", _discover, None)
    for each in (broken, hold):
        each.add_argument("--seconds", type=float, default=30)
        each.add_argument("--milliseconds", type=int, default=0, help="for a delay: how much, each way")
    return parser


def _up(options: argparse.Namespace) -> None:
    started = time.monotonic()
    spec = lifecycle.up(Spec(options.name, options.nodes, options.fake_nodes, options.fake_gpus, options.prometheus))
    say(f"cluster {spec.name} is Ready after {time.monotonic() - started:.0f} s; kubeconfig: {spec.kubeconfig}")


def _down(options: argparse.Namespace) -> None:
    for spec in clusters() if options.all else [find(options.name)]:
        lifecycle.down(spec)
        say(f"cluster {spec.name} is gone")


def _status(_: argparse.Namespace) -> None:
    for spec in clusters():
        state = "ready" if ready(spec) else "not ready"
        scraped = f", Prometheus {prometheus.url(spec)}" if spec.prometheus else ""
        print(f"{spec.name}: {state}, {spec.nodes} nodes, {spec.fake_nodes} fake nodes, API {spec.server}{scraped}")
        for name in process.names(spec):
            number = process.pid(spec, name)
            print(f"  {name:40} {f'pid {number}' if number else 'not running':14} {process.log(spec, name)}")
    if not clusters():
        print("no clusters")


def _env(options: argparse.Namespace) -> None:
    spec = find(options.name)
    links = cache_dir("bin")
    link = links / "kubectl"
    link.unlink(missing_ok=True)
    link.symlink_to(program("kubectl"))
    scraped = f" PROMETHEUS_URL={prometheus.url(spec)}" if spec.prometheus else ""
    print(f'export KUBECONFIG={spec.kubeconfig} PATH="{links}:$PATH"{scraped}')


def _logs(options: argparse.Namespace) -> None:
    spec = find(options.name)
    for name in [options.component] if options.component else process.names(spec):
        file = process.log(spec, name)
        if not file.exists():
            raise Failure(f"{name}: no log; the components are {', '.join(process.names(spec))}")
        print(f"==> {file} <==\n{tail(file.read_text(errors='replace'), options.lines)}")


def _load_image(options: argparse.Namespace) -> None:
    spec = find(options.name)
    if not options.file.is_file():
        raise Failure(f"{options.file}: no such file; an OCI archive is expected")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda each: node.load_image(each, options.file), spec.node_list))


def _fault(options: argparse.Namespace) -> None:
    spec = find(options.name)
    if options.kind == "clear":
        say(f"undone: {', '.join(fault.clear(spec)) or 'nothing'}")
        return
    if options.target is None:
        raise Failure(f"fault {options.kind}: name its target, as `status` shows it")
    name = fault.inject(spec, options.kind, options.target, options.seconds, options.milliseconds)
    say(f"{name} for {options.seconds:g} s")
    while options.wait and name in fault.active(spec):
        time.sleep(0.2)


def _fault_hold(options: argparse.Namespace) -> None:
    fault.hold(find(options.name), options.kind, options.target, options.seconds, options.milliseconds)


def _discover(options: argparse.Namespace) -> None:
    discovery.run(find(options.name))


if __name__ == "__main__":
    sys.exit(main())
