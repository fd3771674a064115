"""Which pods of a target leave when it shrinks."""

from hailstorm_operator.pod_views import PodView
from hailstorm_operator.victims import choose_victims


def pod(name: str, node: str = "n1", created: str = "1", **more: bool) -> PodView:
    return PodView(
        name, f"10.0.0.{name}", node, more.get("ready", True), more.get("leaving", False),
        created, {},
    )  # fmt: skip


def loads(**known: float) -> dict[str, float]:
    return {f"10.0.0.{name}": value for name, value in known.items()}


def test_least_busy_leave() -> None:
    pods = [pod("a"), pod("b"), pod("c")]
    assert choose_victims(pods, loads(a=5, b=1, c=3), 1) == ("b",)
    assert choose_victims(pods, loads(a=5, b=1, c=3), 2) == ("b", "c")


def test_pod_that_is_not_ready_leaves_first() -> None:
    pods = [pod("a"), pod("b", ready=False), pod("c")]
    assert choose_victims(pods, loads(a=0, c=0), 1) == ("b",)


def test_of_equals_leaves_one_of_the_fullest_node() -> None:
    pods = [pod("a", "n1", created="9"), pod("b", "n2"), pod("c", "n2")]
    assert choose_victims(pods, loads(a=0, b=0, c=0), 1)[0] in ("b", "c")


def test_of_equals_on_one_node_leaves_the_youngest() -> None:
    pods = [pod("a", created="1"), pod("b", created="3"), pod("c", created="2")]
    assert choose_victims(pods, loads(a=0, b=0, c=0), 1) == ("b",)


def test_pod_that_leaves_already_is_not_chosen() -> None:
    pods = [pod("a", leaving=True), pod("b"), pod("c")]
    assert choose_victims(pods, loads(a=0, b=1, c=2), 1) == ("b",)


def test_nobody_is_chosen_where_a_pod_has_no_figure() -> None:
    assert choose_victims([pod("a"), pod("b")], loads(a=0), 1) == ()
    assert choose_victims([pod("a"), pod("b")], {}, 1) == ()


def test_nobody_is_chosen_when_none_or_all_are_to_go() -> None:
    pods = [pod("a"), pod("b")]
    assert choose_victims(pods, loads(a=0, b=0), 0) == ()
    assert choose_victims(pods, loads(a=0, b=0), 2) == ()
