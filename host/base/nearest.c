/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/nearest.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

#define WORD_MAX 64

static int least(int a, int b) {
    return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap neighbours) that turn one word into the other. */
static int edits(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    if (n > WORD_MAX || m > WORD_MAX)
        return INT_MAX;
    int rows[3][WORD_MAX + 1]; /* of a's last three letters */
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = least(above[j], now[j - 1]) + 1;
            now[j] = least(now[j], above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

struct nearest nearest_to(const char *word) {
    return (struct nearest){.word = word, .best = NULL, .distance = INT_MAX};
}

void nearest_try(struct nearest *nearest, const char *candidate) {
    int distance = edits(nearest->word, candidate);
    /* A third of the letters may be wrong; more is another word. */
    int limit = 1 + (int)strlen(candidate) / 3;
    if (distance <= limit && distance < nearest->distance) {
        nearest->distance = distance;
        nearest->best = candidate;
    }
}
