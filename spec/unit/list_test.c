/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/list.h"
#include "spec/unit/test.h"

struct job {
    struct list_node node;
    int number;
    struct list_node other;
};

static struct list jobs, waiting;
static struct job job[5];

static void reset(void) {
    memset(&jobs, 0, sizeof(jobs));
    memset(&waiting, 0, sizeof(waiting));
    memset(job, 0, sizeof(job));
    for (int i = 0; i < 5; i++)
        job[i].number = i;
}

/* The numbers of a list as text, read forwards; "?" when the way back differs. */
static const char *numbers(const struct list *list) {
    static char text[64];
    char *end = text;
    const struct list_node *prev = &list->ends;
    list_each (struct job, at, list, node) {
        if (at->node.prev != prev)
            return "?";
        prev = &at->node;
        *end++ = (char)('0' + at->number);
    }
    if (!list_empty(list) && list->ends.prev != prev)
        return "?";
    *end = '\0';
    return text;
}

static void grows_at_both_ends(void) {
    reset();
    CHECK_STR(numbers(&jobs), "");
    CHECK(list_first(&jobs) == NULL);
    list_push_front(&jobs, &job[1].node);
    list_push_back(&jobs, &job[2].node);
    list_push_front(&jobs, &job[0].node);
    list_push_back(&jobs, &job[3].node);
    CHECK_STR(numbers(&jobs), "0123");
    CHECK(list_first(&jobs) == &job[0].node);
    CHECK(list_next(&jobs, &job[0].node) == &job[1].node);
    CHECK(list_next(&jobs, &job[3].node) == NULL);
}

static void an_element_knows_whether_it_is_in_a_list(void) {
    reset();
    CHECK(!list_linked(&job[0].node));
    list_push_back(&jobs, &job[0].node);
    CHECK(list_linked(&job[0].node) && !list_empty(&jobs));
    list_remove(&job[0].node);
    CHECK(!list_linked(&job[0].node) && list_empty(&jobs));
    list_remove(&job[0].node);
    CHECK_STR(numbers(&jobs), "");
    list_push_back(&jobs, &job[1].node);
    CHECK_STR(numbers(&jobs), "1");
}

static void removes_at_the_ends_and_in_between(void) {
    reset();
    for (int i = 0; i < 5; i++)
        list_push_back(&jobs, &job[i].node);
    list_remove(&job[2].node);
    CHECK_STR(numbers(&jobs), "0134");
    list_remove(&job[0].node);
    CHECK_STR(numbers(&jobs), "134");
    list_remove(&job[4].node);
    CHECK_STR(numbers(&jobs), "13");
}

static void a_push_takes_the_element_out_of_its_list(void) {
    reset();
    for (int i = 0; i < 3; i++)
        list_push_back(&jobs, &job[i].node);
    list_push_front(&jobs, &job[2].node);
    CHECK_STR(numbers(&jobs), "201");
    list_push_front(&jobs, &job[2].node);
    CHECK_STR(numbers(&jobs), "201");
    list_push_back(&jobs, &job[2].node);
    CHECK_STR(numbers(&jobs), "012");
    list_push_back(&jobs, &job[2].node);
    CHECK_STR(numbers(&jobs), "012");
    list_push_back(&waiting, &job[1].node);
    CHECK_STR(numbers(&jobs), "02");
    CHECK_STR(numbers(&waiting), "1");
}

static void a_walk_survives_the_removal_of_the_current_element(void) {
    reset();
    for (int i = 0; i < 5; i++)
        list_push_back(&jobs, &job[i].node);
    int seen = 0;
    list_each (struct job, at, &jobs, node) {
        seen++;
        if (at->number % 2 == 0) {
            list_remove(&at->node);
            memset(at, 0xff, sizeof(*at));
        }
    }
    CHECK_INT(seen, 5);
    CHECK_STR(numbers(&jobs), "13");
}

static void pops_in_order(void) {
    reset();
    for (int i = 0; i < 3; i++)
        list_push_back(&jobs, &job[i].node);
    for (int i = 0; i < 3; i++) {
        struct job *at = list_item(list_pop_front(&jobs), struct job, node);
        CHECK(at == &job[i] && !list_linked(&at->node));
    }
    CHECK(list_item(list_pop_front(&jobs), struct job, node) == NULL);
}

static void moves_as_a_whole(void) {
    reset();
    list_move(&waiting, &jobs);
    CHECK(list_empty(&waiting));
    for (int i = 0; i < 3; i++)
        list_push_back(&jobs, &job[i].node);
    list_move(&waiting, &jobs);
    CHECK(list_empty(&jobs));
    CHECK_STR(numbers(&waiting), "012");
    list_push_back(&jobs, &job[3].node);
    list_push_back(&jobs, &job[4].node);
    list_move(&waiting, &jobs);
    CHECK_STR(numbers(&jobs), "");
    CHECK_STR(numbers(&waiting), "01234");
    list_remove(&job[4].node);
    CHECK_STR(numbers(&waiting), "0123");
}

/* The walk of the header: each call removes another element and adds one. */
static void a_walk_may_change_everything(void) {
    reset();
    for (int i = 0; i < 4; i++)
        list_push_back(&jobs, &job[i].node);
    char seen[8] = "";
    list_move(&waiting, &jobs);
    for (struct list_node *node; (node = list_pop_front(&waiting)) != NULL;) {
        list_push_back(&jobs, node);
        struct job *at = list_item(node, struct job, node);
        seen[strlen(seen)] = (char)('0' + at->number);
        if (at->number == 1) {
            list_remove(&job[0].node);
            list_remove(&job[2].node);
            list_remove(&job[1].node);
            list_push_back(&jobs, &job[4].node);
        }
    }
    CHECK_STR(seen, "013");
    CHECK_STR(numbers(&jobs), "43");
}

static void an_element_is_in_several_lists_by_several_nodes(void) {
    reset();
    list_push_back(&jobs, &job[0].node);
    list_push_back(&jobs, &job[1].node);
    list_push_back(&waiting, &job[1].other);
    list_remove(&job[1].node);
    CHECK_STR(numbers(&jobs), "0");
    list_each (struct job, at, &waiting, other)
        CHECK_INT(at->number, 1);
    CHECK(list_linked(&job[1].other));
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(grows_at_both_ends);
    RUN(an_element_knows_whether_it_is_in_a_list);
    RUN(removes_at_the_ends_and_in_between);
    RUN(a_push_takes_the_element_out_of_its_list);
    RUN(a_walk_survives_the_removal_of_the_current_element);
    RUN(pops_in_order);
    RUN(moves_as_a_whole);
    RUN(a_walk_may_change_everything);
    RUN(an_element_is_in_several_lists_by_several_nodes);
    return test_end();
}
