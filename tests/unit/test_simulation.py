"""The simulator behind docs/scale.md agrees with what is known in closed form."""

from __future__ import annotations

import random

import pytest

from tests.benchmarks.simulated_fleet import Cell, Cost, FleetModel, Load
from tests.benchmarks.simulation import Process, Quota, Resource, Simulator, arrivals, mean


def queue(*, servers: int, rate: float, service: float, seconds: float) -> tuple[float, float]:
    """Mean seconds in a queue with exponential arrivals and service, and how busy its servers were."""
    simulator, rand = Simulator(), random.Random(3)  # noqa: S311 - the same every time
    resource, stayed = Resource(simulator, servers), list[float]()

    def customer() -> Process:
        came = simulator.now
        yield resource
        yield rand.expovariate(1 / service)
        resource.release()
        stayed.append(simulator.now - came)

    simulator.start(arrivals(simulator, customer, rate=rate, seconds=seconds, rand=rand))
    simulator.run()
    return mean(stayed), resource.utilisation()


def test_one_server_is_as_in_the_book() -> None:
    """M/M/1: a stay of 1 / (mu - lambda)."""
    stay, busy = queue(servers=1, rate=0.7, service=1.0, seconds=40_000)
    assert stay == pytest.approx(1 / (1 - 0.7), rel=0.1)
    assert busy == pytest.approx(0.7, rel=0.03)


def test_two_servers_are_as_in_the_book() -> None:
    """M/M/2: 1 / (mu (1 - rho²))."""
    stay, busy = queue(servers=2, rate=1.4, service=1.0, seconds=20_000)
    assert stay == pytest.approx(1 / (1 - 0.7**2), rel=0.1)
    assert busy == pytest.approx(0.7, rel=0.03)


def test_a_quota_spaces_calls_out() -> None:
    quota = Quota(Simulator(), rate=10)
    assert [quota.wait() for _ in range(3)] == pytest.approx([0.0, 0.1, 0.2])


def test_whoever_waits_is_served_in_turn() -> None:
    simulator, order = Simulator(), list[int]()
    resource = Resource(simulator, 1)

    def customer(number: int) -> Process:
        yield resource
        yield 1.0
        order.append(number)
        resource.release()

    for number in range(4):
        simulator.start(customer(number))
    simulator.run()
    assert (order, simulator.now, resource.longest) == ([0, 1, 2, 3], 4.0, 3)


def model(*, agents: int, quota: float = 1e6) -> FleetModel:
    cell = Cell(cores=4, job_threads=16, commit_processes=8, database_cores=2, quota=quota)
    load = Load(agents=agents, decisions=0.0002, reads=0.018)
    costs = {"commit": Cost(0.02, 0.005, 4, 0.1), "read": Cost(0.012, 0.002, 1, 0.1)}
    return FleetModel(cell, load, **costs, rand=random.Random(5))  # noqa: S311 - the same every time


def test_a_fleet_is_as_busy_as_its_work() -> None:
    found = model(agents=1000).run(600)
    assert found.utilisation["cores"] == pytest.approx(1000 * (0.0002 * 0.02 + 0.018 * 0.012) / 4, rel=0.1)
    assert found.calls == pytest.approx(1000 * (0.0002 * 4 + 0.018), rel=0.1)
    assert found.summary()["decision p50"] == pytest.approx(0.425, rel=0.2)


def test_a_quota_that_is_too_small_is_what_breaks() -> None:
    """18 calls a second are wanted."""
    enough, scarce = model(agents=1000, quota=40).run(300), model(agents=1000, quota=12).run(300)
    assert scarce.summary()["decision p99"] > 10 * enough.summary()["decision p99"]
