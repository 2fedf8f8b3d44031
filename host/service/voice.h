/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service says in the log: from which level on, and whether its lines are published as
 * well, on `<prefix>.<service>.<instance>`. Part of the service, so it lasts over reloads.
 *
 * Publishing a line never waits and is never the reason for another one: lines that the
 * connection cannot take are counted, and a server that does not let them through is not asked
 * again until the next connection.
 */
#ifndef LUNATS_SERVICE_VOICE_H
#define LUNATS_SERVICE_VOICE_H

#include "host/base/log.h"
#include "host/link/answer.h"
#include "host/service/service.h"
#include "host/service/vitals.h"

/* Embedded in the service; all zero is idle. */
struct voice {
    struct service *service;
    struct log_override override;
    struct log_copy copy;
    struct connection_watcher watcher;
    struct answer_log refusals;
    bool changed;  /* the level is not that of the command line */
    bool refused;  /* the server lets nothing through, on this connection */
    uint64_t lost; /* lines that were not published, not told yet */
};

/* The service is about to connect. voice_close() before its memory goes, in any case. */
void voice_open(struct voice *voice, struct service *service);
void voice_close(struct voice *voice);

/* Another level than that of the command line, and back to that. Both write a line. */
void voice_set_level(struct voice *voice, enum log_level level);
void voice_reset_level(struct voice *voice);

/* Answers requests on lunats.control.<service>.<instance>.log_level from now on, until the
 * connection closes. As link_subscribe(). */
int voice_listen(struct voice *voice);

/* The connection tells of an error: true if it was about the lines and has been seen to. */
bool voice_refused(struct voice *voice, const char *text);

#endif
