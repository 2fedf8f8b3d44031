/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last errors of a service, with their tracebacks, for whoever looks at it later. Errors of
 * one kind are counted, and the latest is shown, so that what fails all the time does not drive
 * out the rest: their texts differ only in their ids, and in numbers that are no line numbers.
 */
#ifndef LUNATS_SERVICE_FAULTS_H
#define LUNATS_SERVICE_FAULTS_H

#include <stddef.h>
#include <stdint.h>

#include "host/base/list.h"

#define FAULTS_MAX 20
#define FAULT_TEXT_MAX 4096 /* bytes; the end of a longer text is left out */
#define FAULT_ID_SIZE 24

struct fault {
    struct list_node node;
    uint64_t number;          /* of the latest; grows from one error to the next */
    uint64_t first;           /* that of the first one of this kind */
    double first_at, last_at; /* Unix time */
    uint64_t count;
    char id[FAULT_ID_SIZE]; /* by which senders know the latest; "": none */
    char text[];            /* the message with the traceback below it */
};

/* All zero is empty. */
struct faults {
    struct list list; /* the latest last */
    size_t count;
    uint64_t number; /* of the latest */
};

/* Copies; without memory it is not kept. `id` may be NULL. */
void faults_add(struct faults *faults, const char *text, const char *id);
void faults_free(struct faults *faults);

#endif
