"""Tasks for Celery, and the application."""

import json
import os

from celery import Celery, Task
from support.programs import URL

TRANSPORT = "SHOAL_TEST_TRANSPORT"
"""The variable with the options of the broker's transport, in JSON."""

app = Celery("programs", broker=os.environ[URL], backend=os.environ[URL])
app.conf.broker_transport_options = json.loads(os.environ[TRANSPORT])
app.conf.task_default_queue = "default"


@app.task
def add(left: int, right: int) -> int:
    return left + right


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def fails() -> None:
    raise ValueError("this task always fails")


@app.task(bind=True, max_retries=5)
def succeeds_at_the_third_try(self: Task) -> int:
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return int(self.request.retries)
