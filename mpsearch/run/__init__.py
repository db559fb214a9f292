"""A run, from a study to a verified file: `setup → prepare → work → finish`.

| stage | what it does | what it leaves |
|---|---|---|
| `setup` | network, data, layers, space, costs, ranges | nothing; built anew in every process |
| `prepare` | signals, allocations they learned → `Prepared` | `prepared.json` |
| `work` | trials → `Worked` | Optuna's storage, `study.db` unless told |
| `finish` | retraining, references, artifact, test, card, report → `Finished` | the files below, `summary.json` at the end |

Each stage gets the results of the earlier ones as arguments, leaves its own in the run directory, and reads it back when it is called
again: the same command goes on where it stopped.

| file | content |
|---|---|
| `study.yaml`, `run.json` | the resolved study; its fingerprint and the command |
| `prepared.json` | signals, the random allocations that were measured for them, and the allocations they learned |
| `study.db` | trials and their records, in Optuna's SQLite storage |
| `model.safetensors`, `winner.json`, `bits.yaml` | the artifact, its record and its allocation |
| `uniform.safetensors`, `uniform.json`, `uniform_candidates.json` | the best uniform allocation, retrained alike; its rivals |
| `control.pt`, `control.json` | the float control, if the study asks for one |
| `test.json` | scores on the test split, read once |
| `card.json`, `card.md` | the quantization card: what must be known before accuracies are compared |
| `seconds.json`, `passes.json` | wall time, passes and labels by phase |
| `summary.json`, `front.html` | everything the report says, and the report |
| `*.checkpoint` | a training under way; removed at the end |
"""

from mpsearch.run.directory import claimed
from mpsearch.run.evaluate import evaluate_artifact
from mpsearch.run.export import export_run
from mpsearch.run.finish import finished
from mpsearch.run.inspection import allocate, sensitivities
from mpsearch.run.pipeline import retrain, run, run_study

__all__ = ["allocate", "claimed", "evaluate_artifact", "export_run", "finished", "retrain", "run", "run_study", "sensitivities"]
