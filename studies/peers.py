"""The option --peers: fits models of other makers on X alone, on the splits of a study, and keeps them in its store."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from lupi.data.privileged_data import PrivilegedData
from lupi.methods.options import StudyOptions
from lupi.study import peers
from lupi.study.run import splits_of
from studies import progress
from studies.store import Store

log = logging.getLogger("lupi")


def check(names: Sequence[str] | None) -> None:
    """Raise ValueError where no peer has such a name; say which peers are not installed."""
    if names is None:
        return
    there, absent = peers.installed(names)
    if absent:
        left_out = ", ".join(peer.name for peer in absent)
        log.warning("peers that are not installed are left out: %s. To have them: pip install 'lupi[peers]'", left_out)
    if not there:
        raise ValueError(
            f"--peers: none of {', '.join(peer.name for peer in absent)} is installed. Install lupi[peers], or choose "
            f"others of {', '.join(peers.PEERS)}."
        )


def models_of(data: Sequence[PrivilegedData], options: StudyOptions, names: Sequence[str]) -> int:
    """How many models the peers that are installed are on all splits."""
    return len(peers.installed(names)[0]) * options.folds * options.repeats * len(data)


def complete(
    results: Store, data: Sequence[PrivilegedData], options: StudyOptions, names: Sequence[str] | None
) -> None:
    """Fit the peers of these names that the store lacks, each written as it is finished; none where `names` is None.

    A peer that fails on a split is named and has no number there; the same command tries it again.
    """
    if names is None:
        return
    stored = results.peers()
    done = set(stored[["dataset", "peer", "repeat", "fold"]].itertuples(index=False, name=None))
    asked = {(of_set.name, peer.name) for of_set in data for peer in peers.installed(names)[0]}
    kept = sum((dataset, peer) in asked for dataset, peer, _, _ in done)
    with progress.progress_bar(models_of(data, options, names), kept, " peers") as bar:
        for of_set in data:
            splits = splits_of(of_set, options, range(options.repeats))[: options.folds * options.repeats]
            for peer in peers.installed(names)[0]:
                bar.set_description(f"{of_set.name}, {peer.name}")
                start, fitted = time.perf_counter(), 0
                for split in splits:
                    if (of_set.name, peer.name, split.repeat, split.fold) in done:
                        continue
                    try:
                        record = peers.record(of_set, options, split, peer)
                    except Exception as error:  # of a package of another maker: the study goes on without it
                        where = f"repeat {split.repeat}, fold {split.fold}"
                        log.warning("%s: %s failed in %s: %s", of_set.name, peer.name, where, error)
                    else:
                        results.add_peer({"dataset": of_set.name, **record})
                        fitted += 1
                    bar.update(1)
                if bar.disable and fitted:
                    log.info("%s: %s, %d models, %.0f s", of_set.name, peer.name, fitted, time.perf_counter() - start)
