#!/usr/bin/env python3
"""One study: every method on the chosen data sets, cross-validated. Results go to results/<study>/."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import utils
from studies.folders import results_folder
from studies.options import GROUPS as SHARED
from studies.options import Option, defaults_of, fitted_to, study_options
from studies.parsing import parse

if TYPE_CHECKING:
    from lupi.data.privileged_data import PrivilegedData
    from lupi.methods.options import StudyOptions

EPILOG = """examples:
  python MT_main.py --dataset icr
  python MT_main.py --dataset all --repeats 10
  python MT_main.py --dataset diabetes --protocol paper --methods paper --repeats 20
  python MT_main.py --dataset icr --auxiliary derived masked
  python MT_main.py --dataset icr --discover 6
  python MT_main.py --dataset icr --peers linear CatBoost --metric balanced_log_loss
  python MT_main.py --csv train.csv --target Class --privileged-file greeks.csv --on Id --categorical EJ Beta
"""

PEER_OPTIONS = (
    Option("peers", None, "models of other makers on X alone beside the methods: all, or linear random-forest "
           "HistGradientBoosting LightGBM CatBoost RealMLP TabM", many=True),
)  # fmt: skip
DISCOVERY_OPTIONS = (
    Option("discover", None, "which privileged columns are useful: generate and test with so many candidates in play "
           "(columns, their products, random projections)", int),
)  # fmt: skip
GROUPS = {**SHARED, "peers": PEER_OPTIONS, "discovery": DISCOVERY_OPTIONS}


def main(argv: Sequence[str] | None = None) -> int:
    with utils.errors_to_exit("MT_main.py"):
        values = parse(__doc__ or "", argv, GROUPS, EPILOG)
        data = utils.load_data(values)
        options = fitted_to(study_options(values), data)
        from studies import discovery, peers, run

        run.check(data, options)
        peers.check(values["peers"])
        discovery.check(data, values["discover"])
        if values["dry_run"]:
            print(utils.estimate(data, options))
            if values["discover"] is not None:
                print(discovery.estimate(data, options, values["discover"]))
            if values["peers"] is not None:
                print(f"--peers fits {peers.models_of(data, options, values['peers'])} models more.")
            print(f"Results would lie in {folder_of(values, data, options)}/.")
            return 0
        study(values, data, options, utils.command_line("MT_main.py", argv))
    return 0


def folder_of(values: dict[str, Any], data: Sequence[PrivilegedData], options: StudyOptions) -> Path:
    usual = fitted_to(study_options(defaults_of(SHARED)), data, warn=False)
    return results_folder(values, data, options, usual)


def study(values: dict[str, Any], data: Sequence[PrivilegedData], options: StudyOptions, command: str) -> None:
    """Train what is not in the store yet, then write and print the results."""
    from studies import discovery, peers, run
    from studies.report import files
    from studies.report.findings import findings

    folder = folder_of(values, data, options)
    with run.open_store(folder, data, options, command, force=values["force"]) as results:
        completed = run.complete(results, data, options)
        peers.complete(results, data, options, values["peers"])
        completed = dataclasses.replace(completed, peers=results.peers())
        discovered = discovery.discovered(folder, data, options, values["discover"])
        study_findings = findings(completed, values["metric"], discovered)
        files.write(study_findings)
        results.finish()
    print(files.console(study_findings))


if __name__ == "__main__":
    sys.exit(main())
