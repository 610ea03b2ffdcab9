"""Geohashes against naive calculations: bit by bit, by halving, by the law of cosines."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shoal.worker.values.geohash import (
    EARTH_RADIUS_M,
    LAT_MAX,
    LAT_MIN,
    LON_MAX,
    LON_MIN,
    Part,
    Point,
    Shape,
    areas,
    decode,
    deinterleave,
    distance,
    encode,
    in_range,
    integer_score,
    interleave,
    members_in_circle,
    plain_position,
    plan,
    text,
)

CELLS = 1 << 26
longitudes = st.floats(LON_MIN, LON_MAX)
latitudes = st.floats(LAT_MIN, LAT_MAX)

Position = tuple[float, float]


def spread(number: int) -> int:
    """Put bit i at 2 * i, one by one."""
    return sum((number >> i & 1) << 2 * i for i in range(32))


@given(st.integers(0, CELLS), st.integers(0, CELLS))
@example(CELLS, CELLS)
def test_interleaving(even: int, odd: int) -> None:
    bits = interleave(even, odd)
    assert bits == spread(even) | spread(odd) << 1
    assert deinterleave(bits) == (even, odd)


@given(st.integers(0, (1 << 64) - 1))
def test_deinterleaving_any_number(bits: int) -> None:
    even, odd = deinterleave(bits)
    assert spread(even) | spread(odd) << 1 == bits


@given(longitudes, latitudes)
@example(LON_MIN, LAT_MIN)
@example(LON_MAX, LAT_MAX)
@example(180.0, 33.0)
@example(179.99999999999997, 5.0)
def test_a_position_is_in_its_cell(longitude: float, latitude: float) -> None:
    score = encode(longitude, latitude)
    found = decode(score)
    assert abs(found[0] - longitude) <= 360 / CELLS
    # The number of the easternmost cell has 54 bits: a double loses the lowest, of the latitude.
    cells = 2 if score >= 1 << 53 else 1
    assert abs(found[1] - latitude) <= cells * 2 * LAT_MAX / CELLS
    assert in_range(*found)


@given(longitudes, latitudes)
@example(LON_MIN, LAT_MIN)
@example(LON_MAX, LAT_MAX)
@example(LON_MAX, 33.0)
def test_a_score_interleaves_the_cells(longitude: float, latitude: float) -> None:
    row = int((latitude - LAT_MIN) / ((LAT_MAX - LAT_MIN) / CELLS))
    column = int((longitude - LON_MIN) / (360 / CELLS))
    assert encode(longitude, latitude) == float(spread(row) | spread(column) << 1)


PLAIN = [b"1", b"-12.5", b"1e1", b"000000012345e-3", b"180", b"-180.0", b"85.05112878"]
NOT_PLAIN = [
    b"",
    b"0",
    b"-0.0",
    b"1_0",
    b" 1",
    b"1 ",
    b"1-",
    b"nan",
    b"inf",
    b"x",
    b"1e-400",
    b"1\0",
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_positions(text: bytes) -> None:
    number = float(text)
    assert plain_position(text, b"1.5") == (number, 1.5)
    expected = (1.5, number) if abs(number) <= LAT_MAX else None
    assert plain_position(b"1.5", text) == expected


@pytest.mark.parametrize("text", [*NOT_PLAIN, b"180.1", b"-180.1", b"1e3"])
def test_positions_that_need_a_closer_look(text: bytes) -> None:
    assert plain_position(text, b"1.5") is None
    assert plain_position(b"1.5", text) is None


@given(longitudes, latitudes)
def test_a_cell_keeps_its_geohash(longitude: float, latitude: float) -> None:
    score = encode(longitude, latitude)
    if score < 1 << 52:  # not one of the two edges beyond the last cell
        assert encode(*decode(score)) == score


@given(st.floats(allow_nan=False))
@example(math.inf)
@example(-math.inf)
@example(2.0**63)
@example(-(2.0**63))
@example(2.0**64)
def test_any_score_has_a_position(score: float) -> None:
    assert in_range(*decode(score))
    assert len(text(score)) == 11
    assert -(1 << 63) <= integer_score(score) < 1 << 63


@pytest.mark.parametrize(
    ("score", "longitude", "latitude"),  # as redis-server 8.2 on x86-64 has them
    [
        (1.5, -179.99999731779099, -85.05112497791825),
        (-1.0, 180.0, 85.05112878),
        (1e300, -179.99999731779099, -85.05112751263943),
        (-math.inf, 180.0, -85.05112751263943),
        (9.3e18, 180.0, 85.05112878),
        (4503599627370496.0, -179.99999731779099, 85.05112878),
    ],
)
def test_scores_that_are_no_geohashes(score: float, longitude: float, latitude: float) -> None:
    assert decode(score) == (longitude, latitude)


def by_halving(longitude: float, latitude: float) -> bytes:
    """Return the standard geohash of 50 bits, in letters, and a zero."""
    ranges = [[-180.0, 180.0], [-90.0, 90.0]]
    bits = 0
    for at in range(50):
        ends, value = ranges[at % 2], (longitude, latitude)[at % 2]
        middle = (ends[0] + ends[1]) / 2
        bits = 2 * bits + (value >= middle)
        ends[value < middle] = middle
    letters = b"0123456789bcdefghjkmnpqrstuvwxyz"
    return bytes(letters[bits >> shift & 31] for shift in range(45, -1, -5)) + b"0"


@given(longitudes, latitudes)
def test_text(longitude: float, latitude: float) -> None:
    score = encode(longitude, latitude)
    if score < 1 << 52:
        assert text(score) == by_halving(*decode(score))


@given(longitudes, latitudes, longitudes, latitudes)
def test_distance(lon1: float, lat1: float, lon2: float, lat2: float) -> None:
    a, b = math.radians(lat1), math.radians(lat2)
    cosine = math.sin(a) * math.sin(b)
    cosine += math.cos(a) * math.cos(b) * math.cos(math.radians(lon2 - lon1))
    naive = EARTH_RADIUS_M * math.acos(max(-1.0, min(1.0, cosine)))
    # The law of cosines is good for about half the digits of what is near or opposite.
    far = distance(lon1, lat1, lon2, lat2)
    assert math.isnan(far) or math.isclose(far, naive, rel_tol=1e-6, abs_tol=1.0)


# -- searches --------------------------------------------------------------------------------------


def within(shape: Shape, position: Position) -> bool:
    """Tell whether a position lies in a shape, by the distances alone."""
    centre = shape.longitude, shape.latitude
    if shape.radius is not None:
        return not distance(*centre, *position) > shape.radius * shape.unit_m
    lon, lat = position
    tall = EARTH_RADIUS_M * abs(math.radians(centre[1]) - math.radians(lat))
    wide = distance(lon, lat, centre[0], lat)
    return tall <= shape.height * shape.unit_m / 2 and wide <= shape.width * shape.unit_m / 2


def random_shape(random: Random, lon: float, lat: float, largest_m: float) -> Shape:
    """Return a circle or a box around a position, of any order of magnitude."""
    unit = random.choice([1.0, 1000.0, 0.3048, 1609.34])
    sizes = [largest_m * 10 ** random.uniform(-6, 0) / unit for _ in range(2)]
    if random.random() < 0.5:
        return Shape(lon, lat, unit, sizes[0] / 2)
    return Shape(lon, lat, unit, None, *sizes)


def around(random: Random, shape: Shape) -> Position:
    """Return a position about as far away as the shape reaches, or anywhere."""
    size = (shape.radius or max(shape.width, shape.height) / 2) * shape.unit_m
    degrees = math.degrees(size / EARTH_RADIUS_M) * random.choice([0.5, 1, 1.01, 2])
    angle = random.uniform(0, 2 * math.pi)
    lat = shape.latitude + degrees * math.sin(angle)
    lon = shape.longitude + degrees * math.cos(angle) / math.cos(math.radians(shape.latitude))
    if not in_range(lon, lat) or random.random() < 0.1:
        return random.uniform(LON_MIN, LON_MAX), random.uniform(LAT_MIN, LAT_MAX)
    return lon, lat


@pytest.mark.parametrize("seed", range(8))
def test_nothing_in_a_shape_is_dropped(seed: int) -> None:
    """What is outside is mostly told by the bits of the geohash: that must never be wrong."""
    random = Random(seed)
    for _ in range(150):
        lon, lat = random.uniform(LON_MIN, LON_MAX), random.uniform(LAT_MIN, LAT_MAX)
        if random.random() < 0.2:
            lon, lat = (
                random.choice([LON_MIN, LON_MAX, lon]),
                random.choice([LAT_MIN, LAT_MAX, lat]),
            )
        shape = random_shape(random, lon, lat, 3e7)
        select = plan(shape).select
        scores = [encode(*around(random, shape)) for _ in range(20)]
        members = [b"%d" % at for at in range(20)]
        expected: list[Point] = [
            (distance(lon, lat, *decode(score)), member, score, *decode(score))
            for member, score in zip(members, scores, strict=True)
            if within(shape, decode(score))
        ]
        parts: list[Part] = [(members, scores, 0, 11), (members, scores, 11, 20)]
        assert select(parts, 0) == expected, shape
        assert select(parts, 2) == expected[:2], shape
        if shape.radius is not None:
            names = [member for _, member, _, _, _ in expected]
            assert members_in_circle(shape, lambda _: parts) == names, shape  # noqa: B023


def destination(lon: float, lat: float, angle: float, bearing: float) -> Position:
    """Return the position so far away, in radians on the sphere."""
    start = math.radians(lat)
    sine = math.sin(start) * math.cos(angle)
    sine += math.cos(start) * math.sin(angle) * math.cos(bearing)
    east = math.sin(bearing) * math.sin(angle) * math.cos(start)
    north = math.cos(angle) - math.sin(start) * sine
    return lon + math.degrees(math.atan2(east, north)), math.degrees(math.asin(sine))


@pytest.mark.parametrize("seed", range(8))
def test_members_at_the_edge_of_a_circle(seed: int) -> None:
    """A rough calculation tells most members of a circle: what it cannot tell must not count."""
    random = Random(seed)
    for _ in range(200):
        lon, lat = random.uniform(-179, 179), random.uniform(-75, 75)
        shape = Shape(lon, lat, 1.0, 10 ** random.uniform(1, 6.4))
        assert shape.radius is not None
        scores = []
        for _ in range(20):
            part = 1 + random.choice([0.0, random.uniform(-1, 1) * 10 ** random.uniform(-6, -1)])
            angle = shape.radius / EARTH_RADIUS_M * part
            position = destination(lon, lat, angle, random.uniform(0, 2 * math.pi))
            if in_range(*position):
                scores.append(encode(*position))
        members = [b"%d" % at for at in range(len(scores))]
        parts: list[Part] = [(members, scores, 0, len(scores))]
        expected = [
            member
            for member, score in zip(members, scores, strict=True)
            if within(shape, decode(score))
        ]
        assert members_in_circle(shape, lambda _: parts) == expected, shape  # noqa: B023


@pytest.mark.parametrize("seed", range(8))
def test_areas_hold_the_shape(seed: int) -> None:
    random = Random(seed)
    for _ in range(100):
        lon, lat = random.uniform(-150, 150), random.uniform(-60, 60)
        shape = random_shape(random, lon, lat, 1e6)
        ranges, narrow = areas(shape), plan(shape).ranges
        for at, (first, end) in enumerate(ranges):
            assert all(end <= other or stop <= first for other, stop in ranges[:at]), shape
        for _ in range(20):
            position = around(random, shape)
            score = encode(*position)
            if within(shape, decode(score)):
                assert sum(first <= score < end for first, end in ranges) == 1, (shape, position)
                assert sum(first <= score < end for first, end in narrow) == 1, (shape, position)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(0.0, 0.0, 1000.0, math.inf),
        Shape(0.0, 0.0, 1000.0, 1e308),
        Shape(180.0, LAT_MAX, 1.0, 3e7),
        Shape(0.0, 0.0, 1.0, 5e-324),
        Shape(0.0, 0.0, 1.0, None, math.inf, 1.0),
        Shape(-180.0, LAT_MIN, 1.0, None, 1.0, math.inf),
        Shape(0.0, 0.0, 1.0, None, 0.0, 0.0),
    ],
)
def test_extreme_shapes(shape: Shape) -> None:
    score = encode(shape.longitude, shape.latitude)
    ranges, select = plan(shape)
    assert any(first <= score < end for first, end in areas(shape))
    assert any(first <= score < end for first, end in ranges)
    found = select([([b"m"], [score], 0, 1)], 0)
    assert bool(found) == within(shape, decode(score))
