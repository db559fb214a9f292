"""`companions`: what stands beside a C file where it is used: header, example program, test vector and Makefile."""

from __future__ import annotations

from mpsearch.targets.c.file import defined

__all__ = ["companions"]

_HEADER = """/* A network written by mpsearch; compile model.c with it. */
#ifndef MODEL_H
#define MODEL_H

@MACROS
#ifdef __cplusplus
extern "C" {
#endif

/* One sample: `input` has MODEL_INPUT floats in the order of the network's own axes, `output` takes MODEL_OUTPUT; they do not overlap. */
void model_run(const float *input, float *output);

#ifdef __cplusplus
}
#endif

#endif
"""

_MACROS = {
    "MODEL_INPUT": "floats of a sample",
    "MODEL_OUTPUT": "floats that the network returns",
    "MODEL_FLASH": "bytes of constant data",
    "MODEL_ARENA": "bytes of activations",
    "MODEL_RAM": "bytes of activations and of one unpacked row of weights",
}

_VECTOR = """/* A sample and the outputs that it must give; they are part of model.c when MODEL_TEST_VECTOR is defined. */
#ifndef TEST_VECTOR_H
#define TEST_VECTOR_H

#include "model.h"

extern const float model_test_input[MODEL_INPUT];
extern const float model_test_output[MODEL_OUTPUT];

#endif
"""

_MAIN = r"""/* Without arguments: reads samples from standard input, MODEL_INPUT numbers each, and prints the outputs of each in a line.
   With the argument test: compares the outputs of the test vector with those that mpsearch computed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model.h"
#include "test_vector.h"

static float input[MODEL_INPUT], output[MODEL_OUTPUT];

static int test(void)
{
    float most = 0.0f, largest = 0.0f;
    int i;
    model_run(model_test_input, output);
    for (i = 0; i < MODEL_OUTPUT; i++) {
        most = fmaxf(most, fabsf(output[i] - model_test_output[i]));
        largest = fmaxf(largest, fabsf(model_test_output[i]));
    }
    printf("%d outputs, largest difference %g of the largest output\n", MODEL_OUTPUT, (double)(most / largest));
    return most <= 0.05f * largest ? 0 : 1; /* one input rounded the other way moves outputs a little */
}

int main(int argc, char **argv)
{
    int i, count = 0;
    if (argc == 2 && strcmp(argv[1], "test") == 0)
        return test();
    while (scanf("%f", &input[count]) == 1)
        if (++count == MODEL_INPUT) {
            model_run(input, output);
            for (i = 0; i < MODEL_OUTPUT; i++)
                printf("%.9g%c", (double)output[i], i + 1 < MODEL_OUTPUT ? ' ' : '\n');
            count = 0;
        }
    if (count != 0)
        fprintf(stderr, "the last sample has %d numbers of %d\n", count, MODEL_INPUT);
    return count != 0;
}
"""

_MAKEFILE = """CFLAGS ?= -std=c99 -Wall -Wextra -Werror -pedantic -O2

model: main.c model.c model.h test_vector.h
\t$(CC) $(CFLAGS) -DMODEL_TEST_VECTOR -o $@ main.c model.c -lm

test: model
\t./model test

clean:
\trm -f model

.PHONY: test clean
"""


def companions(text: str) -> dict[str, str]:
    """Text by file name, for the text of a C file."""
    macros = "".join(f"#define {name} {defined(text, name)} /* {what} */\n" for name, what in _MACROS.items())
    return {"model.h": _HEADER.replace("@MACROS", macros), "main.c": _MAIN, "test_vector.h": _VECTOR, "Makefile": _MAKEFILE}
