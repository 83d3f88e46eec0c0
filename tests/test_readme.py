"""What README and docs tell people to type is understood, what they show was printed, what they link to is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from embedkit_cli.main import cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DEMO = (ROOT / "docs" / "images" / "demo.txt").read_text(encoding="utf-8").splitlines()


def typed() -> list[tuple[str, str]]:
    """Return each command line in a block of a page, those over several lines joined, without pipes and comments."""
    found: list[tuple[str, str]] = []
    for page in PAGES:
        text = re.sub(r"\\\n +", "", page.read_text(encoding="utf-8")).replace("$SLURM_ARRAY_TASK_ID", "1")
        for line in re.findall(r"^ {4}(?:pip install \S+ && |[A-Z_]+=\S+ )*(embedkit [a-z].*)$", text, re.M):
            found.append((page.name, re.split(r" [|>&#]| \|\| ", line)[0].strip()))
    return found


@pytest.mark.parametrize(("page", "line"), typed())
def test_every_command_line_is_understood(page, line):
    words = [word for word in shlex.split(line)[1:] if not word.startswith("2>")]
    parent = click.Context(cli, info_name="embedkit")
    command, name = cli.get_command(parent, words[0]), words.pop(0)
    while isinstance(command, click.Group):
        name = words.pop(0)
        command = command.get_command(parent, name)
    assert command is not None, line
    command.make_context(name, words, parent=parent)  # raises where an option is not known


def test_the_commands_were_found():
    assert {"embedkit demo", "embedkit probe photos/", "embedkit compare photos/ --model auto"} <= {
        line for page, line in typed() if page == "README.md"
    }


def test_what_the_demo_prints_is_in_the_readme():
    shown = re.findall(
        r"^ {4}((?:labels of|tf_eff|pixels32|colour).*%? .*\))$", README.split("## With a folder")[0], re.M
    )
    assert len(shown) >= 3
    assert [line for line in shown if line not in DEMO] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short():
    paths = dict(re.findall(r"^## (With .*?)\n(.*?)(?=^## )", README, re.M | re.S))
    assert len(paths) == 3
    assert {title for title, text in paths.items() if len(text.strip().splitlines()) > 25} == set()
    prose = re.sub(r"^(?: {4}.*|```.*?```)$", "", README, flags=re.M | re.S)
    assert [block for block in prose.split("\n\n") if len(block.strip().splitlines()) > 4] == []
