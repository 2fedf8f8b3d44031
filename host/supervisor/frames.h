/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers answer, cut out of a stream of bytes: "NUMBER STATUS LENGTH\n" and as many
 * bytes. Part of the module channel; nobody else includes it.
 */
#ifndef LUNATS_SUPERVISOR_FRAMES_H
#define LUNATS_SUPERVISOR_FRAMES_H

#include <stdbool.h>
#include <stddef.h>

struct frame {
    unsigned long number; /* of the question */
    int status; /* of HTTP; 0: the body is longer than the limit and was thrown away */
    char *body; /* with a zero behind it; the receiver may keep it and set it NULL */
    size_t len;
};

/* All zero, but for the limit, is the beginning. */
struct frames {
    size_t limit; /* bytes of a body */
    char line[64];
    size_t line_len;
    struct frame frame; /* while its body comes */
    size_t left;        /* bytes of the body to come */
    bool in_body, skips;
    bool broken;
};

/* Takes bytes, and tells each frame that is complete. False: these are no frames, or there is
 * no memory; nothing that follows can be read either. */
bool frames_take(struct frames *frames, const char *bytes, size_t len,
                 void (*on_frame)(void *owner, struct frame *frame), void *owner);
void frames_free(struct frames *frames);

#endif
