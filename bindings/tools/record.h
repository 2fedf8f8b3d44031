/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hosted service has done, written down until the spec looks: errors, log lines,
 * messages sent, tracebacks of fibers. Adding never raises; without memory a record is lost.
 */
#ifndef LUNATS_TOOLS_RECORD_H
#define LUNATS_TOOLS_RECORD_H

#include <stddef.h>

#include <lua.h>

#include "host/base/list.h"
#include "host/base/log.h"
#include "host/link/link.h"

enum record_kind { RECORD_ERROR, RECORD_LOG, RECORD_SENT, RECORD_FIBER };

struct record;

/* All zero is empty. */
struct records {
    struct list list;
    size_t count;
};

void records_free(struct records *records);

/* Copy everything. */
void records_add_text(struct records *records, enum record_kind kind, const char *text);
void records_add_log(struct records *records, const struct log_record *line);
void records_add_sent(struct records *records, const struct link_out *out);

/*
 * Pushes the list of all records and forgets them. May raise (out of memory): what has been
 * pushed is gone then.
 * { kind = "error" | "fiber", text = }, { kind = "log", text =, level =, fields = },
 * { kind = "sent", subject =, reply_to =, raw =, headers = }
 */
void records_push(lua_State *L, struct records *records);

#endif
