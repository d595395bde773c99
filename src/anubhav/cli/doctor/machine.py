"""What the doctor finds of the port."""

import socket

from anubhav.cli.failures import ServerRefused, Unreachable
from anubhav.cli.remote import Remote
from anubhav.types.health import Finding


def port(host: str, number: int) -> Finding:
    where = f"{host}:{number}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as problem:
            return _taken(where, problem)
    return Finding("port", "ok", f"{where} is free")


def _taken(where: str, problem: OSError) -> Finding:
    remote = Remote(f"http://{where}", "", timeout=5)
    try:
        models = remote.get("/healthz")["models"]
        return Finding("port", "ok", f"an Anubhav server answers at {where} with {', '.join(models)}")
    except (Unreachable, ServerRefused, KeyError, TypeError):
        says = f"{where} cannot be listened on ({problem.strerror or problem})"
        return Finding("port", "fail", says, "Something else is there: choose another with --port.")
    finally:
        remote.close()
