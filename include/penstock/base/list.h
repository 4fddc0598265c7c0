/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_LIST_H
#define PENSTOCK_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Intrusive doubly linked list. A link is in at most one list; a link that is in none points at
 * itself, so ps_list_remove is legal twice. The list never owns what is linked.
 */
struct ps_link {
    struct ps_link *next;
    struct ps_link *prev;
};

#define PS_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void ps_list_init(struct ps_link *link)
{
    link->next = link;
    link->prev = link;
}

static inline bool ps_list_empty(const struct ps_link *link)
{
    return link->next == link;
}

static inline void ps_list_push_back(struct ps_link *list, struct ps_link *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

static inline void ps_list_push_front(struct ps_link *list, struct ps_link *link)
{
    ps_list_push_back(list->next, link);
}

static inline void ps_list_remove(struct ps_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    ps_list_init(link);
}

/* First link, taken out; NULL when the list is empty. */
static inline struct ps_link *ps_list_pop(struct ps_link *list)
{
    struct ps_link *link = list->next;
    if (link == list) {
        return NULL;
    }
    ps_list_remove(link);
    return link;
}

/* Moves all of `from` to the (initialised, empty) list `to`. */
static inline void ps_list_move(struct ps_link *from, struct ps_link *to)
{
    if (ps_list_empty(from)) {
        return;
    }
    to->next = from->next;
    to->prev = from->prev;
    to->next->prev = to;
    to->prev->next = to;
    ps_list_init(from);
}

#endif
