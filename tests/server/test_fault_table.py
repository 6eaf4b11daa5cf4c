"""The ready-made faults, and the file that faults are read from."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiai_async._errors import ConfigurationError
from aiai_async.server.fault_table import FAULTS, describe_faults, named, read_faults
from aiai_async.server.faults import ANSWER_VALUES, STREAM_VALUES, Fault, Piece, names_in
from aiai_async.server.templates import picture_values


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes its faults."""
    return tmp_path / "faults.toml"


def test_every_fault_says_what_it_imitates() -> None:
    """The table is the documentation."""
    assert all(fault.doc and fault.name == name for name, fault in FAULTS.items())


def test_the_names_in_every_template_stand_for_something() -> None:
    """A misspelt one would go out as it is."""
    picture = set(picture_values("", "", str))
    event = picture | {"type", "data", "data_lines", "settings", "number", "index"}
    for fault in FAULTS.values():
        names = {*ANSWER_VALUES, "request_id", *(STREAM_VALUES if fault.on == "stream" else ())}
        assert {name for piece in fault.body or () for name in names_in(piece.data)} <= names, fault.name
        assert {name for piece in (fault.event or ()) + (fault.final or ()) for name in names_in(piece.data)} <= event
        assert names_in(fault.image or "") <= picture


def test_the_table_has_a_line_for_each() -> None:
    """Markdown, made from the records."""
    lines = describe_faults().splitlines()
    assert len(lines) == len(FAULTS) + 2
    assert len({len(line) for line in lines}) == 1
    assert lines[1].replace("-", "").replace("|", "").strip() == ""
    (close,) = [line.split("|") for line in lines if line.startswith("| close ")]
    assert [cell.strip() for cell in close[1:4]] == ["close", "generate", "none"]


def test_a_ready_made_fault_can_be_changed() -> None:
    """When it happens above all; the dash is as good as the underscore."""
    fault = named("data-uri", nth=3)
    assert (fault.name, fault.nth, fault.image) == ("data_uri", (3,), FAULTS["data_uri"].image)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("no_such", {}, "'no_such' is no fault of the local server; `aiai-async serve --list-faults` shows them"),
        ("cut", {"often": True}, "fault 'cut': .*often"),
        ("cut", {"nth": 0}, "fault 'cut': nth: .* is below 1"),
    ],
    ids=["name", "field", "value"],
)
def test_what_is_no_fault_is_an_error_that_helps(name: str, changes: dict[str, object], message: str) -> None:
    """A test with a misspelt fault must not pass."""
    with pytest.raises(ConfigurationError, match=message):
        named(name, **changes)


def test_faults_are_read_from_a_file(file: Path) -> None:
    """Ready-made ones by name, with changes, and records of their own."""
    file.write_text("""
[[fault]]
name = "cut"
nth = [2, 5]

[[fault]]
name = "mine"
every = 10
status = 503
headers = { Retry-After = 2 }
body = '{"error": "busy"}'

[[fault]]
probability = 0.25
body = ["a", { data = "$answer", gap = 0.5 }]
ending = "hang"

[[fault]]
name = "stream_heartbeats"
event = ["a", { data = "$data", gap = 0.5 }]
final = "b"
heartbeat = { data = "c", gap = 5 }
""")
    assert read_faults(file) == (
        named("cut", nth=(2, 5)),
        Fault(name="mine", every=10, status=503, headers={"Retry-After": "2"}, body='{"error": "busy"}'),
        Fault(probability=0.25, body=["a", Piece("$answer", gap=0.5)], ending="hang"),
        named(
            "stream_heartbeats",
            event=["a", Piece("$data", gap=0.5)],
            final="b",
            heartbeat=Piece("c", gap=5),
        ),
    )


def test_an_empty_file_has_no_faults(file: Path) -> None:
    """Nothing goes wrong, then."""
    file.write_text("# nothing yet\n")
    assert read_faults(file) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[fault]\n", "faults.toml: "),
        ("[[faults]]\nnth = 1\n", r"only tables \[\[fault\]\] are known here"),
        ("fault = 1\n", r"only tables \[\[fault\]\] are known here"),
        ("fault = [1]\n", "fault 1: not a table"),
        ("[[fault]]\nnth = 1\n[[fault]]\nofen = 1\n", "fault 2: .*ofen"),
        ("[[fault]]\nnth = 'first'\n", "fault 1: "),
        ("[[fault]]\nstatus = '503'\n", "fault 1: status: '503' is not an HTTP status"),
        ("[[fault]]\nbody = [{ date = 'x' }]\n", "fault 1: .*date"),
        ("[[fault]]\nbody = 5\n", "fault 1: "),
        ("[[fault]]\nbody = [5]\n", "fault 1: data: 5 is neither text nor bytes"),
        ("[[fault]]\nheaders = 5\n", "fault 1: "),
        ("[[fault]]\ndelay = 'long'\n", "fault 1: "),
    ],
    ids=[
        "toml",
        "other table",
        "no list",
        "no table",
        "unknown",
        "nth",
        "status",
        "piece",
        "body",
        "number",
        "headers",
        "delay",
    ],
)
def test_a_wrong_file_is_an_error_that_says_where(file: Path, text: str, message: str) -> None:
    """By file and number."""
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_faults(file)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        read_faults(tmp_path / "nowhere.toml")
