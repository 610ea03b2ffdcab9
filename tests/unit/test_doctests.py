"""Every example in a docstring is true, and every module can be imported by itself."""

import doctest
import importlib
import pkgutil

import pytest
import shoal.proto
import shoal.supervisor
import shoal.worker

PACKAGES = (shoal.proto, shoal.supervisor, shoal.worker)
MODULES = [package.__name__ for package in PACKAGES] + [
    module.name
    for package in PACKAGES
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
