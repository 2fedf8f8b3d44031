/* SPDX-License-Identifier: Apache-2.0 */
#include "host/service/tracing.h"

#include "host/service/service.h"
#include "host/trace/exporter.h"
#include "host/trace/tracer.h"

/* Asked for each document anew: a reload may change them. */
static void write_about(void *owner, struct text *text) {
    const struct service *service = owner;
    const struct script *script = service_script(service);
    const char *name = exporter_settings(service_options(service)->exporter)->service;
    span_attribute(text, "service.name", name != NULL ? name : service_name(service));
    if (script != NULL)
        span_attribute(text, "service.version", script_about(script)->version);
    span_attribute(text, "service.instance.id", service_instance(service));
}

int tracing_open(struct tracer **out, struct service *service) {
    struct tracer *tracer =
        tracer_open(service_options(service)->exporter, write_about, service);
    if (tracer == NULL)
        return LN_ENOMEM;
    intake_set_tracer(service_intake(service), tracer);
    *out = tracer;
    return LN_OK;
}
