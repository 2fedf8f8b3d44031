/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doubly linked lists whose links live in the elements, so that nothing is allocated and an
 * element leaves its list without knowing it.
 *
 *     struct job {
 *         int number;
 *         struct list_node node;
 *     };
 *     struct list jobs = {0};
 *     list_push_back(&jobs, &job->node);
 *     list_each (struct job, job, &jobs, node)
 *         if (job->number == 7)
 *             list_remove(&job->node);
 *
 * The current element of a list_each() may be removed and freed, no other one. A walk whose
 * calls may remove any element, or add some, takes the elements off one by one and puts each
 * back before its call; what is added meanwhile is not visited:
 *
 *     struct list walk = {0};
 *     list_move(&walk, &jobs);
 *     for (struct list_node *node; (node = list_pop_front(&walk)) != NULL;) {
 *         list_push_back(&jobs, node);
 *         run(list_item(node, struct job, node));
 *     }
 *
 * A list that is all zero is empty, an element that is all zero is in no list. A list that is
 * not empty stays where it is in memory, as its elements point at it.
 */
#ifndef LUNATS_BASE_LIST_H
#define LUNATS_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "host/base/container_of.h"

struct list_node {
    struct list_node *next, *prev; /* both NULL: in no list */
};

struct list {
    struct list_node ends; /* next: the first element, prev: the last one; a circle */
};

static inline bool list_empty(const struct list *list) {
    return list->ends.next == NULL || list->ends.next == &list->ends;
}

/* Tells whether the element is in a list. */
static inline bool list_linked(const struct list_node *node) {
    return node->next != NULL;
}

/* Does nothing to an element that is in no list. */
static inline void list_remove(struct list_node *node) {
    if (node->next == NULL)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

/* Takes an element out of the list it is in, if any, and puts it behind `prev`, a linked one.
 */
static inline void list_insert_after(struct list_node *prev, struct list_node *node) {
    if (prev == node)
        return;
    list_remove(node);
    node->prev = prev;
    node->next = prev->next;
    prev->next->prev = node;
    prev->next = node;
}

/* Makes a circle of a list that is all zero. */
static inline struct list_node *list_ends(struct list *list) {
    if (list->ends.next == NULL)
        list->ends.next = list->ends.prev = &list->ends;
    return &list->ends;
}

/* Both take the element out of the list it is in, if any. */
static inline void list_push_front(struct list *list, struct list_node *node) {
    list_insert_after(list_ends(list), node);
}
static inline void list_push_back(struct list *list, struct list_node *node) {
    list_remove(node);
    list_insert_after(list_ends(list)->prev, node);
}

/* The first element, or NULL. */
static inline struct list_node *list_first(const struct list *list) {
    return list_empty(list) ? NULL : list->ends.next;
}

/* The element behind this one, or NULL. */
static inline struct list_node *list_next(const struct list *list,
                                          const struct list_node *node) {
    return node->next == &list->ends ? NULL : node->next;
}

/* Takes the first element off and returns it; NULL when there is none. */
static inline struct list_node *list_pop_front(struct list *list) {
    struct list_node *node = list_first(list);
    if (node != NULL)
        list_remove(node);
    return node;
}

/* Puts all elements of `from` behind those of `to`; `from` is empty then. */
static inline void list_move(struct list *to, struct list *from) {
    if (list_empty(from))
        return;
    struct list_node *ends = list_ends(to);
    from->ends.next->prev = ends->prev;
    ends->prev->next = from->ends.next;
    from->ends.prev->next = ends;
    ends->prev = from->ends.prev;
    from->ends.next = from->ends.prev = NULL;
}

/* The struct of an element; NULL of NULL. */
#define list_item(node, type, member) ((type *)list_outer_((node), offsetof(type, member)))

/* Declares `type *item` and lets it be each element in turn.
 * NOLINTBEGIN(bugprone-macro-parentheses): a type and a name cannot have any. */
#define list_each(type, item, list, member)                                                    \
    for (type *item = list_item(list_first(list), type, member),                               \
              *item##_next = list_after_((list), item, offsetof(type, member));                \
         item != NULL;                                                                         \
         item = item##_next, item##_next = list_after_((list), item, offsetof(type, member)))
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void *list_outer_(struct list_node *node, size_t offset) {
    return node == NULL ? NULL : (char *)node - offset;
}

static inline void *list_after_(const struct list *list, void *item, size_t offset) {
    if (item == NULL)
        return NULL;
    struct list_node *node = (struct list_node *)(void *)((char *)item + offset);
    return list_outer_(list_next(list, node), offset);
}

#endif
