/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nearest known word to a mistyped one: struct nearest n = nearest_to("timeot");
 * nearest_try(&n, "timeout"); ... n.best is the best candidate or NULL if none is close.
 */
#ifndef LUNATS_BASE_NEAREST_H
#define LUNATS_BASE_NEAREST_H

struct nearest {
    const char *word; /* borrowed */
    const char *best; /* one of the candidates, borrowed; NULL = none is close enough */
    int distance;
};

struct nearest nearest_to(const char *word);
void nearest_try(struct nearest *nearest, const char *candidate);

#endif
