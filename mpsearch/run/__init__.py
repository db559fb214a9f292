"""A run of a study in four stages, `setup → prepare → work → finish`, up to the verified artifact.

| stage | task | result files |
|---|---|---|
| `setup` | network, data, layers, space, costs, ranges | none; rebuilt in every process |
| `prepare` | signals, learned allocations → `Prepared` | `prepared.json` |
| `work` | trials → `Worked` | Optuna's storage, by default `study.db` |
| `finish` | retraining, references, artifact, test, card, report → `Summary` | the files below; `summary.json` is the last |

Each stage gets the results of the earlier ones as arguments, stores its own in the run directory, and reads it back when it is called
again: the same command resumes an interrupted run. Every result is stored with a digest of what it was made from, and is computed again,
with a line that says so, if that differs or the file is damaged.

| file | content |
|---|---|
| `study.yaml`, `run.json` | the resolved study; its fingerprint and the command |
| `identity.json` | digests of network, weights and data, and the version of mpsearch; the run is continued with the same only |
| `batchnorm.json` | how BatchNorm statistics of untrained allocations follow quantization |
| `prepared.json` | signals, the random allocations measured for them, and the allocations they learned |
| `study.db` | trials and their records, in Optuna's SQLite storage |
| `model.safetensors`, `winner.json`, `bits.yaml` | the artifact, its record and its allocation |
| `uniform.safetensors`, `uniform.json`, `uniform_candidates.json` | the best uniform allocation, retrained; the uniform candidates |
| `control.pt`, `control.json` | the float control, if the study asks for one |
| `front.json`, `front/<name>/` | where a budget is a range: the chosen points; bits, artifact and record of each |
| `space.json` | layers, menus, ties and what every choice costs, for questions that need no network |
| `test.json` | scores on the test split, which is read once |
| `latency.json` | the latency of the delivered file, where it was budgeted by measured times |
| `card.json`, `card.md` | the quantization card |
| `seconds.json`, `passes.json` | wall time; passes and labels; by phase |
| `summary.json`, `front.html` | the content of the report; the report |
| `told.json` | what each logger was told, if there are loggers |
| `worker.json`, `workers/`, `artifacts/` | where others share the study: name in it, local workers, shared files |
| `*.checkpoint` | checkpoints of running trainings; removed at the end |
"""

from mpsearch.run.announce import Announcer
from mpsearch.run.convert import convert, convert_run
from mpsearch.run.crew import LEASE, STORAGE_VARIABLE, Crew
from mpsearch.run.directory import claimed
from mpsearch.run.evaluate import evaluate_artifact
from mpsearch.run.export import export_run
from mpsearch.run.finish import finished
from mpsearch.run.inspection import allocate, sensitivities
from mpsearch.run.launch import Launch
from mpsearch.run.ledger import Ledger
from mpsearch.run.pipeline import retrain, run, run_study, told_again
from mpsearch.run.plan import plan
from mpsearch.run.profile import profile
from mpsearch.run.worker import join

__all__ = [
    "LEASE",
    "STORAGE_VARIABLE",
    "Announcer",
    "Crew",
    "Launch",
    "Ledger",
    "allocate",
    "claimed",
    "convert",
    "convert_run",
    "evaluate_artifact",
    "export_run",
    "finished",
    "join",
    "plan",
    "profile",
    "retrain",
    "run",
    "run_study",
    "sensitivities",
    "told_again",
]
