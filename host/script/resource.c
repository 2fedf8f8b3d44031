/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/resource.h"

#include <stddef.h>

void resources_add(struct resources *resources, struct script_resource *resource) {
    resource->home = resources;
    list_push_front(&resources->list, &resource->node);
}

void resources_begin(const struct resources *resources) {
    list_each (struct script_resource, at, &resources->list, node)
        if (at->begin != NULL)
            at->begin(at);
}

void resources_drain(const struct resources *resources) {
    list_each (struct script_resource, at, &resources->list, node)
        if (at->drain != NULL)
            at->drain(at);
}

void resources_close(struct resources *resources) {
    for (struct list_node *node; (node = list_pop_front(&resources->list)) != NULL;) {
        struct script_resource *resource = list_item(node, struct script_resource, node);
        resource->home = NULL;
        resource->close(resource);
    }
}

bool resources_busy(const struct resources *resources) {
    list_each (struct script_resource, at, &resources->list, node)
        if (at->drain != NULL)
            return true;
    return false;
}

void resource_remove(struct script_resource *resource) {
    struct resources *home = resource->home;
    if (home == NULL)
        return;
    resource->home = NULL;
    list_remove(&resource->node);
    if (home->on_removed != NULL)
        home->on_removed(home);
}
