"""The pipeline, top to bottom: signals → study → uniform reference → retraining → artifact → verification → test split → report.

Each stage leaves its result in the run directory before the next begins; the same command goes on where it stopped.

| file | content |
|---|---|
| `study.yaml`, `run.json` | the resolved study; its fingerprint and the command |
| `tables.json`, `measured.json` | signals; the damage of the random allocations that `mix` weighs them by |
| `starts.json` | allocations that the signals' trainings have learned |
| `study.db` | Optuna's SQLite storage |
| `uniform.json`, `winner.json`, `control.json` | retrained records (with `*.checkpoint` while they train) |
| `model.safetensors`, `bits.yaml` | the artifact and its allocation |
| `test.json` | the test split, read once |
| `card.json`, `card.md` | the quantization card: what must be known before accuracies are compared |
| `seconds.json`, `tally.json` | wall time, passes and labels by phase |
| `summary.json`, `front.html` | everything for the report, and the report |
"""

from mpsearch.run.directory import ARTIFACT, claimed
from mpsearch.run.stages import allocate, evaluate_artifact, export_run, finished, retrain, run, run_study, sensitivities

__all__ = ["ARTIFACT", "allocate", "claimed", "evaluate_artifact", "export_run", "finished", "retrain", "run", "run_study", "sensitivities"]
