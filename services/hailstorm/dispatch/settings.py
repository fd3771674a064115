"""The settings of the dispatch service."""

from dataclasses import dataclass

from hailstorm.runtime.process import EdgeSettings, ProcessSettings
from hailstorm.runtime.settings import Secret, group, setting


@dataclass(frozen=True, slots=True)
class MatchingSettings:
    """How far dispatch looks for a driver, and for how long."""

    auto_accept: bool = setting(
        True,
        doc="Whether the driver's yes is given on the driver's behalf. false leaves the trip "
        "OFFERED until somebody answers the offer.",
    )
    first_radius_m: int = setting(
        2_000, doc="Metres of the first look. A guess: five minutes of a taxi.", minimum=1,
        maximum=20_000,
    )  # fmt: skip
    last_radius_m: int = setting(
        10_000, doc="Metres of the last look. A guess: a rider waits no longer than that drive.",
        minimum=1, maximum=20_000,
    )  # fmt: skip
    radius_growth: float = setting(
        2.5,
        doc="How much further each look reaches; 2 km, 5 km, 10 km take three.",
        minimum=1.1,
        maximum=100,
    )
    candidates: int = setting(
        10,
        doc="Drivers of one look. Ten are enough that another request takes all of them only in a "
        "crowd; each costs Postgres an index probe.",
        minimum=1,
        maximum=100,
    )
    rounds_per_radius: int = setting(
        3,
        doc="Looks at the same radius when all candidates were taken meanwhile.",
        minimum=1,
        maximum=20,
    )
    waits_without_drivers: bool = setting(
        False,
        doc="Whether a request for which no driver is near waits for one, REQUESTED, until "
        "patience_seconds. false tells the rider at once that there is none, so that they can "
        "take the tram.",
    )
    patience_seconds: float = setting(
        45.0,
        doc="Seconds after the request for which another driver is looked for when one declined "
        "or let the offer expire; then the trip ends as UNFULFILLED. Three offers of 15 s. Stay "
        "below trip.request_max_age_seconds.",
        minimum=0,
        maximum=3600,
    )
    call_seconds: float = setting(
        2.0,
        doc="Most seconds that one call to another service may take, Envoy's retries included.",
        minimum=0.05,
        maximum=60,
    )
    reply_margin_seconds: float = setting(
        0.05,
        doc="Seconds of the caller's deadline kept back, so that our answer still arrives.",
        minimum=0,
        maximum=5,
    )
    neighbour_max_calls: int = setting(
        160,
        doc="Calls to one neighbour at a time; more are refused, and of those that begin "
        "something more than 80 %. Half of server.max_concurrent, so that one that does not answer "
        "leaves the other half to who does not need it.",
        minimum=1,
        maximum=100_000,
    )
    breaker_failures: int = setting(
        8,
        doc="Failures in a row after which a neighbour is not asked for a moment. Each has been "
        "tried on five pods by the edge; a killed pod's calls are fewer. A guess.",
        minimum=1,
        maximum=1000,
    )
    breaker_open_seconds: float = setting(
        0.25,
        doc="Seconds for which it is not asked; then by one caller, until it answers.",
        minimum=0.01,
        maximum=60,
    )


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How requests are matched together; flag `batch-matching`."""

    new_requests: bool = setting(
        False,
        doc="Whether requests that have just come wait for each other in windows too. Riders who "
        "wait are matched together in any case. false, as windows gained nothing in "
        "benchmarks/matching.py up to 18 requests a second.",
    )
    shortest_milliseconds: int = setting(
        50, doc="Milliseconds of the shortest window, in the busiest cells.", minimum=1,
        maximum=1000,
    )  # fmt: skip
    longest_milliseconds: int = setting(
        200,
        doc="Milliseconds of the longest window. A cell where nobody else is expected within it "
        "has none at all.",
        minimum=1,
        maximum=5000,
    )
    max_requests: int = setting(
        64,
        doc="Requests at which a window is solved before its time: 2 ms of work, 7 at worst "
        "(measured), for which the process serves nobody else.",
        minimum=2,
        maximum=500,
    )
    max_waiting: int = setting(
        128,
        doc="Requests waiting in all windows of the process above which further ones take the "
        "nearest driver at once: half of the calls that a pod takes in.",
        minimum=1,
        maximum=100_000,
    )


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How trips that were left without a driver are taken up again, by any pod."""

    poll_milliseconds: int = setting(
        1000,
        doc="Milliseconds between two looks for such trips. One query of 1 ms; a decline on this "
        "pod is taken up at once.",
        minimum=10,
        maximum=60_000,
    )
    lease_seconds: float = setting(
        2.0,
        doc="Seconds for which a trip is one pod's; the pause between two looks for the same trip, "
        "and how soon another pod takes over from one that died. Longer than a look takes.",
        minimum=0.1,
        maximum=3600,
    )
    min_age_seconds: float = setting(
        10.0,
        doc="Seconds for which a new request is left to the call that put it on record. Not below "
        "the longest deadline of a call (edge.deadlines.maxSeconds): with 3 s, a process in "
        "overload searched twice for each request that took longer (seen).",
        minimum=0,
        maximum=3600,
    )
    max_concurrent: int = setting(
        50,
        doc="Trips that one process looks for at once. A guess: a fifth of the calls it serves.",
        minimum=1,
        maximum=500,
    )


