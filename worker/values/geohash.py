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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
# Divisions by a power of two are exact, whenever they are made.
_LON_CELL: Final = _LON_SCALE / _CELLS
_LAT_CELL: Final = _LAT_SCALE / _CELLS
_END: Final = 1 << 2 * STEPS
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
_SPREAD_FLOATS: Final = [float(number) for number in _SPREAD]
_HIGH: Final = float(1 << 26)


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


def encode(longitude: float, latitude: float) -> float:
    """Return the score of a position, which is in range (see `in_range`): its geohash."""
    lat, lon = int((latitude - LAT_MIN) / _LAT_CELL), int((longitude - LON_MIN) / _LON_CELL)
    # As `interleave`, in half the time: integers of so many bits are slow. All of it is exact, but
    # for the last sum of the easternmost cell, which has 54 bits.
    spread = _SPREAD_FLOATS
    low = spread[lat & 8191] + 2.0 * spread[lon & 8191]
    return low + _HIGH * (spread[lat >> 13] + 2.0 * spread[lon >> 13])


# Of these nearly every longitude and latitude is made. What float() takes then is what Redis takes.
_PLAIN: Final = b"0123456789.-e"


def plain_position(longitude: bytes, latitude: bytes) -> tuple[float, float] | None:
    """Return a position as clients write it; None if it is none or a closer look is needed."""
    if (longitude + latitude).strip(_PLAIN):  # also a byte in the middle stops it
        return None
    try:
        lon, lat = float(longitude), float(latitude)
    except ValueError:
        return None
    # What is so small that it becomes zero by rounding is an error.
    if lon and lat and LON_MIN <= lon <= LON_MAX and LAT_MIN <= lat <= LAT_MAX:
        return lon, lat
    return None


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
        ((LON_MIN + lon * _LON_CELL) + (LON_MIN + (lon + 1) * _LON_CELL)) / 2,
        ((LAT_MIN + lat * _LAT_CELL) + (LAT_MIN + (lat + 1) * _LAT_CELL)) / 2,
    )


def _outer_position(bits: int) -> tuple[float, float]:
    lat, lon = deinterleave(bits)
    longitude = ((LON_MIN + lon * _LON_CELL) + (LON_MIN + (lon + 1) * _LON_CELL)) / 2
    latitude = ((LAT_MIN + lat * _LAT_CELL) + (LAT_MIN + (lat + 1) * _LAT_CELL)) / 2
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


Part = tuple[Sequence[bytes], Sequence[float], int, int]
"""Members, their scores, and the first and the last (exclusive) of those that are meant."""
Point = tuple[float, bytes, float, float, float]
"""Distance from the centre, member, score, longitude, latitude."""
Select = Callable[[Iterable[Part], int], list[Point]]
Between = Callable[[Iterable[tuple[float, float]]], Iterable[Part]]


Bounds = tuple[float, float, float, float]
"""South, west, north and east of what surrounds a shape, in degrees."""
Window = tuple[int, int, int, int]
"""The same in the bits of a geohash, in the order south, north (latitudes, in the even bits), west
and east (longitudes, in the odd ones).
"""


class Plan(NamedTuple):
    """How a shape is searched.

    Attributes:
        ranges: of scores, first and end (exclusive), in the order in which they are looked into.
        select: select(parts, limit) -> those elements that lie in the shape, in the same order, and
            no more than a limit that is not 0. All scores are in the ranges.
    """

    ranges: list[tuple[float, float]]
    select: Select


def plan(shape: Shape) -> Plan:
    """Return how a shape is searched."""
    bounds = _bounds(shape)
    if shape.radius is None:
        window, select = _box(shape)
    else:
        window = _circle_window(bounds)
        select = _circle(shape, window)
    return Plan(_areas(shape, bounds, window), select)


