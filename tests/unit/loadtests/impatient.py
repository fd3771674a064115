"""
A generator's process that has calls wait, and then makes one that need not.

Prints the code and the city of each call in the order in which they ended, a line each.
`init_gevent` comes first, as in `python -m hailstorm_loadtests`.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import grpc.experimental.gevent as grpc_gevent  # type: ignore[import-not-found]

grpc_gevent.init_gevent()

import argparse

import gevent

from hailstorm.location.v1 import location_pb2
from hailstorm_loadtests.calls import Caller, Subject, now
from hailstorm_loadtests.history import Call


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--waiting", type=int, required=True, help="calls that wait")
    parser.add_argument("--deadline", type=float, required=True, help="of theirs, seconds")
    parser.add_argument("--last-city", required=True, help="of the call after them")
    parser.add_argument("--last-deadline", type=float, required=True)
    options = parser.parse_args()
    cities: dict[int, str] = {}

    def note(line: Call) -> None:
        print(line.code, cities[id(gevent.getcurrent())], flush=True)

    caller = Caller(options.target, note)

    def look(city: str, deadline: float) -> None:
        cities[id(gevent.getcurrent())] = city
        request = location_pb2.NearbyDriversRequest(city_id=city)
        caller.call("NearbyDrivers", request, now(), deadline, Subject())

    lives = [gevent.spawn(look, "slow", options.deadline) for _ in range(options.waiting)]
    gevent.sleep(0.5)
    lives.append(gevent.spawn(look, options.last_city, options.last_deadline))
    gevent.joinall(lives)
    caller.close()


if __name__ == "__main__":
    main()
