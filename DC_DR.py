#!/usr/bin/env python3
"""Why a student errs: distance to change (DC) and distance to real (DR) of its privileged prediction.

Trains the bounds and the chosen students like MT_main.py, then shows who agrees with whom, which errors the predicted
value caused, and what a better prediction would mend. Results go to results/causes-<study>/.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import utils
from studies.folders import file_name, results_folder
from studies.options import GROUPS as SHARED
from studies.options import defaults_of, study_options, with_defaults
from studies.parsing import parse

if TYPE_CHECKING:
    from lupi.data.privileged_data import PrivilegedData
    from lupi.methods.options import StudyOptions

EPILOG = """examples:
  python DC_DR.py --dataset diabetes
  python DC_DR.py --dataset icr --methods MT-TPD KT-TPD
  python DC_DR.py --dataset diabetes phoneme --protocol paper --repeats 20
"""

GROUPS = with_defaults(SHARED, methods=["MT-TPD"])


def main(argv: Sequence[str] | None = None) -> int:
    with utils.errors_to_exit("DC_DR.py"):
        values = parse(__doc__ or "", argv, GROUPS, EPILOG)
        data = utils.load_data(values)
        options = explaining(study_options(values), data)
        from studies import run

        run.check(data, options)
        if values["dry_run"]:
            print(utils.estimate(data, options))
            return 0
        study(values, data, options, utils.command_line("DC_DR.py", argv))
    return 0


def explaining(options: StudyOptions, data: Sequence[PrivilegedData]) -> StudyOptions:
    """The options with the bounds beside the students to explain; ValueError where there is nothing to explain."""
    from lupi.methods.table import GROUPS as METHOD_GROUPS
    from lupi.methods.table import METHODS

    able = [name for name, method in METHODS.items() if method.predicts_z]
    asked = list(dict.fromkeys(m.base for m in options.weighed_methods if m.name not in ("lower", "upper")))
    unable = [name for name in asked if name not in able]
    group = len(options.methods) == 1 and options.methods[0].lower() in METHOD_GROUPS
    if (unable and not group) or len(unable) == len(asked):
        named = ", ".join(unable) or "lower, upper"
        raise ValueError(f"--methods: {named} predict no Z whose error could explain theirs; {', '.join(able)} do.")
    numeric = [of_set.name for of_set in data if of_set.classes is None]
    if numeric:
        raise ValueError(f"{', '.join(numeric)}: DC and DR need classes, and the target is a number.")
    return dataclasses.replace(options, methods=("lower", "upper", *(name for name in asked if name in able)))


def study(values: dict[str, Any], data: Sequence[PrivilegedData], options: StudyOptions, command: str) -> None:
    """Train what is not in the store yet, then draw and write."""
    from studies import run
    from studies.report import files
    from studies.report.figures import distances, style
    from studies.report.findings import findings
    from studies.views import causes

    plain = explaining(study_options(defaults_of(GROUPS)), data)
    folder = results_folder(values, data, options, plain, "causes-")
    with run.open_store(folder, data, options, command, force=values["force"]) as store:
        study_findings = findings(run.complete(store, data, options), values["metric"])
        completed = study_findings.study
        points = causes.points(completed.results, completed.splits, completed.config, repeat=None)
        for key, of_arm in points.groupby(["dataset", "method", "column"], sort=False):
            names = [str(name) for name in key]
            figure = distances.dc_dr(of_arm, names[1], names[2])
            style.save(figure, folder / "figures", f"DC-DR-{file_name('-'.join(names))}")
        files.write(study_findings)
        store.finish()
    for grid in study_findings.causes:
        print(grid.console(), end="\n\n")
    print(f"Results: {folder}/ (report.html first; figures/, table.csv, verdicts.csv, study.sqlite, config.json)")


if __name__ == "__main__":
    sys.exit(main())
