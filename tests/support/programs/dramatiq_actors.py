"""Actors for Dramatiq, and its broker."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from support.programs import URL

# Dramatiq's script declares one key, its namespace, and makes up others after it has written to
# the first. Every call looks after dead workers, not one in a thousand.
broker = RedisBroker(url=os.environ[URL], maintenance_chance=1_000_000)
broker.add_middleware(Results(backend=RedisBackend(url=os.environ[URL])))
broker.add_middleware(CurrentMessage())
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def square(number: int) -> int:
    return number * number


@dramatiq.actor(store_results=True, max_retries=5, min_backoff=1, max_backoff=10)
def succeeds_at_the_third_try() -> int:
    message = CurrentMessage.get_current_message()
    assert message is not None
    tries: int = message.options.get("retries", 0)
    if tries < 2:
        raise RuntimeError(f"try {tries}")
    return tries


@dramatiq.actor(max_retries=0, queue_name="other")
def fails() -> None:
    raise RuntimeError("this actor always fails")
