"""
A real Redis Cluster as child processes: three masters, and replicas on demand.

Each server is told its address by the others as it would be in life, so that a
client that starts from one of them has to find the rest.
"""

import time
from typing import Any, Final

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from integration.stores import RedisServer, free_port, wait_until

MASTERS: Final = 3
# Milliseconds until a master counts as failed; Redis' default is 15 s, and a test has no time.
NODE_TIMEOUT: Final = 1000


class RedisCluster:
    """
    The servers, masters first.

    Attributes:
        servers: RedisServers, to be killed, frozen and started again.
    """

    def __init__(self, replicas: int = 0) -> None:
        # Redis' own choice, 10,000 above the port, may not exist for a free port.
        self._buses = [free_port() for _ in range(MASTERS + replicas)]
        self.servers = [
            RedisServer(
                *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
                *(
                    "--cluster-node-timeout",
                    str(NODE_TIMEOUT),
                    "--masterauth",
                    RedisServer.password,
                ),
                # A replica of a master that held nothing must not wait for its data.
                *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"),
            )
            for bus in self._buses
        ]
        self._clients: dict[int, Redis] = {}

    def start(self) -> None:
        """Start, and return when every slot is served."""
        for server in self.servers:
            server.start()
        first = self.servers[0]
        share = REDIS_CLUSTER_HASH_SLOTS // MASTERS + 1
        for i, server in enumerate(self.servers[:MASTERS]):
            last = min((i + 1) * share, REDIS_CLUSTER_HASH_SLOTS) - 1
            self.ask(server, "CLUSTER", "ADDSLOTSRANGE", i * share, last)
            # Or two servers may both take themselves for the first.
            self.ask(server, "CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        for server in self.servers[1:]:
            self.ask(server, "CLUSTER", "MEET", first.host, first.port, self._buses[0])
        wait_until(lambda: all(map(self._knows_all, self.servers)), "all servers know each other")
        for i, replica in enumerate(self.servers[MASTERS:]):
            self.ask(replica, "CLUSTER", "REPLICATE", self.name_of(self.servers[i % MASTERS]))
        wait_until(self.is_whole, "every slot is served")

    def is_whole(self) -> bool:
        """Whether every server that runs finds all slots served."""
        return all("cluster_state:ok" in self._info(server) for server in self.servers)

    def ask(self, server: RedisServer, *words: str | int) -> Any:
        """The answer to a command."""
        if server.port not in self._clients:
            self._clients[server.port] = Redis(
                host=server.host, port=server.port, password=server.password, decode_responses=True
            )
        pipeline = self._clients[server.port].pipeline(transaction=False)
        pipeline.execute_command(*words)
        return pipeline.execute()[0]

    def name_of(self, server: RedisServer) -> str:
        """The name that the cluster has for a server."""
        return str(self.ask(server, "CLUSTER", "MYID"))

    def owner_of(self, key: str) -> RedisServer:
        """The master that holds a key, as the first server that runs sees it."""
        slot = key_slot(key.encode())
        for first, last, master, *_ in self.ask(self._alive()[0], "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                (owner,) = [s for s in self.servers if s.port == master[1]]
                return owner
        raise AssertionError(f"nobody holds slot {slot}")

    def is_master(self, server: RedisServer) -> bool:
        """Whether a server is no replica."""
        return bool(self.ask(server, "INFO", "replication")["role"] == "master")

    def keys_on(self, server: RedisServer) -> int:
        """How many keys a server holds."""
        return int(self.ask(server, "DBSIZE"))

    def empty(self) -> None:
        """Forget all keys and scripts."""
        for server in self.servers:
            if self.is_master(server):
                self.ask(server, "FLUSHALL")
            self.ask(server, "SCRIPT", "FLUSH")

    def wait_until_whole(self) -> float:
        """Wait for `is_whole`; the seconds it took."""
        began = time.monotonic()
        wait_until(self.is_whole, "every slot is served again")
        return time.monotonic() - began

    def remove(self) -> None:
        """End all servers."""
        for client in self._clients.values():
            client.close()
        for server in self.servers:
            server.remove()

    def _alive(self) -> list[RedisServer]:
        return [server for server in self.servers if server.command("PING") == b"+PONG"]

    def _knows_all(self, server: RedisServer) -> bool:
        lines = str(self.ask(server, "CLUSTER", "NODES")).splitlines()
        return len(lines) == len(self.servers) and not any("handshake" in line for line in lines)

    def _info(self, server: RedisServer) -> str:
        try:
            return str(self.ask(server, "CLUSTER", "INFO"))
        except OSError:
            return ""
