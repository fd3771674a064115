"""Load stays at home."""

import pytest

from hailstorm_loadtests.fence import Resolver, TargetError, assert_private, parse_target


def answering(*addresses: str) -> Resolver:
    def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:18080", "dns:///127.0.0.1:18080"),
        ("localhost:18080", "dns:///localhost:18080"),
        ("[::1]:8080", "dns:///[::1]:8080"),
        ("10.244.1.7:8080", "dns:///10.244.1.7:8080"),
        ("edge-headless:8080", "dns:///edge-headless:8080"),
        ("dns:///edge.hailstorm.svc:80", "dns:///edge.hailstorm.svc:80"),
        (
            "dns:///edge-headless.hailstorm.svc.cluster.local:8080",
            "dns:///edge-headless.hailstorm.svc.cluster.local:8080",
        ),
    ],
)
def test_targets_inside_the_fence_are_taken(text: str, address: str) -> None:
    assert parse_target(text).address == address


@pytest.mark.parametrize(
    "text",
    [
        "example.org:443",
        "8.8.8.8:80",
        "169.254.169.254:80",
        "0.0.0.0:80",
        "192.0.2.1:80",
        "[2001:db8::1]:80",
        "evil.example.org.svc.cluster.local.:80",
        "a.b.c.d.svc:80",
        "svc.cluster.local.example.org:80",
        "edge-headless",
        "edge-headless:0",
        "edge-headless:http",
        "http://edge-headless:80",
        ":80",
        "",
    ],
)
def test_targets_outside_the_fence_are_refused(text: str) -> None:
    with pytest.raises(TargetError):
        parse_target(text)


def test_name_that_leads_outside_is_refused() -> None:
    target = parse_target("edge-headless:8080")
    assert assert_private(target, answering(*["10.1.2.3"])) == ["10.1.2.3"]
    with pytest.raises(TargetError, match=r"public addresses: 93\.184\.216\.34"):
        assert_private(target, answering(*["10.1.2.3", "93.184.216.34"]))
    with pytest.raises(TargetError, match="no address"):
        assert_private(target, answering(*[]))


def test_name_that_does_not_resolve_is_refused() -> None:
    def fail(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(TargetError, match="does not resolve"):
        assert_private(parse_target("edge:1"), fail)
