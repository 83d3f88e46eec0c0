"""What starts without the heavy libraries, and how the command line speaks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "timm", "sklearn", "scipy", "h5py")
COMMANDS = ("demo", "extract", "probe", "fit", "predict", "info", "store", "export", "models")


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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(cli, name):
    ran = cli(name, "--help")
    assert ran.code == 0
    assert f"embedkit {name}" in ran.out.split("Usage:")[1].split("\n", 1)[1]


def test_every_command_stands_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"embedkit {name}" not in readme] == []


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
        assert name in documented or name == "EmbedkitError"  # its module is documented as a whole
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        embedkit.nonsense  # noqa: B018