@dataclass(frozen=True, slots=True)
class OfferSettings:
    """How drivers hear of offers."""

    poll_milliseconds: int = setting(
        300,
        doc="Milliseconds between two looks at the offers of all watched drivers; what this "
        "process does shows at once. Of 15 s to answer, nobody misses them.",
        minimum=10,
        maximum=60_000,
    )


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """How demand and supply of a cell are weighed; flags `surge` and `request-gate`."""

    poll_milliseconds: int = setting(
        2000,
        doc="Milliseconds between two looks at demand and supply. One query, and a search for each "
        "cell with busy_requests.",
        minimum=10,
        maximum=3_600_000,
    )
    window_seconds: float = setting(
        60.0,
        doc="Seconds of requests that are counted. A guess: long enough to be more than noise, "
        "short enough to follow a flash crowd.",
        minimum=1,
        maximum=3600,
    )
    memory_seconds: float = setting(
        30.0,
        doc="Time constant of the smoothing of prices, in seconds. After it, two thirds of a step "
        "have been taken. A guess.",
        minimum=0.1,
        maximum=3600,
    )
    busy_requests: int = setting(
        3,
        doc="Requests in the window below which a cell is not weighed: its multiplier is 1.0 and "
        "its gate open.",
        minimum=1,
        maximum=100_000,
    )
    gate_ratio: float = setting(
        2.0,
        doc="Unallocated requests for each idle driver at which new ones are refused. A guess: the "
        "second of two may get the driver who becomes free next.",
        minimum=0,
        maximum=1000,
    )
    gate_allowance: int = setting(
        10,
        doc="Unallocated requests that are always let in during a window, drivers or not. A guess.",
        minimum=1,
        maximum=100_000,
    )
    gate_retry_seconds: float = setting(
        5.0,
        doc="Seconds after which a refused rider may ask again, spread by half to either side. A "
        "guess: two looks at the market.",
        minimum=0.1,
        maximum=3600,
    )


@dataclass(frozen=True, slots=True)
class QuoteSettings:
    """How quotes are signed, and how long they hold."""

    key: Secret | None = setting(
        None,
        doc="Secret that all pods sign and check quotes with. Without one, each process makes its "
        "own, and knows no other's quotes.",
    )
    ttl_seconds: float = setting(
        120.0,
        doc="Seconds for which a quoted multiplier is kept. A guess: to read a price and tap.",
        minimum=1,
        maximum=86_400,
    )


@dataclass(frozen=True, kw_only=True)
class DispatchSettings(ProcessSettings):
    """All settings of the dispatch service."""

    edge: EdgeSettings = group(EdgeSettings)
    dispatch: MatchingSettings = group(MatchingSettings)
    batch: BatchSettings = group(BatchSettings)
    search: SearchSettings = group(SearchSettings)
    offers: OfferSettings = group(OfferSettings)
    market: MarketSettings = group(MarketSettings)
    quotes: QuoteSettings = group(QuoteSettings)
