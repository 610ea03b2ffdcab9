"""Configuration files and options, read by redis-server's rules."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from shoal.proto.directives import DIRECTIVES, Config
from shoal.proto.limits import MAX_CONFIG_FILE_BYTES, MAX_INCLUDE_DEPTH
from shoal.proto.quoting import quote_arg
from shoal.supervisor.config_file import ConfigFileError, describe_directives, load


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load_text(here: Path, text: str, *options: str) -> Config:
    (here / "x.conf").write_text(text)
    return load(["x.conf", *options])


def error_lines(args: list[str]) -> list[str]:
    with pytest.raises(ConfigFileError) as caught:
        load(args)
    return str(caught.value).split("\n")


def values(config: Config, *names: str) -> list[str]:
    return [text.decode() for name in names for _, text in config.get_matching([name.encode()])]


FILES = {
    "nothing": ("", {"timeout": "0"}),
    "comments and empty lines": ("# timeout 1\n\n \t\r\n  # timeout 2\n", {"timeout": "0"}),
    "a value": ("timeout 5", {"timeout": "5"}),
    "spaces, line ends, case": ("\t TimeOut   5 \r\n", {"timeout": "5"}),
    "quotes": ('"timeout" \'5\'\nrequirepass "a b\\x41"', {"timeout": "5", "requirepass": "a bA"}),
    "the later line wins": ("timeout 1\ntimeout 2\n", {"timeout": "2"}),
    "several values": ("bind 127.0.0.1 -::1\n", {"bind": "127.0.0.1 -::1"}),
    "units": ("proto-max-bulk-len 7mb", {"proto-max-bulk-len": "7340032"}),
    "an alias": ("zset-max-ziplist-value 5", {"zset-max-listpack-value": "5"}),
    "limits of several classes": (
        "client-output-buffer-limit normal 1 1 1\nclient-output-buffer-limit pubsub 2mb 1mb 60\n",
        {
            "client-output-buffer-limit": "normal 1 1 1 slave 268435456 67108864 60"
            " pubsub 2097152 1048576 60"
        },
    ),
    "save": ('save\nsave ""', {"save": ""}),
    "a pattern without a match": ("include none*.conf\ntimeout 3", {"timeout": "3"}),
}


@pytest.mark.parametrize(("text", "expected"), FILES.values(), ids=list(FILES))
def test_file(here: Path, text: str, expected: dict[str, str]) -> None:
    config = load_text(here, text)
    assert values(config, *expected) == list(expected.values())


OPTIONS = {
    "none": ([], {"port": "6379"}),
    "one": (["--port", "0"], {"port": "0"}),
    "the later wins": (["--timeout", "1", "--TIMEOUT", "2"], {"timeout": "2"}),
    "several values": (["--bind", "127.0.0.1", "-::1", "--port", "0"], {"bind": "127.0.0.1 -::1"}),
    "one word with several values": (["--bind", "127.0.0.1 -::1"], {"bind": "127.0.0.1 -::1"}),
    "name and value in one word": (["--timeout 5", "--hz", "7"], {"timeout": "5", "hz": "7"}),
    "a value may start with dashes": (
        ["--requirepass", "--port", "--hz", "7"],
        {"requirepass": "--port", "hz": "7"},
    ),
    "save needs no value": (["--save", "--timeout", "3"], {"save": "", "timeout": "3"}),
    "an empty value": (["--logfile", "", "--timeout", "3"], {"logfile": "", "timeout": "3"}),
    "quotes are part of a value": (["--requirepass", 'a"b\\ \n'], {"requirepass": 'a"b\\ \n'}),
    "bytes that are no text": (["--requirepass", "\udcff"], {"requirepass": "\\xff"}),
    "no value": (["--bind"], {"bind": ""}),
    "after dashes alone": (["--", "timeout", "5"], {"timeout": "5"}),
}


@pytest.mark.parametrize(("args", "expected"), OPTIONS.values(), ids=list(OPTIONS))
def test_options(args: list[str], expected: dict[str, str]) -> None:
    config = load(args)
    texts = [config.get_matching([name.encode()])[0][1] for name in expected]
    assert [text.decode(errors="backslashreplace") for text in texts] == list(expected.values())


def test_options_come_after_the_file(here: Path) -> None:
    config = load_text(here, "timeout 1\nhz 7\n", "--timeout", "2", "--appendonly", "no")
    assert (config.timeout, config.hz, config.appendonly) == (2, 7, False)


def test_included_files_stand_where_they_are_included(here: Path) -> None:
    (here / "a1.conf").write_text("timeout 1\nhz 11\n")
    (here / "a2.conf").write_text("timeout 2\ninclude b.conf\n")
    (here / "b.conf").write_text("hz 12\n")
    config = load_text(here, "timeout 7\nhz 7\ninclude a*.conf\ntcp-keepalive 3\n")
    assert values(config, "timeout", "hz", "tcp-keepalive") == ["2", "12", "3"]
    assert load(["--include", "a1.conf", "--hz", "9"]).hz == 9


# What is wrong: (line, reason)
BAD_LINES = [
    ("bogus 1", "Bad directive or wrong number of arguments"),
    ("bogus", "Bad directive or wrong number of arguments"),
    ("include", "Bad directive or wrong number of arguments"),
    ("include a b", "Bad directive or wrong number of arguments"),
    ("''", "Bad directive or wrong number of arguments"),
    ("--timeout 5", "Bad directive or wrong number of arguments"),
    ("timeout", "wrong number of arguments"),
    ("timeout 5 # why", "wrong number of arguments"),
    ("timeout '5", "Unbalanced quotes in configuration line"),
    ('timeout "5"x', "Unbalanced quotes in configuration line"),
    ("timeout x", "argument couldn't be parsed into an integer"),
    ("dir nowhere", "No such file or directory"),
    ('dir ""', "No such file or directory"),
    ("dir x.conf", "Not a directory"),
    ("daemonize maybe", "argument must be 'yes' or 'no'"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_bad_line(here: Path, line: str, reason: str) -> None:
    (here / "x.conf").write_text(f"# first\nport 0\n \t{line}  \r\n")
    title, where, shown, why = error_lines(["x.conf"])
    assert title.startswith("*** FATAL CONFIG FILE ERROR (Shoal ")
    assert where == "Reading the configuration file x.conf, at line 3"
    assert shown == f">>> '{line}'"
    assert why == reason


BAD_OPTIONS = [
    (["--port", "1", "2"], 'port "1" "2"', "wrong number of arguments"),
    (["--port"], "port", "wrong number of arguments"),
    (["--port", "0", "file.conf"], 'port "0" "file.conf"', "wrong number of arguments"),
    (["--timeout 5", "7"], 'timeout 5 "7"', "wrong number of arguments"),
    (["--timeout", ""], 'timeout ""', "argument couldn't be parsed into an integer"),
    (["--hz", "--timeout", "x"], 'hz "--timeout" "x"', "wrong number of arguments"),
    (["--save", "--timeout", "x"], 'timeout "x"', "argument couldn't be parsed into an integer"),
    (["--port=0"], "port=0", "Bad directive or wrong number of arguments"),
    (
        ["--timeout", "\xe9\n"],
        'timeout "\\xc3\\xa9\\n"',
        "argument couldn't be parsed into an integer",
    ),
    (["-p", "0"], "-p", "an option starts with --"),
    (
        ["--daemonize", "yes"],
        'daemonize "yes"',
        "only no is accepted: Shoal stays in the foreground; "
        "run it under a service manager, or with nohup and &",
    ),
]


@pytest.mark.parametrize(("args", "line", "reason"), BAD_OPTIONS)
def test_bad_option(args: list[str], line: str, reason: str) -> None:
    _, where, shown, why = error_lines(args)
    assert where == "Reading the command line"
    assert shown == f">>> '{line}'"
    assert why == reason


def test_an_error_in_an_included_file_names_the_way_there(here: Path) -> None:
    (here / "x.conf").write_text("\ninclude y.conf\n")
    (here / "y.conf").write_text("include z.conf\n")
    (here / "z.conf").write_text("\n\nhz x\n")
    assert error_lines(["x.conf"])[1:] == [
        "Reading the configuration file z.conf, at line 3",
        ">>> 'hz x'",
        "argument couldn't be parsed into an integer",
        "included from y.conf, at line 1",
        "included from x.conf, at line 2",
    ]


def test_files_that_include_themselves(here: Path) -> None:
    (here / "x.conf").write_text("include x.conf\n")
    lines = error_lines(["x.conf"])
    assert lines[1:3] == [
        "Reading the configuration file x.conf",
        f"more than {MAX_INCLUDE_DEPTH} files include each other",
    ]


def test_a_file_that_cannot_be_read(here: Path) -> None:
    missing = "No such file or directory"
    assert error_lines(["no.conf"]) == [
        f"Fatal error, can't open config file '{here}/no.conf': {missing}"
    ]
    assert error_lines([""]) == [f"Fatal error, can't open config file '': {missing}"]
    (here / "x.conf").write_text("include no.conf\n")
    assert error_lines(["x.conf"]) == [
        f"Fatal error, can't open config file 'no.conf': {missing}",
        "included from x.conf, at line 1",
    ]
    assert "Is a directory" in error_lines(["."])[0]


def test_a_file_that_is_no_configuration(here: Path) -> None:
    (here / "x.conf").write_bytes(b"#" * (MAX_CONFIG_FILE_BYTES + 1))
    assert error_lines(["x.conf"])[2] == f"it is larger than {MAX_CONFIG_FILE_BYTES} bytes"


def test_dir_becomes_absolute(here: Path) -> None:
    (here / "data").mkdir()
    (here / "link").symlink_to("data")
    assert load([]).dir == str(here)
    assert load(["--dir", "data"]).dir == f"{here}/data"
    assert load(["--dir", "link"]).dir == f"{here}/data"
    assert load(["--dir", "data", "--dir", str(here)]).dir == str(here)


def test_sockets_are_checked_where_they_will_be(here: Path) -> None:
    folder = here / ("x" * (107 - len(str(here)) - len("/shoal.sock") - 1))
    folder.mkdir()
    config = load(["--dir", str(folder)])
    assert len(config.in_dir(config.control_socket)) == 107
    longer = here / (folder.name + "x")
    longer.mkdir()
    assert error_lines(["--dir", str(longer)])[1:] == [
        f"The directive control-socket, in the folder {longer}",
        "unix socket path too long (108), must be under 108",
    ]
    lines = error_lines(["--unixsocket", str(here / "s"), "--control-socket", "s"])
    assert lines[2] == "they name the same path"


@given(st.lists(st.binary(max_size=9).filter(lambda value: b"\0" not in value), min_size=1))
def test_the_last_of_any_values_wins_in_files_and_options(secrets: list[bytes]) -> None:
    lines = b"\n".join(b"requirepass " + quote_arg(secret) for secret in secrets)
    Path("x.conf").write_bytes(lines)
    assert load(["x.conf"]).requirepass == secrets[-1]
    options = [w for s in secrets for w in ("--requirepass", s.decode("utf-8", "surrogateescape"))]
    assert load(options).requirepass == secrets[-1]


def test_the_help_names_every_directive_and_its_default() -> None:
    text = describe_directives()
    assert '  --unixsocket ""  ' in text
    assert "  --maxclients 10000  " in text
    assert len([line for line in text.split("\n") if line.startswith("  --")]) == len(DIRECTIVES)
