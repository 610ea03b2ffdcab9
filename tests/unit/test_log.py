"""Redis's log line, its levels, and the file behind it."""

import os
import re
import time
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from shoal.proto.limits import MAX_LOG_LINE_BYTES
from shoal.proto.log_line import DEBUG, LEVELS, NOTHING, NOTICE, VERBOSE, WARNING, Log, format_log
from shoal.supervisor.log import LogFile, open_log

AT_MS = 1_794_000_005_042  # 2026-11-06 21:20:05.042 UTC


def recorder(level: int = DEBUG, role: str = "M") -> tuple[Log, list[bytes]]:
    lines: list[bytes] = []
    return Log(lines.append, lambda: AT_MS, time.gmtime, 4711, role, level), lines


LINES = {
    (DEBUG, "M", "a"): b"4711:M 06 Nov 2026 21:20:05.042 . a\n",
    (VERBOSE, "S", "b c"): b"4711:S 06 Nov 2026 21:20:05.042 - b c\n",
    (NOTICE, "C", ""): b"4711:C 06 Nov 2026 21:20:05.042 * \n",
    (WARNING, "X", "\xe9"): b"4711:X 06 Nov 2026 21:20:05.042 # \xc3\xa9\n",
    (NOTICE, "M", "a\nb"): (
        b"4711:M 06 Nov 2026 21:20:05.042 * a\n4711:M 06 Nov 2026 21:20:05.042 * b\n"
    ),
    (NOTICE, "M", "\x1b[2J\r\0\udcff\u2028"): (
        b"4711:M 06 Nov 2026 21:20:05.042 * \\x1b[2J\\r\\x00\\xff\\u2028\n"
    ),
}


@pytest.mark.parametrize(("given_parts", "line"), LINES.items())
def test_line(given_parts: tuple[int, str, str], line: bytes) -> None:
    level, role, message = given_parts
    log, lines = recorder(role=role)
    log.write(level, message)
    assert lines == [line]


@given(st.text())
def test_any_message_is_well_formed_lines(message: str) -> None:
    data = format_log(1, "M", time.gmtime(0), 999, NOTICE, message)
    lines = data.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == message.count("\n") + 1
    for line in lines:
        assert re.match(rb"1:M 01 Jan 1970 00:00:00\.999 \* ", line)
        assert line.decode().isprintable()
        assert len(line) <= MAX_LOG_LINE_BYTES + 40


def test_a_long_line_is_cut_between_characters() -> None:
    log, lines = recorder()
    log.notice("x" + "\xe9" * MAX_LOG_LINE_BYTES)
    assert lines[0].decode().endswith("\xe9...\n")
    assert len(lines[0].partition(b"* ")[2]) <= MAX_LOG_LINE_BYTES + len("...\n")


@pytest.mark.parametrize("level", range(len(LEVELS)), ids=LEVELS)
def test_levels(level: int) -> None:
    log, lines = recorder(NOTHING)
    log.level = level
    for say in (log.debug, log.verbose, log.notice, log.warning):
        say("x")
    assert len(lines) == NOTHING - level


def test_a_forked_process_has_its_own_pid_role_and_level() -> None:
    log, lines = recorder(NOTICE)
    child = log.of_process(4712, "C")
    child.level = WARNING
    child.notice("not this")
    child.warning("this")
    log.notice("that")
    assert [line.split()[0] for line in lines] == [b"4712:C", b"4711:M"]


def test_local_time_is_used() -> None:
    lines: list[bytes] = []
    Log(lines.append, lambda: AT_MS, time.localtime, 1).notice("x")
    assert lines[0].startswith(time.strftime("1:M %d ", time.localtime(AT_MS // 1000)).encode())


def test_open_log_appends_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "shoal.log"
    path.write_bytes(b"before\n")
    log = open_log(str(path), "warning", os.getpid(), clock=lambda: AT_MS)
    log.notice("not this")
    log.warning("this")
    before, line, end = path.read_bytes().split(b"\n")
    assert (before, end) == (b"before", b"")
    assert re.fullmatch(rb"%d:M .* # this" % os.getpid(), line)


def test_a_path_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_log(str(tmp_path / "missing" / "log"), "notice", 1)


def test_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    log = open_log("", "notice", 7, "C")
    log.notice("hello")
    assert re.fullmatch(r"7:C .* \* hello\n", capfd.readouterr().out)


def test_rotation(tmp_path: Path) -> None:
    path, rotated = tmp_path / "log", tmp_path / "log.1"
    file = LogFile(str(path))
    file.write(b"one\n")
    path.rename(rotated)
    file.write(b"two\n")
    path.unlink()
    file.write(b"three\n")
    assert (rotated.read_bytes(), path.read_bytes()) == (b"one\n", b"three\n")
    file.close()


def test_two_processes_append_to_one_rotated_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first, second = LogFile(str(path)), LogFile(str(path))
    first.write(b"one\n")
    path.rename(tmp_path / "log.1")
    first.write(b"two\n")
    second.write(b"three\n")
    first.write(b"four\n")
    assert path.read_bytes() == b"two\nthree\nfour\n"
    first.close()
    second.close()


def test_when_the_file_cannot_be_made_again_the_old_one_serves_on(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    file = LogFile(str(folder / "log"))
    folder.rename(tmp_path / "old")
    file.write(b"one\n")
    text = (tmp_path / "old" / "log").read_text()
    assert text == f"\n[{folder}/log cannot be opened again: No such file or directory]\none\n"
    folder.mkdir()
    file.write(b"two\n")
    assert (folder / "log").read_bytes() == b"two\n"
    file.close()


def test_lost_messages_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")  # a disk that is full
    file = LogFile(str(path))
    file.write(b"one\n")
    file.write(b"two\n")
    path.unlink()
    for line in (b"three\n", b"four\n"):
        file.write(line)
    lost = b"\n[2 log messages were lost: No space left on device]\n"
    assert path.read_bytes() == lost + b"three\nfour\n"
    file.close()
