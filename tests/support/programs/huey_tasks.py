"""Tasks for Huey."""

import os
from typing import Any

from huey import PriorityRedisHuey, RedisHuey
from support.programs import URL

huey = RedisHuey("plain", url=os.environ[URL])
by_priority = PriorityRedisHuey("priority", url=os.environ[URL])
TRIES_LEFT = "tries left"


@huey.task()
def add(left: int, right: int) -> int:
    return left + right


@huey.task(retries=2, context=True)
def succeeds_at_the_third_try(task: Any = None) -> None:
    huey.storage.conn.rpush(TRIES_LEFT, task.retries)
    if task.retries:
        raise RuntimeError(f"{task.retries} tries left")


@huey.task()
@huey.lock_task("one at a time")
def alone(number: int) -> int:
    return number


@by_priority.task()
def append(word: str) -> None:
    by_priority.storage.conn.rpush("words", word)
