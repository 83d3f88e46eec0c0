"""What starts without the heavy libraries, and how the command line speaks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.photos import make_manifest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "timm", "sklearn", "scipy", "h5py")
COMMANDS = (
    "demo",
    "extract",
    "probe",
    "compare",
    "select",
    "layers",
    "fit",
    "predict",
    "explain",
    "report",
    "info",
    "store",
    "export",
    "diff",
    "models",
    "slurm",
)


def loaded_by(code: str, environment: dict[str, str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_import_embedkit_loads_nothing_heavy(environment):
    assert not loaded_by("import embedkit", environment) & {*HEAVY, "numpy"}


def test_a_heavy_library_would_be_noticed(environment):
    assert "h5py" in loaded_by("import embedkit; embedkit.FeatureTable", environment)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_loads_nothing_heavy(arguments, environment):
    code = (
        "import sys, contextlib, io\n"
        f"sys.argv = ['embedkit', *{arguments!r}]\n"
        "from embedkit_cli.main import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()"
    )
    assert not loaded_by(code, environment) & set(HEAVY)


def test_what_finds_everything_loads_nothing_that_computes(cli, environment, tmp_path):
    manifest = make_manifest(tmp_path / "photos", {"red": 5, "green": 5})
    assert cli("extract", manifest, "-o", "p.h5").code == 0
    assert cli("fit", "p.h5", "--estimator", "logistic", "-o", "m.skops").code == 0
    assert cli("predict", "m.skops", manifest, "-o", "first.csv").code == 0
    unwanted = {
        ("extract", str(manifest), "-o", "p.h5"): set(HEAVY) - {"h5py"},
        ("info", "p.h5"): set(HEAVY) - {"h5py"},
        ("store", "info"): set(HEAVY) - {"h5py"},
        ("predict", "m.skops", str(manifest), "-o", "again.csv"): {"torch", "timm"},
    }
    for arguments, heavy in unwanted.items():
        code = (
            "import os, sys, contextlib, io\n"
            f"os.chdir({str(tmp_path)!r})\n"
            f"sys.argv = ['embedkit', *{arguments!r}]\n"
            "from embedkit_cli.main import main\n"
            "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()"
        )
        assert not loaded_by(code, environment) & heavy, arguments
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "first.csv").read_bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(cli, name):
    ran = cli(name, "--help")
    assert ran.code == 0
    assert f"embedkit {name}" in ran.out.split("Usage:")[1].split("\n", 1)[1]


def test_every_command_stands_in_the_readme_or_the_docs():
    written = "".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))
    assert [name for name in COMMANDS if f"embedkit {name}" not in written] == []


@pytest.mark.parametrize("arguments", ["nonsense", "extract", "extract x --pool mad", "probe --shots x y"])
def test_wrong_usage_exits_with_2(cli, arguments):
    ran = cli(*arguments.split())
    assert ran.code == 2
    assert ran.out == ""
    assert "Traceback" not in ran.err


def test_every_public_name_is_there_and_documented():
    import embedkit

    documented = re.findall(
        r"^\.\. auto\w+:: (?:embedkit\.\w+\.)?(\w+)$", (ROOT / "docs" / "api.rst").read_text(), re.M
    )
    for name in embedkit.__all__:
        assert getattr(embedkit, name) is not None
        assert name in documented or name in ("EmbedkitError", "plot")  # modules that are documented as a whole
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        embedkit.nonsense  # noqa: B018


def test_every_command_is_in_the_list_of_commands(cli):
    listed = re.findall(r"^  ([a-z]+)  ", cli("--help").out.split("Commands:")[1], re.M)
    page = (ROOT / "docs" / "commands.md").read_text()
    documented = re.findall(r"^\| `embedkit ([a-z]+)", page, re.M)
    assert sorted(documented) == sorted(listed)


def test_help_shows_five_options_first_and_the_words():
    from embedkit_cli.main import cli as embedkit

    context = click.Context(embedkit)
    for name in embedkit.list_commands(context):
        found = embedkit.get_command(context, name)
        out = found.get_help(click.Context(found, info_name=name))
        assert "docs/glossary.md" in " ".join(out.split()), name
        if len(found.params) <= 10:
            continue
        most, more = out.split("Most used:")[1].split("More options:")
        assert 3 <= len(re.findall(r"^  -", most, re.M)) <= 6, name
        assert "--log-format" in more


def test_help_says_what_exit_codes_mean(cli):
    for arguments in (["--help"], ["extract", "--help"], ["search", "--help"], ["audit", "--help"]):
        assert "4 work is left (--status)" in cli(*arguments).out
    words = re.search(r"Words \((.*?)\): (\S+)", " ".join(cli("--help").out.split()))
    assert words is not None
    page = (ROOT / words[2]).read_text()
    titles = {title.lower() for title in re.findall(r"^\*\*(.+?)\*\*", page, re.M)}
    assert [word for word in words[1].split(", ") if word.lower() not in titles] == []
