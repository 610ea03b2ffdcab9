"""The commands of positions on the earth: sorted sets whose scores are geohashes.

GEOADD is logged as the ZADD that it is, with the scores; a search that stores is logged as it came,
as the same elements give the same result. The members of a search come in the order of Redis:
area by area, and by score inside of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from shoal.proto import errors
from shoal.proto.numbers import parse_double
from shoal.proto.replies import (
    EMPTY_ARRAY,
    NULL,
    NULL_ARRAY,
    Array,
    Reply,
    array,
    bulk,
    bulk_list,
    double,
    integer,
)
from shoal.proto.spec import CommandFlag, KeySpec, key_at
from shoal.worker.commands import parse
from shoal.worker.commands.sorted_sets import add, add_one, store
from shoal.worker.keyspace import Keyspace
from shoal.worker.registry import COMMANDS, command
from shoal.worker.values import geohash
from shoal.worker.values.geohash import Point, Shape
from shoal.worker.values.sorted_set import SortedSet

WRITE, READONLY, DENYOOM = CommandFlag.WRITE, CommandFlag.READONLY, CommandFlag.DENYOOM

GEO: Final = ("geo",)

_UNITS_M: Final = {b"m": 1.0, b"km": 1000.0, b"ft": 0.3048, b"mi": 1609.34}

# -- arguments and replies -------------------------------------------------------------------------


def _unit(arg: bytes) -> float:
    """Return a unit of length in metres. Raises: ReplyError."""
    unit = _UNITS_M.get(arg) or _UNITS_M.get(parse.word(arg).lower())
    if unit is None:
        raise errors.unsupported_unit()
    return unit


def _position(longitude: bytes, latitude: bytes) -> tuple[float, float]:
    """Return a position. Raises: ReplyError, also if no geohash can denote it."""
    position = geohash.plain_position(longitude, latitude)
    if position is not None:
        return position
    lon, lat = parse.double(longitude), parse.double(latitude)
    if not geohash.in_range(lon, lat):
        raise errors.invalid_position(lon, lat)
    return lon, lat


def _number(arg: bytes, what: str) -> float:
    number = parse_double(arg)
    if number is None:
        raise errors.not_numeric(what)
    return number


def _set_radius(shape: Shape, radius: bytes, unit: bytes) -> None:
    """Make the shape a circle. Raises: ReplyError."""
    number = _number(radius, "radius")
    if number < 0:
        raise errors.negative_radius()
    shape.radius, shape.unit_m = number, _unit(unit)


def _set_box(shape: Shape, width: bytes, height: bytes, unit: bytes) -> None:
    """Make the shape a box. Raises: ReplyError."""
    shape.width, shape.height = _number(width, "width"), _number(height, "height")
    if shape.width < 0 or shape.height < 0:
        raise errors.negative_box()
    shape.radius, shape.unit_m = None, _unit(unit)


def _set_member(shape: Shape, zset: SortedSet, member: bytes) -> None:
    """Make a member's position the centre of the shape. Raises: ReplyError."""
    score = zset.score(member)
    if score is None:
        raise errors.member_not_found()
    shape.longitude, shape.latitude = geohash.decode(score)


def _distance(distance: float) -> bytes:
    """Return a distance as a bulk with four decimals."""
    # Of antipodes it may be no number, which Redis prints as the least integer of 64 bits.
    units = round(distance * 10000.0) if distance == distance else -(1 << 63)
    sign = b"-" if units < 0 else b""
    return bulk(b"%b%d.%04d" % (sign, *divmod(abs(units), 10000)))


def _pair(longitude: float, latitude: float) -> Array:
    return array([double(longitude), double(latitude)])


# -- positions of members --------------------------------------------------------------------------


_CONDITIONS: Final = frozenset({b"NX", b"XX", b"CH"})


