"""Machines of a test: network namespaces with one network to the test and one to Postgres, which can be cut."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

DISABLED, FORWARDING = "0", "3"  # states of a bridge's port: what arrives is dropped without a word, or passed on


class Network:
    """A machine for each name, on two bridges of this machine.

    Parameters
    ----------
    names : sequence of str
        Names of the machines.

    Attributes
    ----------
    address : str
        Address of the test, which every machine reaches at any time.
    database_address : str
        Address of this machine on the network that can be cut.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._tag = f"t{os.getpid() % 100_000}"
        first = f"10.{64 + os.getpid() % 128}"
        self.address, self.database_address = f"{first}.1.1", f"{first}.2.1"
        self._numbers = {name: number for number, name in enumerate(names, start=2)}
        self._networks = {"m": f"{first}.1", "d": f"{first}.2"}  # to the test, and to Postgres
        try:
            self._make()
        except subprocess.CalledProcessError:
            self.close()
            raise

    @staticmethod
    def missing() -> str | None:
        """Return why no machines can be made here, or None."""
        if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("bridge")):
            return "needs root, and iproute2's ip and bridge"
        probe = f"t{os.getpid()}probe"
        if subprocess.run(["ip", "netns", "add", probe], capture_output=True).returncode != 0:
            return "network namespaces cannot be made here"
        _run("ip", "netns", "delete", probe)
        return None

    def address_of(self, name: str) -> str:
        """Return the address at which the test reaches a machine."""
        return f"{self._networks['m']}.{self._numbers[name]}"

    def database_address_of(self, name: str) -> str:
        """Return the address from which Postgres is reached by a machine."""
        return f"{self._networks['d']}.{self._numbers[name]}"

    def prefix(self, name: str) -> tuple[str, ...]:
        """Return the words before a command that is to run on a machine."""
        return "ip", "netns", "exec", self._namespace(name)

    @contextmanager
    def cut(self, *names: str) -> Iterator[None]:
        """Drop all that is sent between machines and Postgres, without a word to either."""
        for name in names:
            _run("bridge", "link", "set", "dev", self._port("d", name), "state", DISABLED)
        try:
            yield
        finally:
            for name in names:
                _run("bridge", "link", "set", "dev", self._port("d", name), "state", FORWARDING)

    def close(self) -> None:
        for name in self._numbers:
            with suppress(subprocess.CalledProcessError):
                _run("ip", "netns", "delete", self._namespace(name))
        for kind in self._networks:
            with suppress(subprocess.CalledProcessError):
                _run("ip", "link", "delete", self._tag + kind)

    def _make(self) -> None:
        for kind, network in self._networks.items():
            _run("ip", "link", "add", self._tag + kind, "type", "bridge")
            _run("ip", "address", "add", f"{network}.1/24", "dev", self._tag + kind)
            _run("ip", "link", "set", "dev", self._tag + kind, "up")
        for name, number in self._numbers.items():
            namespace = self._namespace(name)
            _run("ip", "netns", "add", namespace)
            _run("ip", "-n", namespace, "link", "set", "lo", "up")
            for kind, network in self._networks.items():
                port = self._port(kind, name)
                _run("ip", "link", "add", port, "type", "veth", "peer", "name", kind, "netns", namespace)
                _run("ip", "link", "set", "dev", port, "master", self._tag + kind, "up")
                _run("ip", "-n", namespace, "address", "add", f"{network}.{number}/24", "dev", kind)
                _run("ip", "-n", namespace, "link", "set", "dev", kind, "up")

    def _namespace(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def _port(self, kind: str, name: str) -> str:
        return f"{self._tag}{kind}{self._numbers[name]}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