def _circle(shape: Shape, window: Window) -> Select:
    assert shape.radius is not None
    lon1, lat1 = shape.longitude, shape.latitude
    lon1_rad, lat1_rad = lon1 * _RADIAN, lat1 * _RADIAN
    cos_lat1 = cos(lat1_rad)
    radius = shape.radius * shape.unit_m
    south, north, west, east = window

    def select(parts: Iterable[Part], limit: int) -> list[Point]:
        found: list[Point] = []
        gathered = _GATHERED
        for members, scores, start, stop in parts:
            for at, bits in enumerate(map(int, scores[start:stop]), start):
                if not (south <= bits & _EVEN <= north and west <= bits & _ODD <= east):
                    continue
                if bits < _END:  # `_position` and `distance`, without the calls: half the price
                    both = (
                        gathered[bits & 16383]
                        | gathered[bits >> 14 & 16383] << 7
                        | gathered[bits >> 28 & 16383] << 14
                        | gathered[bits >> 42] << 21
                    )
                    lat, lon = both & 0xFFFFFFFF, both >> 32
                    lon2 = ((LON_MIN + lon * _LON_CELL) + (LON_MIN + (lon + 1) * _LON_CELL)) / 2
                    lat2 = ((LAT_MIN + lat * _LAT_CELL) + (LAT_MIN + (lat + 1) * _LAT_CELL)) / 2
                    lat2_rad = lat2 * _RADIAN
                    v = sin((lon2 * _RADIAN - lon1_rad) / 2)
                    if v:
                        u = sin((lat2_rad - lat1_rad) / 2)
                        square = u * u + cos_lat1 * cos(lat2_rad) * v * v
                        far = _DIAMETER_M * asin(sqrt(square)) if square <= 1.0 else nan
                    else:
                        far = EARTH_RADIUS_M * fabs(lat2_rad - lat1_rad)
                else:
                    lon2, lat2 = _position(bits)
                    far = distance(lon1, lat1, lon2, lat2)
                if far > radius:
                    continue
                found.append((far, members[at], scores[at], lon2, lat2))
                if len(found) == limit:
                    return found
        return found

    return select


