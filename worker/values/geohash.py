"""Positions on the earth as 52-bit integers, and the areas a search has to look into.

A geohash of `step` bits an axis halves the range of longitudes and that of latitudes `step` times;
the bits of the two cell numbers are interleaved, latitude in the even ones. So a cell of a smaller
step is a range of consecutive geohashes, and a sorted set whose scores are geohashes of 26 steps
answers a search by area with nine ranges of scores: the cell of the centre, of a step that makes it
about as wide as the search, and its neighbours.

All calculations are in the order of operations of redis-server 8.2, as their last bits are seen in
its replies. Longitudes and latitudes are in degrees, distances in metres.
Source: Morton, "A computer oriented geodetic data base", 1966 (the interleaving); EPSG:3857 (the
limit of latitudes); the haversine formula on a sphere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import asin, cos, fabs, frexp, isfinite, nan, pi, sin, sqrt
from typing import Final, NamedTuple

LON_MIN: Final = -180.0
LON_MAX: Final = 180.0
LAT_MIN: Final = -85.05112878
LAT_MAX: Final = 85.05112878
STEPS: Final = 26
"""Halvings of each axis in a stored geohash: 0.6 m at the equator."""

EARTH_RADIUS_M: Final = 6372797.560856
_DIAMETER_M: Final = 2.0 * EARTH_RADIUS_M
# Half the way around, as the Mercator projection has it: a cell of step 1 is as wide.
_MERCATOR_MANTISSA, _MERCATOR_EXPONENT = frexp(20037726.37)

_RADIAN: Final = pi / 180.0
_LON_SCALE: Final = LON_MAX - LON_MIN
_LAT_SCALE: Final = LAT_MAX - LAT_MIN
_CELLS: Final = 1 << STEPS
_END: Final = 1 << 2 * STEPS
_HALF_LAT_CELL: Final = _LAT_SCALE / _CELLS * _RADIAN / 2
_HALF_LON_CELL: Final = _LON_SCALE / _CELLS * _RADIAN / 2
_MASK_64: Final = (1 << 64) - 1

# -- interleaving ----------------------------------------------------------------------------------

# By tables of 13 and 14 bits: a quarter of the time of the masks and shifts usual in C.


def _spread(number: int) -> int:
    """Put bit i of a number of up to 32 bits at 2 * i."""
    for shift, mask in _SPREADING:
        number = (number | number << shift) & mask
    return number


_SPREADING: Final = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)
# One entry more: the number of the cell is 2**26 at the upper end of a range.
_SPREAD: Final = [_spread(number) for number in range((1 << 13) + 1)]


def _gathered(bits: int) -> int:
    """Return the even bits of 14 in the low half of a number, the odd ones from bit 32 on."""
    even = sum(((bits >> 2 * i) & 1) << i for i in range(7))
    return even | sum(((bits >> (2 * i + 1)) & 1) << i for i in range(7)) << 32


_GATHERED: Final = [_gathered(bits) for bits in range(1 << 14)]


def _even(cell: int) -> int:
    """Return the geohash of a latitude alone; the number of its cell is at most 2**26 + 1."""
    return _SPREAD[cell & 8191] | _SPREAD[cell >> 13] << 26


def interleave(even: int, odd: int) -> int:
    """Interleave the bits of two cell numbers of up to 26 bits (or 2**26)."""
    spread = _SPREAD
    return (
        spread[even & 8191]
        | spread[even >> 13] << 26
        | (spread[odd & 8191] | spread[odd >> 13] << 26) << 1
    )


def deinterleave(bits: int) -> tuple[int, int]:
    """Return the two cell numbers of a geohash; of any 64-bit number, as 32 bits each."""
    gathered = _GATHERED
    both = (
        gathered[bits & 16383]
        | gathered[bits >> 14 & 16383] << 7
        | gathered[bits >> 28 & 16383] << 14
        | gathered[bits >> 42 & 16383] << 21
    )
    if bits >> 56:
        both |= gathered[bits >> 56] << 28
    return both & 0xFFFFFFFF, both >> 32


# -- positions -------------------------------------------------------------------------------------


def encode(longitude: float, latitude: float) -> int:
    """Return the geohash of a position, which is in range (see `in_range`)."""
    return interleave(_lat_cell(latitude), _lon_cell(longitude))


def in_range(longitude: float, latitude: float) -> bool:
    """Tell whether a position has a geohash: not beyond 85 degrees north or south."""
    return LON_MIN <= longitude <= LON_MAX and LAT_MIN <= latitude <= LAT_MAX


def integer_score(score: float) -> int:
    """Convert a score to 64 bits, as the x86-64 instruction for it does.

    Any number may be the score of a member that GEOADD did not add. Returns: a signed integer; the
    least one for what does not fit.
    """
    return int(score) if -(2.0**63) <= score < 2.0**63 else -(1 << 63)


def decode(score: float) -> tuple[float, float]:
    """Return longitude and latitude of the middle of the cell that a score denotes."""
    if 0.0 <= score < 2.0**63:
        return _position(int(score))
    if score < 0.0:
        return _position(integer_score(score) & _MASK_64)
    # Compilers convert the upper half of the unsigned numbers so.
    return _position((integer_score(score - 2.0**63) ^ 1 << 63) & _MASK_64)


def _position(bits: int) -> tuple[float, float]:
    """Return longitude and latitude of the middle of a cell of 26 steps."""
    gathered = _GATHERED
    both = (
        gathered[bits & 16383]
        | gathered[bits >> 14 & 16383] << 7
        | gathered[bits >> 28 & 16383] << 14
        | gathered[bits >> 42 & 16383] << 21
    )
    if bits >> 52:  # beyond the last cell: the upper end of a range, or no geohash at all
        return _outer_position(bits)
    lat, lon = both & 0xFFFFFFFF, both >> 32
    return (
        ((LON_MIN + lon / 67108864 * _LON_SCALE) + (LON_MIN + (lon + 1) / 67108864 * _LON_SCALE))
        / 2,
        ((LAT_MIN + lat / 67108864 * _LAT_SCALE) + (LAT_MIN + (lat + 1) / 67108864 * _LAT_SCALE))
        / 2,
    )


def _outer_position(bits: int) -> tuple[float, float]:
    lat, lon = deinterleave(bits)
    longitude = (_lon_edge(lon, _CELLS) + _lon_edge(lon + 1, _CELLS)) / 2
    latitude = (_lat_edge(lat, _CELLS) + _lat_edge(lat + 1, _CELLS)) / 2
    return min(longitude, LON_MAX), min(latitude, LAT_MAX)


_ALPHABET: Final = b"0123456789bcdefghjkmnpqrstuvwxyz"


def text(score: float) -> bytes:
    """Return the standard geohash (www.geohash.org), 11 letters of 5 bits; the last, for which
    there are no bits, is always `0`.
    """
    longitude, latitude = decode(score)
    # The standard halves all latitudes, not only those of the projection.
    bits = interleave(
        int((latitude + 90.0) / 180.0 * _CELLS), int((longitude + 180.0) / 360.0 * _CELLS)
    )
    return bytes([_ALPHABET[bits >> shift & 31] for shift in range(47, 1, -5)]) + b"0"


# -- distances -------------------------------------------------------------------------------------


def distance(lon1: float, lat1: float, lon2: float, lat2: float) -> float:
    """Return the distance of two positions."""
    v = sin((lon2 * _RADIAN - lon1 * _RADIAN) / 2)
    if v == 0.0:
        return EARTH_RADIUS_M * fabs(lat2 * _RADIAN - lat1 * _RADIAN)
    lat1 *= _RADIAN
    lat2 *= _RADIAN
    u = sin((lat2 - lat1) / 2)
    return _arc(u * u + cos(lat1) * cos(lat2) * v * v)


def _arc(square: float) -> float:
    """Return the distance for the square of half the chord, in radiuses; for antipodes it may come
    out above 1, which has no arc.
    """
    return _DIAMETER_M * asin(sqrt(square)) if square <= 1.0 else nan


# -- searches --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Shape:
    """What is searched: a circle or a box with its sides along the axes.

    Attributes:
        longitude, latitude: its centre.
        unit_m: metres of the unit in which the others are given.
        radius: of a circle; None for a box.
        width, height: of a box.
    """

    longitude: float = 0.0
    latitude: float = 0.0
    unit_m: float = 1.0
    radius: float | None = None
    width: float = 0.0
    height: float = 0.0


Element = tuple[bytes, float]
Point = tuple[float, bytes, float, float, float]
"""Distance from the centre, member, score, longitude, latitude."""
Select = Callable[[Iterable[Element], int], list[Point]]


class Window(NamedTuple):
    """What surrounds a shape, in the bits of a geohash: latitudes in even, longitudes in odd."""

    south: int
    north: int
    west: int
    east: int


class Plan(NamedTuple):
    """How a shape is searched.

    Attributes:
        ranges: of scores, first and end (exclusive), in the order in which they are looked into.
        select: select(elements, limit) -> those that lie in the shape, in the same order, and no
            more than a limit that is not 0. All scores are in the ranges.
    """

    ranges: list[tuple[float, float]]
    select: Select


def plan(shape: Shape, details: bool = True) -> Plan:
    """Return how a shape is searched; unless `details`, nobody wants to know distances and
    positions, and they may be 0.
    """
    window, select = _circle(shape, details) if shape.radius is not None else _box(shape)
    return Plan(areas(shape, window), select)


def _circle(shape: Shape, details: bool) -> tuple[Window, Select]:
    assert shape.radius is not None
    lon1, lat1 = shape.longitude, shape.latitude
    lat1_rad = lat1 * _RADIAN
    cos_lat1 = cos(lat1_rad)
    radius = shape.radius * shape.unit_m
    angle = min(radius / EARTH_RADIUS_M, pi)
    # At this latitude a circle is as wide as it gets.
    widest = cos_lat1 if fabs(lat1_rad) + angle < _NEAR_POLE else 0.0
    window = _window(shape, angle, sin(angle), widest)
    south, north, west, east = window
    # Most are clearly inside or outside, which a rough calculation tells: that of the square of
    # half the chord, from halves of angles that are linear in the number of the cell.
    edge = sin(angle / 2) ** 2
    inside = -1.0 if details else edge * (1 - 1e-6) - 1e-24
    outside = edge * (1 + 1e-6) + 1e-24 if angle < pi else 2.0
    lat_start = (LAT_MIN + _LAT_SCALE / _CELLS / 2 - lat1) * _RADIAN / 2
    lon_start = (LON_MIN + _LON_SCALE / _CELLS / 2 - lon1) * _RADIAN / 2

    def select(elements: Iterable[Element], limit: int) -> list[Point]:
        found: list[Point] = []
        gathered = _GATHERED
        for member, score in elements:
            bits = int(score)
            if not (south <= bits & _EVEN <= north and west <= bits & _ODD <= east):
                continue
            if bits < _END:
                both = (
                    gathered[bits & 16383]
                    | gathered[bits >> 14 & 16383] << 7
                    | gathered[bits >> 28 & 16383] << 14
                    | gathered[bits >> 42] << 21
                )
                half = lat_start + (both & 0xFFFFFFFF) * _HALF_LAT_CELL
                u = sin(half)
                v = sin(lon_start + (both >> 32) * _HALF_LON_CELL)
                square = u * u + cos_lat1 * cos(half + half + lat1_rad) * v * v
                if square > outside:
                    continue
                if square < inside:
                    found.append((0.0, member, score, 0.0, 0.0))
                    if len(found) == limit:
                        break
                    continue
            lon2, lat2 = _position(bits)
            far = distance(lon1, lat1, lon2, lat2)
            if far > radius:
                continue
            found.append((far, member, score, lon2, lat2))
            if len(found) == limit:
                break
        return found

    return window, select


def _box(shape: Shape) -> tuple[Window, Select]:
    lon1, lat1 = shape.longitude, shape.latitude
    lat1_rad = lat1 * _RADIAN
    half_width = shape.width * shape.unit_m / 2
    half_height = shape.height * shape.unit_m / 2
    angle = min(half_height / EARTH_RADIUS_M, pi)
    # As many metres are most degrees at the side nearer to a pole.
    widest = max(0.0, cos(min(fabs(lat1_rad) + angle, _NEAR_POLE)) - _MARGIN)
    half_chord = sin(min(half_width / _DIAMETER_M, pi / 2))
    window = _window(shape, angle, half_chord, widest, chord=True)
    south, north, west, east = window

    def select(elements: Iterable[Element], limit: int) -> list[Point]:
        found: list[Point] = []
        for member, score in elements:
            bits = int(score)
            if not (south <= bits & _EVEN <= north and west <= bits & _ODD <= east):
                continue
            lon2, lat2 = _position(bits)
            if (
                EARTH_RADIUS_M * fabs(lat1_rad - lat2 * _RADIAN) > half_height
                or distance(lon2, lat2, lon1, lat2) > half_width
            ):
                continue
            found.append((distance(lon1, lat1, lon2, lat2), member, score, lon2, lat2))
            if len(found) == limit:
                break
        return found

    return window, select


# Most of what an area holds lies outside of the shape, and mostly outside of the rectangle around
# it. For that, a geohash need not be decoded: of interleaved numbers those bits that belong to one
# of them compare as the number itself.
_EVEN: Final = 0x5555555555555555
_ODD: Final = _EVEN << 1
_EVERYWHERE: Final = Window(0, _EVEN, 0, _ODD)
_NEAR_POLE: Final = 89 * _RADIAN
# Relative and in radians: far more than rounding, far less than a cell.
_MARGIN: Final = 1e-9


def _window(
    shape: Shape, lat_angle: float, sine: float, cosine: float, *, chord: bool = False
) -> Window:
    """Return what surrounds the shape.

    Args:
        shape: its centre counts.
        lat_angle: from there to the north or south end, in radians.
        sine, cosine: the arc sine of their quotient is the angle to the west or east end; of half
            of it if `chord`. There is no end if the quotient is too large, or where the angle
            crosses the date line. To the north there is none at the limit of latitudes, where
            scores lie that are no geohash.
    """
    delta = (lat_angle * (1 + _MARGIN) + _MARGIN) / _RADIAN
    south, north = _even(_lat_cell(shape.latitude - delta)), _EVEN
    if shape.latitude + delta < LAT_MAX:
        north = _even(_lat_cell(shape.latitude + delta) + 1)
    west, east = 0, _ODD
    if sine < cosine * (1 - _MARGIN):
        delta = (asin(sine / cosine) * (2 if chord else 1) * (1 + _MARGIN) + _MARGIN) / _RADIAN
        if shape.longitude - delta > LON_MIN and shape.longitude + delta < LON_MAX:
            west = _even(_lon_cell(shape.longitude - delta)) << 1
            east = _even(_lon_cell(shape.longitude + delta) + 1) << 1
    return Window(south, north, west, east)


def _lat_cell(latitude: float) -> int:
    return int((min(max(latitude, LAT_MIN), LAT_MAX) - LAT_MIN) / _LAT_SCALE * _CELLS)


def _lon_cell(longitude: float) -> int:
    return int((longitude - LON_MIN) / _LON_SCALE * _CELLS)


def areas(shape: Shape, window: Window = _EVERYWHERE) -> list[tuple[float, float]]:
    """Return ranges of scores, first and end (exclusive), that hold all of the shape, in the order
    in which Redis looks into them: centre, north, south, east, west, and the corners.

    Args:
        shape: what is searched.
        window: the ranges are narrowed to it.
    """
    south, west, north, east = _bounds(shape)
    step = _estimated_step(shape)
    cells = 1 << step
    lon, lat = _cell(shape, cells)
    # Near the edge of the cell a neighbour may end within the shape.
    if step > 1 and (
        _lat_edge(_moved(lat, 1, cells) + 1, cells) < north
        or _lat_edge(_moved(lat, -1, cells), cells) > south
        or _lon_edge(_moved(lon, 1, cells) + 1, cells) < east
        or _lon_edge(_moved(lon, -1, cells), cells) > west
    ):
        step -= 1
        cells = 1 << step
        lon, lat = _cell(shape, cells)
    # The neighbours: those next to a side that lies outside of the shape are not needed.
    lats, lons = {0: lat}, {0: lon}
    if step == 1 or _lat_edge(lat + 1, cells) <= north:
        lats[1] = _moved(lat, 1, cells)
    if step == 1 or _lat_edge(lat, cells) >= south:
        lats[-1] = _moved(lat, -1, cells)
    if step == 1 or _lon_edge(lon + 1, cells) <= east:
        lons[1] = _moved(lon, 1, cells)
    if step == 1 or _lon_edge(lon, cells) >= west:
        lons[-1] = _moved(lon, -1, cells)
    # First and last geohash of a row and of a column of cells.
    width = 1 << 2 * (STEPS - step)
    rows, columns = {}, {}
    for y, cell in lats.items():
        first = _even(cell) * width
        rows[y] = first, max(first, window.south), min(first | width - 1 & _EVEN, window.north)
    for x, cell in lons.items():
        first = _even(cell) * width << 1
        columns[x] = first, max(first, window.west), min(first | width - 1 & _ODD, window.east)
    ranges: list[tuple[float, float]] = []
    seen = 0
    before = -1
    for x, y in _MOVES:
        row, column = rows.get(y), columns.get(x)
        if row is None or column is None:
            continue
        # Of a huge shape neighbours may be the same. Redis looks only at the one before, and never
        # at the centre.
        first = row[0] | column[0]
        if seen > 1 and first == before:
            continue
        seen += 1
        before = first
        if row[1] <= row[2] and column[1] <= column[2]:
            ranges.append((float(row[1] | column[1]), float((row[2] | column[2]) + 1)))
    return ranges


_MOVES: Final = (
    *((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)),
    *((1, 1), (-1, 1), (1, -1), (-1, -1)),
)
"""East and north, of the cells searched."""


def _moved(cell: int, by: int, cells: int) -> int:
    """Return the number of a neighbour, around the earth at either end."""
    return (cell + by) % cells if by else cell


def _cell(shape: Shape, cells: int) -> tuple[int, int]:
    return (
        int((shape.longitude - LON_MIN) / _LON_SCALE * cells),
        int((shape.latitude - LAT_MIN) / _LAT_SCALE * cells),
    )


def _lat_edge(cell: int, cells: int) -> float:
    return LAT_MIN + cell / cells * _LAT_SCALE


def _lon_edge(cell: int, cells: int) -> float:
    return LON_MIN + cell / cells * _LON_SCALE


def _bounds(shape: Shape) -> tuple[float, float, float, float]:
    """Return south, west, north and east of what surrounds the shape."""
    height = width = shape.radius
    if height is None or width is None:
        height, width = shape.height / 2, shape.width / 2
    height *= shape.unit_m
    width *= shape.unit_m
    lat_delta = height / EARTH_RADIUS_M / _RADIAN
    # The side nearer to a pole spans more degrees.
    side = shape.latitude - lat_delta if shape.latitude < 0 else shape.latitude + lat_delta
    lon_delta = width / EARTH_RADIUS_M / (cos(side * _RADIAN) if isfinite(side) else nan) / _RADIAN
    return (
        shape.latitude - lat_delta,
        shape.longitude - lon_delta,
        shape.latitude + lat_delta,
        shape.longitude + lon_delta,
    )


def _estimated_step(shape: Shape) -> int:
    """Return the step of the cells to search, if the shape is in the middle of one."""
    radius = shape.radius
    if radius is None:
        half_width, half_height = shape.width / 2, shape.height / 2
        radius = sqrt(half_width * half_width + half_height * half_height)
    radius *= shape.unit_m
    if radius == 0:
        return STEPS
    # The least number of doublings, two less, that make the radius half the way around.
    mantissa, exponent = frexp(min(radius, 1e12))
    step = max(_MERCATOR_EXPONENT - exponent + (mantissa < _MERCATOR_MANTISSA), 0) - 1
    # Towards the poles degrees of longitude are shorter.
    if fabs(shape.latitude) > 66:
        step -= 1
        if fabs(shape.latitude) > 80:
            step -= 1
    return min(max(step, 1), STEPS)
