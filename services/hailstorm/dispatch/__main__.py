"""The dispatch process: `python3 -m hailstorm.dispatch`."""

import logging
import os
import secrets

from hailstorm.dispatch.batching import Batcher
from hailstorm.dispatch.flags import FLAGS
from hailstorm.dispatch.market import Market
from hailstorm.dispatch.matcher import Matcher
from hailstorm.dispatch.neighbours import Neighbours
from hailstorm.dispatch.quotes import Quotes
from hailstorm.dispatch.searches import Searches
from hailstorm.dispatch.servicer import PRIORITIES, SERVICE_NAME, DispatchServicer
from hailstorm.dispatch.settings import DispatchSettings, QuoteSettings
from hailstorm.dispatch.v1 import dispatch_pb2_grpc
from hailstorm.dispatch.watches import OfferWatches
from hailstorm.runtime.channels import edge_channel
from hailstorm.runtime.run import Process, serve
from hailstorm.runtime.settings import settings_or_exit

_log = logging.getLogger(__name__)


async def start(process: Process[DispatchSettings]) -> None:
    """Build the service; the edge is not asked for until the first call."""
    settings, clock, registry = process.settings, process.clock, process.registry
    lifecycle, flags = process.lifecycle, process.flags
    channel = edge_channel(settings.edge.address)
    lifecycle.on_close("edge", channel.close)
    neighbours = Neighbours(channel, settings.dispatch, clock, registry)
    batcher = Batcher(settings.batch, clock, flags, registry)
    matcher = Matcher(settings.dispatch, neighbours, batcher, registry)
    market = Market(
        settings.market, settings.dispatch.first_radius_m, neighbours, flags, clock, registry
    )
    watches = OfferWatches(
        neighbours, clock, registry, lifecycle.draining, settings.offers.poll_milliseconds / 1000
    )
    matcher.on_offer(lambda trip: watches.changed(trip.city_id, trip.driver_id))
    searches = Searches(settings.search, neighbours, matcher, lifecycle.draining, clock)
    matcher.on_wait(searches.keep)
    lifecycle.start_task("searches", searches.run)
    lifecycle.start_task("market", market.follow)
    lifecycle.start_task("offer-watches", watches.feed)
    lifecycle.start_task("offer-watches-drain", watches.end_with_drain)
    quotes = Quotes(_quote_key(settings.quotes), settings.quotes.ttl_seconds, clock)
    process.register(
        dispatch_pb2_grpc.add_DispatchServiceServicer_to_server,
        DispatchServicer(matcher, neighbours, market, quotes, watches, searches.wake),
        SERVICE_NAME,
        PRIORITIES,
    )


def _quote_key(settings: QuoteSettings) -> str:
    if settings.key is not None:
        return settings.key
    _log.warning("no quotes.key is set: quotes given here are good on this process alone")
    return secrets.token_hex(32)


if __name__ == "__main__":
    serve("dispatch", settings_or_exit(DispatchSettings, os.environ), start, flags=FLAGS)
