"""Requests as code, run by what they are written for: Python, a shell, the reader of jobs. Prompts are hostile."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async import ImageRequest
from aiai_async._client import DEFAULT_BASE_URL
from aiai_async.bulk.inputs import read_rows
from aiai_async.bulk.rows import Row
from aiai_async.server import LocalServer
from aiai_async.studio.copies import write_batch_line, write_curl, write_python

HOSTILE = (
    """It's "quoted" $HOME `id` $(id) \\ \\n !! %s {x} @/etc/passwd ; rm -rf ~ # 'x' ''' \"\"\" '"'"' </script>""",
    "two\nlines\r\tand \x1b[31mred \x07 \x00 \x9b31m",
    "黄昏的灯塔 — été 👩‍🚀",
    "\u202egnp.exe \u2028 \u2066 \ufeff",
    "@/etc/passwd",
    "--help",
    "\\",
    "'",
    '"',
)
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=200).filter(lambda text: text.strip()))
REQUEST = ImageRequest(prompt="A kite", model="gpt-image-1", size="1024x1024", n=2, partial_images=3)


def run_shell(text: str, folder: Path) -> list[str]:
    """Run a command with a curl that only tells what it was called with."""
    (folder / "curl").write_text(
        f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]), end='')\n", encoding="utf-8"
    )
    (folder / "curl").chmod(0o755)
    found = subprocess.run(
        ["sh", "-c", text],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "AIAI_API_KEY": "sk-of-the-shell"},
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert found.stderr == b""
    arguments: list[str] = json.loads(found.stdout)
    return arguments


@pytest.mark.skipif(os.name == "nt", reason="the command is for shells that quote like sh")
@pytest.mark.parametrize("prompt", HOSTILE, ids=range(len(HOSTILE)))
def test_the_shell_gives_curl_what_was_meant(prompt: str, tmp_path: Path) -> None:
    """A real shell: one address, the key from the environment, and the body as it is sent; nothing else is run."""
    text = write_curl(ImageRequest(prompt=prompt, n=2), base_url="http://127.0.0.1:1/v1", stream=True)
    flag, url, _, key, _, kind, _, body = run_shell(text, tmp_path)
    assert (flag, url) == ("--no-buffer", "http://127.0.0.1:1/v1/images/generations/")
    assert key == "Authorization: Bearer sk-of-the-shell"
    assert kind == "Content-Type: application/json"
    assert json.loads(body) == {"prompt": prompt, "n": 2, "stream": True}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curl"]


@given(prompt=TEXTS)
def test_what_is_copied_is_what_it_looks_like(prompt: str) -> None:
    """No character that doesn't print goes to a terminal; a batch's line is one line."""
    request = ImageRequest(prompt=prompt)
    curl = write_curl(request, base_url=DEFAULT_BASE_URL, stream=False)
    line = write_batch_line(request, custom_id="studio-1")
    python = write_python(request, base_url=DEFAULT_BASE_URL, stream=False)
    assert all(part.isprintable() for text in (curl, line, python) for part in text.split("\n"))
    assert line.count("\n") == 1


@given(prompt=TEXTS)
def test_a_job_reads_the_line_as_the_request(prompt: str) -> None:
    """All of it but the partial images, which a job has no use for."""
    request = ImageRequest(prompt=prompt, model="gpt-image-1", quality="low", partial_images=2)
    line = write_batch_line(request, custom_id="studio-7").encode()
    [row] = read_rows(io.BytesIO(line), format="jsonl")
    assert isinstance(row, Row)
    assert row.custom_id == "studio-7"
    assert dict(row.fields) == {"prompt": prompt, "model": "gpt-image-1", "quality": "low"}


def find_call(text: str) -> tuple[object, dict[str, object]]:
    """Give the prompt and the fields that a program asks with."""
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("stream", "generate")
        ):
            [prompt] = node.args
            return ast.literal_eval(prompt), {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
    raise AssertionError(text)


@given(prompt=TEXTS, stream=st.booleans())
def test_python_reads_the_program_as_the_request(prompt: str, stream: bool) -> None:
    """The literals are Python's own."""
    text = write_python(ImageRequest(prompt=prompt, n=2, size="auto"), base_url=DEFAULT_BASE_URL, stream=stream)
    assert find_call(text) == (prompt, {"n": 2, "size": "auto"})
    assert "base_url" not in text


@pytest.mark.parametrize("fields", [{"model": "gpt-image-1", "partial_images": 1}, {"model": "dall-e-2"}], ids=str)
async def test_the_program_runs(fields: dict[str, Any], tmp_path: Path) -> None:
    """As a program of its own, with nothing but the key in its environment; it saves the image and says where."""
    async with LocalServer("sk-1") as server:
        request = ImageRequest(prompt=HOSTILE[0], **fields)
        (tmp_path / "program.py").write_text(
            write_python(request, base_url=server.base_url, stream="partial_images" in fields), encoding="utf-8"
        )
        source = os.getcwd()
        found = await anyio.to_thread.run_sync(
            lambda: subprocess.run(
                [sys.executable, "-W", "error", "program.py"],
                cwd=tmp_path,
                env={**os.environ, "AIAI_API_KEY": "sk-1", "PYTHONPATH": source},
                capture_output=True,
                text=True,
                check=False,
                timeout=50,
            )
        )
        assert (found.returncode, found.stderr) == (0, "")
        assert (tmp_path / found.stdout.splitlines()[-1]).read_bytes().startswith(b"\x89PNG")
        assert server.requests[0].body["prompt"] == HOSTILE[0]


def test_no_key_is_in_any() -> None:
    """It is named, and read where they run."""
    texts = (
        write_python(REQUEST, base_url=DEFAULT_BASE_URL, stream=True),
        write_curl(REQUEST, base_url=DEFAULT_BASE_URL, stream=True),
    )
    assert all("AIAI_API_KEY" in text for text in texts)
