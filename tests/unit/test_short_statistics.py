"""Statistics are short only in the tests of the folders whose fixtures make them short."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
SHORT_TESTS = (  # quick tests, of each folder that has such a fixture
    "unit/drift/test_row_products.py",
    "unit/remedy/test_last_layer.py",
    "integration/test_reference_arrays.py",
    "statistics/test_permutations.py",
)
LATER_TEST = """
from tidemark.drift import detector_simulation, residual, window
from tidemark.remedy import paired_bootstrap
from tidemark.remedy.label_shift import cross_fitting

MODULES = detector_simulation, residual, window, paired_bootstrap, cross_fitting


def constants():
    return [{name: value for name, value in vars(module).items() if name.isupper()} for module in MODULES]


CONSTANTS = constants()  # before any fixture: all tests are collected before the first one runs


def test_constants_are_unchanged():
    assert constants() == CONSTANTS
"""


def test_statistics_are_whole_again_in_tests_that_run_later_in_the_same_process(tmp_path: Path) -> None:
    """An acceptance test would otherwise repeat a monitor's windows with a fifth of its permutations."""
    later_test = tmp_path / "test_later.py"
    later_test.write_text(LATER_TEST, encoding="utf-8")
    root, files = TESTS.parent, [*(TESTS / name for name in SHORT_TESTS), later_test]
    command: list[str | Path] = [sys.executable, "-m", "pytest", "-c", root / "pyproject.toml", "--rootdir", root]
    command += ["-p", "no:cacheprovider", "--basetemp", tmp_path / "files", *files]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