@command(
    "GEOADD",
    since="3.2.0",
    arity=-5,
    group="geo",
    flags=WRITE | DENYOOM,
    keys=key_at(1, "RW update"),
    acl=GEO,
    complexity="O(log(N)) for each item added, where N is the number of elements in the sorted "
    "set.",
    history=(("6.2.0", "Added the `CH`, `NX` and `XX` options."),),
)
def geoadd(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Adds one or more members to a geospatial index. The key is created if it doesn't exist."""
    if len(args) == 3:
        position = geohash.plain_position(args[0], args[1])
        if position is not None:
            return _add_one(ks, key, args[2], geohash.encode(*position))
    options: Sequence[bytes] = ()
    words: set[bytes] = set()
    if parse.word(args[0]) in _CONDITIONS:
        size = 1
        while size < len(args) and parse.word(args[size]) in _CONDITIONS:
            size += 1
        options, args = args[:size], args[size:]
        words = set(map(parse.word, options))
    if len(args) % 3 or not args or {b"NX", b"XX"} <= words:
        raise errors.syntax_error()
    scores = [geohash.encode(*_position(args[at], args[at + 1])) for at in range(0, len(args), 3)]
    members = args[2::3]
    before = ks.store.dirty
    reply = add(ks, key, scores, members, words)
    if ks.store.dirty != before:
        effect = [b"zadd", key, *options]
        for score, member in zip(scores, members, strict=True):
            effect += (b"%d" % score, member)
        ks.propagate(*effect)
    return reply


def _add_one(ks: Keyspace, key: bytes, member: bytes, score: float) -> Reply:
    reply = add_one(ks, key, member, score)
    if ks.store.dirty:
        ks.propagate(b"zadd", key, b"%d" % score, member)
    return reply


@command(
    "GEODIST",
    since="3.2.0",
    arity=-4,
    group="geo",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=GEO,
    complexity="O(1)",
)
def geodist(ks: Keyspace, key: bytes, member1: bytes, member2: bytes, *unit: bytes) -> Reply:
    """Returns the distance between two members of a geospatial index."""
    if len(unit) > 1:
        raise errors.syntax_error()
    unit_m = _unit(unit[0]) if unit else 1.0
    zset = ks.lookup_read(key, SortedSet)
    if zset is None:
        return NULL
    score1, score2 = zset.score(member1), zset.score(member2)
    if score1 is None or score2 is None:
        return NULL
    distance = geohash.distance(*geohash.decode(score1), *geohash.decode(score2))
    return _distance(distance / unit_m)


@command(
    "GEOHASH",
    since="3.2.0",
    arity=-2,
    group="geo",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=GEO,
    complexity="O(1) for each member requested.",
)
def geohash_(ks: Keyspace, key: bytes, *members: bytes) -> Reply:
    """Returns members from a geospatial index as geohash strings."""
    zset = ks.lookup_read(key, SortedSet)
    scores = [None if zset is None else zset.score(member) for member in members]
    return array([NULL if score is None else bulk(geohash.text(score)) for score in scores])


@command(
    "GEOPOS",
    since="3.2.0",
    arity=-2,
    group="geo",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=GEO,
    complexity="O(1) for each member requested.",
)
def geopos(ks: Keyspace, key: bytes, *members: bytes) -> Reply:
    """Returns the longitude and latitude of members from a geospatial index."""
    zset = ks.lookup_read(key, SortedSet)
    scores = [None if zset is None else zset.score(member) for member in members]
    return array(
        [NULL_ARRAY if score is None else _pair(*geohash.decode(score)) for score in scores]
    )


# -- searches --------------------------------------------------------------------------------------


_UNITS_HISTORY: Final = (("7.0.0", "Added support for uppercase unit names."),)
_RADIUS_HISTORY: Final = (("6.2.0", "Added the `ANY` option for `COUNT`."), *_UNITS_HISTORY)
_CIRCLE_COST: Final = (
    "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area "
    "delimited by center and radius and M is the number of items inside the index."
)
_SHAPE_COST: Final = (
    "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around "
    "the shape provided as the filter and M is the number of items inside the shape"
)


class _Search:
    """A search, as its arguments say.

    Attributes:
        shape: what is searched.
        centre: FROMMEMBER, FROMLONLAT or empty.
        extent: BYRADIUS, BYBOX or empty.
        details: of WITHDIST, WITHHASH and WITHCOORD those that are given.
        count: at most so many members, 0 for all.
        any: whether the first that are found will do.
        order: ASC, DESC or empty.
        target: the key to store the result at, None for a reply.
        store_distance: whether the scores stored are distances.
    """

    # Of the class, as few are ever set.
    centre = b""
    extent = b""
    details: frozenset[bytes] = frozenset()
    count = 0
    any = False
    order = b""
    store_distance = False

    def __init__(self, target: bytes | None = None) -> None:
        """Search nothing yet."""
        self.shape = Shape()
        self.target = target

    def is_plain(self) -> bool:
        """Tell whether it is for the members in a circle, and nothing more."""
        return (
            self.shape.radius is not None
            and self.target is None
            and not (self.count or self.order or self.details)
        )


_DETAILS: Final = frozenset({b"WITHDIST", b"WITHHASH", b"WITHCOORD"})


def _take_common(search: _Search, word: bytes, left: list[bytes]) -> None:
    """Take an option that every search has, its argument from the end of `left`. Raises:
    ReplyError, also if it is another.
    """
    if word in _DETAILS:
        search.details |= {word}
    elif word == b"ANY":
        search.any = True
    elif word in (b"ASC", b"DESC"):
        search.order = word
    elif word == b"COUNT" and left:
        search.count = parse.integer(left.pop())
        if search.count <= 0:
            raise errors.search_count_not_positive()
    else:
        raise errors.syntax_error()


def _run(ks: Keyspace, search: _Search, zset: SortedSet | None, event: bytes) -> Reply:
    """Answer or store what a search finds.

    Args:
        ks: where the result is stored.
        search: what its options say.
        zset: the elements, None if the key is missing.
        event: the keyspace event of a stored result.
    Raises: ReplyError.
    """
    if search.any and not search.count:
        raise errors.any_without_count()
    if zset is None:
        points = []
    elif search.is_plain():
        return bulk_list(geohash.members_in_circle(search.shape, zset.between))
    else:
        points = _find(zset, search)
    if search.target is None:
        return _answer(search, points)
    return _store(ks, search.target, points, search, event)


def _find(zset: SortedSet, search: _Search) -> list[Point]:
    """Return what a search finds, in the order of its reply."""
    limit = search.count if search.any else 0
    # Without an order the nearest would be anywhere.
    order = b"ASC" if search.count and not search.any and not search.order else search.order
    ranges, select = geohash.plan(search.shape)
    found = select(zset.between(ranges), limit)
    if order:
        found.sort(key=_distance_of, reverse=order == b"DESC")
    return found[: search.count] if search.count else found


_distance_of: Final = itemgetter(0)


def _answer(search: _Search, points: list[Point]) -> Reply:
    if not points:
        return EMPTY_ARRAY
    details = search.details
    if not details:
        return bulk_list([point[1] for point in points])
    unit_m = search.shape.unit_m
    items: list[Reply] = []
    for far, member, score, longitude, latitude in points:
        item: list[Reply] = [bulk(member)]
        if b"WITHDIST" in details:
            item.append(_distance(far / unit_m))
        if b"WITHHASH" in details:
            item.append(integer(int(score)))
        if b"WITHCOORD" in details:
            item.append(_pair(longitude, latitude))
        items.append(array(item))
    return array(items)


def _store(ks: Keyspace, key: bytes, points: list[Point], search: _Search, event: bytes) -> Reply:
    if search.store_distance:
        unit_m = search.shape.unit_m
        return store(ks, key, SortedSet([(point[1], point[0] / unit_m) for point in points]), event)
    return store(ks, key, SortedSet([(point[1], point[2]) for point in points]), event)


# -- GEORADIUS and its kind ------------------------------------------------------------------------


def _georadius(
    ks: Keyspace, name: bytes, argv: tuple[bytes, ...], *, by_member: bool, storing: bool
) -> Reply:
    """Run GEORADIUS or, with a member in place of longitude and latitude, GEORADIUSBYMEMBER.

    Args:
        ks: keyspace.
        name: of the command, lower case.
        argv: its arguments.
        by_member: which of the two it is.
        storing: whether it may store its result.
    """
    zset = ks.lookup_read(argv[0], SortedSet)
    search = _Search()
    shape = search.shape
    size = 4 if by_member else 5
    if not by_member:
        shape.longitude, shape.latitude = _position(argv[1], argv[2])
        _set_radius(shape, argv[3], argv[4])
    elif zset is not None:
        _set_member(shape, zset, argv[1])
        _set_radius(shape, argv[2], argv[3])
    left = list(reversed(argv[size:]))
    while left:
        word = parse.word(left.pop())
        if storing and word in (b"STORE", b"STOREDIST") and left:
            search.target = left.pop()
            search.store_distance = word == b"STOREDIST"
        else:
            _take_common(search, word, left)
    if search.target is not None:
        # Told twice where to store, only the last counts, and it might be a key that nobody saw who
        # found the partition of the keys.
        keys = COMMANDS[name].spec.key_positions([name, *argv])
        if search.target not in [argv[at - 1] for at in keys]:
            raise errors.syntax_error()
        if search.details:
            raise errors.store_with_details("STORE option in GEORADIUS")
    return _run(ks, search, zset, b"georadiusstore")


def _radius_keys(options: int) -> tuple[KeySpec, ...]:
    """Return the keys of a search whose options begin at this argument: two of them name one."""
    stored = [KeySpec(options, keyword=w, flags=("OW", "update")) for w in ("STORE", "STOREDIST")]
    return (KeySpec(1, flags=("RO", "access")), *stored)


@command(
    "GEORADIUS",
    since="3.2.0",
    arity=-6,
    group="geo",
    flags=WRITE | DENYOOM,
    keys=_radius_keys(options=6),
    acl=GEO,
    complexity=_CIRCLE_COST,
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
    history=_RADIUS_HISTORY,
)
def georadius(ks: Keyspace, *args: bytes) -> Reply:
    """Queries a geospatial index for members within a distance from a coordinate, optionally stores the result."""  # noqa: E501
    return _georadius(ks, b"georadius", args, by_member=False, storing=True)


@command(
    "GEORADIUS_RO",
    since="3.2.10",
    arity=-6,
    group="geo",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=GEO,
    complexity=_CIRCLE_COST,
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` with the `BYRADIUS` argument",
    history=_RADIUS_HISTORY,
)
def georadius_ro(ks: Keyspace, *args: bytes) -> Reply:
    """Returns members from a geospatial index that are within a distance from a coordinate."""
    return _georadius(ks, b"georadius_ro", args, by_member=False, storing=False)


@command(
    "GEORADIUSBYMEMBER",
    since="3.2.0",
    arity=-5,
    group="geo",
    flags=WRITE | DENYOOM,
    keys=_radius_keys(options=5),
    acl=GEO,
    complexity=_CIRCLE_COST,
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
    history=_RADIUS_HISTORY,
)
def georadiusbymember(ks: Keyspace, *args: bytes) -> Reply:
    """Queries a geospatial index for members within a distance from a member, optionally stores the result."""  # noqa: E501
    return _georadius(ks, b"georadiusbymember", args, by_member=True, storing=True)


@command(
    "GEORADIUSBYMEMBER_RO",
    since="3.2.10",
    arity=-5,
    group="geo",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=GEO,
    complexity=_CIRCLE_COST,
    doc_flags=("deprecated",),
    deprecated_since="6.2.0",
    replaced_by="`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
    history=_RADIUS_HISTORY,
)
def georadiusbymember_ro(ks: Keyspace, *args: bytes) -> Reply:
    """Returns members from a geospatial index that are within a distance from a member."""
    return _georadius(ks, b"georadiusbymember_ro", args, by_member=True, storing=False)


# -- GEOSEARCH -------------------------------------------------------------------------------------


def _geosearch(
    ks: Keyspace, name: str, key: bytes, args: tuple[bytes, ...], target: bytes | None
) -> Reply:
    """Run GEOSEARCH, or GEOSEARCHSTORE with a target."""
    zset = ks.lookup_read(key, SortedSet)
    search = _Search(target)
    shape = search.shape
    left = list(reversed(args))
    while left:
        word = parse.word(left.pop())
        if word == b"FROMMEMBER" and left and search.centre != b"FROMLONLAT":
            member = left.pop()
            if zset is not None:
                _set_member(shape, zset, member)
            search.centre = word
        elif word == b"FROMLONLAT" and len(left) > 1 and search.centre != b"FROMMEMBER":
            shape.longitude, shape.latitude = _position(left.pop(), left.pop())
            search.centre = word
        elif word == b"BYRADIUS" and len(left) > 1 and search.extent != b"BYBOX":
            _set_radius(shape, left.pop(), left.pop())
            search.extent = word
        elif word == b"BYBOX" and len(left) > 2 and search.extent != b"BYRADIUS":
            _set_box(shape, left.pop(), left.pop(), left.pop())
            search.extent = word
        elif word == b"STOREDIST" and target is not None:
            search.store_distance = True
        else:
            _take_common(search, word, left)
    if target is not None and search.details:
        raise errors.store_with_details(name)
    if not search.centre:
        raise errors.exactly_one_of("FROMMEMBER or FROMLONLAT", name)
    if not search.extent:
        raise errors.exactly_one_of("BYRADIUS and BYBOX", name)
    return _run(ks, search, zset, b"geosearchstore")


@command(
    "GEOSEARCH",
    since="6.2.0",
    arity=-7,
    group="geo",
    flags=READONLY,
    keys=key_at(1, "RO access"),
    acl=GEO,
    complexity=_SHAPE_COST,
    history=_UNITS_HISTORY,
)
def geosearch(ks: Keyspace, key: bytes, *args: bytes) -> Reply:
    """Queries a geospatial index for members inside an area of a box or a circle."""
    if len(args) == 6 and args[0] == b"FROMLONLAT" and args[3] == b"BYRADIUS":
        position, radius = geohash.plain_position(args[1], args[2]), parse_double(args[4])
        unit_m = _UNITS_M.get(args[5])
        if position is not None and unit_m is not None and radius is not None and radius >= 0:
            zset = ks.lookup_read(key, SortedSet)
            if zset is None:
                return EMPTY_ARRAY
            shape = Shape(*position, unit_m, radius)
            return bulk_list(geohash.members_in_circle(shape, zset.between))
    return _geosearch(ks, "GEOSEARCH", key, args, None)


@command(
    "GEOSEARCHSTORE",
    since="6.2.0",
    arity=-8,
    group="geo",
    flags=WRITE | DENYOOM,
    keys=(
        KeySpec(
            1,
            flags=(
                "OW",
                "update",
            ),
        ),
        KeySpec(
            2,
            flags=(
                "RO",
                "access",
            ),
        ),
    ),
    acl=GEO,
    complexity=_SHAPE_COST,
    history=_UNITS_HISTORY,
)
def geosearchstore(ks: Keyspace, target: bytes, key: bytes, *args: bytes) -> Reply:
    """Queries a geospatial index for members inside an area of a box or a circle, optionally stores the result."""  # noqa: E501
    return _geosearch(ks, "GEOSEARCHSTORE", key, args, target)
