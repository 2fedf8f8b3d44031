/* SPDX-License-Identifier: Apache-2.0 */
/* What traces are told of a service: its name, its version, its instance. */
#ifndef LUNATS_SERVICE_TRACING_H
#define LUNATS_SERVICE_TRACING_H

struct service;
struct tracer;

/* Opens the tracer of a service whose options have an exporter, and lets it record what comes
 * in. *out is the caller's. Returns LN_OK or LN_ENOMEM. */
int tracing_open(struct tracer **out, struct service *service);

#endif