# Circles are flat enough up to this radius and this half width, in radians, and this far from the
# equator, in degrees.
_LARGEST: Final = 0.35
_WIDEST: Final = 1.0
_FARTHEST: Final = 75.0
# The rectangle around a circle is cut into up to 1024 by 1024 pieces, one unit high. From the
# middle of a piece to its corners it is less than _BLUR units.
_GRID_BITS: Final = 10
_FEWEST_UNITS: Final = 16.0
_BLUR: Final = 1.2
_STRETCH: Final = (_LON_SCALE / _LAT_SCALE) ** 2
_LOW_PLACES: Final = [complex(both >> 32, both & 127) for both in _GATHERED[: 1 << _GRID_BITS]]
_HIGH_PLACES: Final = [place * (1 << _GRID_BITS // 2) for place in _LOW_PLACES]


def members_in_circle(shape: Shape, between: Between) -> list[bytes]:
    """Return what lies in a circle, in the order of a search.

    Most circles are small. In these, whether an element lies in the circle is told by its place on
    a plane, where the square of its distance is dy**2 + cos(lat1) * cos(lat2) * dx**2, with a
    tangent in place of cos(lat2); only what is at the edge is left to `_circle`.

    Args:
        shape: the circle.
        between: of the sorted set.
    """
    assert shape.radius is not None
    bounds = _bounds(shape)
    window = _circle_window(bounds)
    parts = between(_areas(shape, bounds, window))
    south, north, west, east = window
    angle = shape.radius * shape.unit_m / EARTH_RADIUS_M
    lat1 = shape.latitude
    bits = (north - south & _EVEN | east - west & _ODD).bit_length() - 2 * _GRID_BITS
    shift = bits + (bits & 1) if bits > 0 else 0
    side = 1 << shift // 2  # of a piece, in cells
    unit = _LAT_CELL * side * _RADIAN
    edge = angle / unit
    half_width = (bounds[3] - shape.longitude) * _RADIAN
    if not (
        west
        and angle < _LARGEST
        and half_width < _WIDEST
        and -_FARTHEST < lat1 < _FARTHEST
        and edge > _FEWEST_UNITS
    ):
        return [point[1] for point in _circle(shape, window)(parts, 0)]
    lat1_rad = lat1 * _RADIAN
    cos_lat1 = cos(lat1_rad)
    ratio = cos_lat1 * cos_lat1 * _STRETCH
    slope = cos_lat1 * sin(lat1_rad) * _STRETCH * unit
    # What the series of the sines and of the cosine lack is less than this part of the square.
    error = 1.5 * angle * angle + half_width * half_width / 6
    inside = (edge - _BLUR) ** 2 * (1 - error)
    outside = (edge + _BLUR) ** 2 * (1 + error)
    # Counted from the corner of the rectangle; a piece is where its middle is.
    column, row = int((bounds[1] - LON_MIN) / _LON_CELL), int((bounds[0] - LAT_MIN) / _LAT_CELL)
    centre = complex(
        ((shape.longitude - LON_MIN) / _LON_CELL - column) / side - 0.5,
        ((lat1 - LAT_MIN) / _LAT_CELL - row) / side - 0.5,
    )
    even, odd, high, low = _EVEN, _ODD, _HIGH_PLACES, _LOW_PLACES
    found: list[bytes] = []
    for members, scores, start, stop in parts:
        for at, bits in enumerate(map(int, scores[start:stop]), start):
            lat, lon = bits & even, bits & odd
            if south <= lat <= north and west <= lon <= east:
                piece = (lat - south & even | lon - west & odd) >> shift
                offset = high[piece >> 10] + low[piece & 1023] - centre
                x, y = offset.real, offset.imag
                square = y * y + x * x * (ratio - slope * y)
                if square < inside or (
                    square < outside and _circle(shape, window)([(members, scores, at, at + 1)], 0)
                ):
                    found.append(members[at])
    return found


def _box(shape: Shape) -> tuple[Window, Select]:
    lon1, lat1 = shape.longitude, shape.latitude
    lat1_rad = lat1 * _RADIAN
    half_width = shape.width * shape.unit_m / 2
    half_height = shape.height * shape.unit_m / 2
    angle = min(half_height / EARTH_RADIUS_M, pi)
    # As many metres are most degrees at the side nearer to a pole.
    widest = max(0.0, cos(min(fabs(lat1_rad) + angle, _NEAR_POLE * _RADIAN)) - _MARGIN)
    half_chord = sin(min(half_width / _DIAMETER_M, pi / 2))
    window = _box_window(shape, angle, half_chord, widest)
    south, north, west, east = window

    def select(parts: Iterable[Part], limit: int) -> list[Point]:
        found: list[Point] = []
        for members, scores, start, stop in parts:
            for at, bits in enumerate(map(int, scores[start:stop]), start):
                if not (south <= bits & _EVEN <= north and west <= bits & _ODD <= east):
                    continue
                lon2, lat2 = _position(bits)
                if (
                    EARTH_RADIUS_M * fabs(lat1_rad - lat2 * _RADIAN) > half_height
                    or distance(lon2, lat2, lon1, lat2) > half_width
                ):
                    continue
                found.append(
                    (distance(lon1, lat1, lon2, lat2), members[at], scores[at], lon2, lat2)
                )
                if len(found) == limit:
                    return found
        return found

    return window, select


# Most of what an area holds lies outside of the shape, and mostly outside of the rectangle around
# it. For that, a geohash need not be decoded: of interleaved numbers those bits that belong to one
# of them compare as the number itself.
_EVEN: Final = 0x5555555555555555
_ODD: Final = _EVEN << 1
_EVERYWHERE: Final = (0, _EVEN, 0, _ODD)
_NEAR_POLE: Final = 89.0
# Relative and in radians: far more than rounding, far less than a cell.
_MARGIN: Final = 1e-9


def _circle_window(bounds: Bounds) -> Window:
    """Return what surrounds a circle of such bounds: no member of it is outside of them, and half a
    cell is between its position and the edges of its cell.

    There is no end to the west and east where the circle crosses the date line or is near to a
    pole, and none to the north at the limit of latitudes, where scores lie that are no geohash.
    """
    south, west, north, east = bounds
    first, last, left, right = 0, _EVEN, 0, _ODD
    if south > LAT_MIN:
        first = _even(int((south - LAT_MIN) / _LAT_CELL))
    if north < LAT_MAX:
        last = _even(int((north - LAT_MIN) / _LAT_CELL + 0.5))
    if max(-south, north) < _NEAR_POLE:
        west, east = (west - LON_MIN) / _LON_CELL, (east - LON_MIN) / _LON_CELL
        if west > 1.0 and east < _CELLS - 1.0:
            left, right = _even(int(west)) << 1, _even(int(east + 0.5)) << 1
    return first, last, left, right


def _box_window(shape: Shape, angle: float, half_chord: float, widest: float) -> Window:
    """Return what surrounds a box, with the exceptions of `_circle_window`.

    Args:
        shape: its centre counts.
        angle: from there to the north or south side, in radians.
        half_chord, widest: the arc sine of their quotient is half the angle to the west or east
            side; there is no end if it has none.
    """
    delta = (angle * (1 + _MARGIN) + _MARGIN) / _RADIAN
    south, north = _even(_lat_cell(shape.latitude - delta)), _EVEN
    if shape.latitude + delta < LAT_MAX:
        north = _even(_lat_cell(shape.latitude + delta) + 1)
    west, east = 0, _ODD
    if half_chord < widest * (1 - _MARGIN):
        delta = (2 * asin(half_chord / widest) * (1 + _MARGIN) + _MARGIN) / _RADIAN
        if shape.longitude - delta > LON_MIN and shape.longitude + delta < LON_MAX:
            west = _even(_lon_cell(shape.longitude - delta)) << 1
            east = _even(_lon_cell(shape.longitude + delta) + 1) << 1
    return south, north, west, east


def _lat_cell(latitude: float) -> int:
    return int((min(max(latitude, LAT_MIN), LAT_MAX) - LAT_MIN) / _LAT_SCALE * _CELLS)


def _lon_cell(longitude: float) -> int:
    return int((longitude - LON_MIN) / _LON_SCALE * _CELLS)


def areas(shape: Shape) -> list[tuple[float, float]]:
    """Return ranges of scores, first and end (exclusive), that hold all of the shape, in the order
    in which Redis looks into them: centre, north, south, east, west, and the corners.
    """
    return _areas(shape, _bounds(shape), _EVERYWHERE)


def _areas(shape: Shape, bounds: Bounds, window: Window) -> list[tuple[float, float]]:
    """Return the ranges of `areas`, narrowed to a window."""
    south, west, north, east = bounds
    lat_part = (shape.latitude - LAT_MIN) / _LAT_SCALE
    lon_part = (shape.longitude - LON_MIN) / _LON_SCALE
    estimate = _estimated_step(shape)
    for step in (estimate, estimate - 1):
        cells = 1 << step
        height, width = _LAT_SCALE / cells, _LON_SCALE / cells
        lat, lon = int(lat_part * cells), int(lon_part * cells)
        # The neighbours; at either end they are around the earth.
        up, down = (lat + 1) % cells, (lat - 1) % cells
        right, left = (lon + 1) % cells, (lon - 1) % cells
        # Near the edge of its cell the shape may reach beyond the neighbour.
        if step == 1 or not (
            LAT_MIN + (up + 1) * height < north
            or LAT_MIN + down * height > south
            or LON_MIN + (right + 1) * width < east
            or LON_MIN + left * width > west
        ):
            break
    # The neighbours next to a side that lies outside of the shape are not needed.
    shift = 2 * (STEPS - step)
    row, column = _even(lat) << shift, _even(lon) << shift + 1
    last_row, last_column = (1 << shift) - 1 & _EVEN, (1 << shift) - 1 & _ODD
    rows, columns = [row] * 3, [column] * 3
    needed = 0
    if step == 1 or LAT_MIN + (lat + 1) * height <= north:
        needed = 8
        rows[1] = _even(up) << shift
    if step == 1 or LAT_MIN + lat * height >= south:
        needed += 4
        rows[-1] = _even(down) << shift
    if step == 1 or LON_MIN + (lon + 1) * width <= east:
        needed += 2
        columns[1] = _even(right) << shift + 1
    if step == 1 or LON_MIN + lon * width >= west:
        needed += 1
        columns[-1] = _even(left) << shift + 1
    south, north, west, east = window
    ranges: list[tuple[float, float]] = []
    before = -1
    for x, y in _MOVES[needed]:
        row, column = rows[y], columns[x]
        # Of a huge shape neighbours may be the same. Redis looks only at the one before, and never
        # at the centre.
        if row | column == before:
            continue
        if x or y:
            before = row | column
        bottom = row if row > south else south
        top = row | last_row if row | last_row < north else north
        start = column if column > west else west
        end = column | last_column if column | last_column < east else east
        if bottom <= top and start <= end:
            ranges.append((float(bottom | start), float((top | end) + 1)))
    return ranges


def _moves(sides: int) -> list[tuple[int, int]]:
    """Return the cells to search, as moves to the east and north, in their order; sides are the sum
    of 8 if the neighbours to the north are needed, 4 to the south, 2 to the east, 1 to the west.
    """
    straight = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]
    needless = {move for at, move in enumerate(straight[1:]) if not sides & 8 >> at}
    corners = [(1, 1), (-1, 1), (1, -1), (-1, -1)]
    return [move for move in straight if move not in needless] + [
        (x, y) for x, y in corners if (x, 0) not in needless and (0, y) not in needless
    ]


_MOVES: Final = [_moves(sides) for sides in range(16)]


def _bounds(shape: Shape) -> Bounds:
    """Return what surrounds the shape, as Redis calculates it: roughly if that is a box."""
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
    step = _step_at_equator(radius * shape.unit_m)
    # Towards the poles degrees of longitude are shorter.
    if not -66 <= shape.latitude <= 66:
        step -= 1 if -80 <= shape.latitude <= 80 else 2
    return min(max(step, 1), STEPS)


# Of all circles on a map most have the same few radiuses.
@lru_cache(maxsize=256)
def _step_at_equator(radius_m: float) -> int:
    if radius_m == 0:
        return 2 * STEPS
    # The least number of doublings, two less, that make the radius half the way around.
    mantissa, exponent = frexp(min(radius_m, 1e12))
    return max(_MERCATOR_EXPONENT - exponent + (mantissa < _MERCATOR_MANTISSA), 0) - 1
