"""`gguf`: a language model as llama.cpp runs it.

| module | what |
|---|---|
| `blocks` | codes and scales ↔ the blocks of ggml, without loss |
| `architecture` | which networks llama.cpp knows: names, sizes, the order of rows |
| `tokenizer` | the tokenizer of a folder, as the file carries it |
| `container` | a strict reader of GGUF files |
| `write`, `artifact` | the file, and the network in it |
| `runtime` | llama.cpp itself |
"""

from mpsearch.targets.gguf.target import Gguf

__all__ = ["Gguf"]
