/* SPDX-License-Identifier: Apache-2.0 */
#include "host/link/answer.h"

#include <string.h>

#include "host/base/log.h"

/* The last one is every other subject. */
static const char *const kinds[] = {"$JS.API.", "$JS.ACK.", "$JS.FC.", "$JS.",
                                    "$KV.",     "$O.",      "$SYS.",   ""};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };
_Static_assert(KINDS <= 8, "one bit each in answer_log.told");

void answer_refused(struct answer_log *log, const char *service, const char *what,
                    const char *name, const char *subject) {
    unsigned kind = 0;
    while (kind < KINDS - 1 && strncmp(subject, kinds[kind], strlen(kinds[kind])) != 0)
        kind++;
    if (log->told & 1u << kind)
        return;
    log->told = (unsigned char)(log->told | 1u << kind);
    log_warn(
        service,
        "%s %.200s: nothing is sent to the reply subject of a message, %.200s: a sender may "
        "not choose it (said once for subjects of this kind)",
        what, name, subject);
}
