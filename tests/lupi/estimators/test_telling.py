"""Lines of a fit for people who have set up no log."""

import logging
import subprocess
import sys

import pytest

from lupi.estimators.telling import tell

FIT = """
import numpy as np
from lupi import PrivilegedClassifier
x = np.random.default_rng(0).normal(size=(40, 3))
settings = dict(preset="paper", method="MT-TPD", epochs=2, random_state=0, device="cpu", inner_folds=2)
for verbose in (0, 1):
    PrivilegedClassifier(verbose=verbose, **settings).fit(x, x[:, 0] > 0, privileged=x[:, 1] + x[:, 2])
import logging
assert not logging.getLogger().handlers and not logging.getLogger("lupi").handlers
"""


@pytest.mark.slow
def test_verbose__without_a_log__writes_one_line_to_stderr_and_sets_up_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", FIT], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("PrivilegedClassifier: MT-TPD, 2 epochs, ")


def test_tell__where_nobody_listens__writes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("of nobody")
    log.propagate = False
    tell(log, "100 % done")
    assert capsys.readouterr().err == "100 % done\n"
    assert not log.handlers


def test_tell__where_somebody_listens__is_a_record(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("of somebody")
    with caplog.at_level(logging.INFO, logger=log.name):
        tell(log, "done")
    assert caplog.messages == ["done"]
    assert capsys.readouterr().err == ""
