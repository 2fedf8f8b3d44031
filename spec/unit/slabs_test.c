/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is cut into blocks, and becomes pieces or whole slabs again. */
#include "host/script/slabs.h"

#include <stdint.h>
#include <string.h>

#include "spec/unit/huge.h"
#include "spec/unit/test.h"

#define LARGEST ((size_t)64 * SLABS_GRAIN)

static size_t size_of(struct slabs_piece piece) {
    return (size_t)(piece.end - piece.at);
}

/* Marks it in blocks of that size, the last one may be smaller. */
static void mark(struct slabs *slabs, struct slabs_piece piece, size_t size) {
    for (char *at = piece.at; at < piece.end; at += size) {
        size_t left = (size_t)(piece.end - at);
        slabs_mark(slabs, at, left < size ? left : size);
    }
}

static void a_slab_that_is_free_goes_back(void) {
    struct slabs slabs = {0};
    for (size_t size = SLABS_GRAIN; size <= LARGEST; size += SLABS_GRAIN) {
        struct slabs_piece first, second;
        CHECK(slabs_add(&slabs, &first) && slabs_add(&slabs, &second));
        CHECK_INT(slabs.bytes, 2 * SLABS_SIZE);
        CHECK_INT((uintptr_t)first.at % SLABS_GRAIN, 0);
        memset(first.at, 1, size_of(first));
        mark(&slabs, first, size);
        CHECK_INT(slabs.bytes, SLABS_SIZE);
        mark(&slabs, second, size);
        CHECK_INT(slabs.bytes, 0);
        CHECK_INT(slabs.marked, 0);
    }
    slabs_close(&slabs);
}

static void neighbours_become_one_piece(void) {
    struct slabs slabs = {0};
    struct slabs_piece all, piece;
    CHECK(slabs_add(&slabs, &all));
    slabs_mark(&slabs, all.at + 2048, 1024);
    slabs_mark(&slabs, all.at + 1024, 48);
    slabs_mark(&slabs, all.at + 3072, 16);
    slabs_mark(&slabs, all.at + 1072, 976);
    CHECK_INT(slabs.marked, 2064);
    CHECK(slabs_cut(&slabs, &piece));
    CHECK(piece.at == all.at + 1024 && piece.end == all.at + 3088);
    CHECK_INT(slabs.marked, 0);
    CHECK(!slabs_cut(&slabs, &piece));
    slabs_close(&slabs);
}

static void what_is_in_use_is_in_no_piece(void) {
    struct slabs slabs = {0};
    struct slabs_piece all, piece;
    size_t found = 0;
    CHECK(slabs_add(&slabs, &all));
    for (char *at = all.at; at < all.end; at += 64) {
        memset(at, 7, 32);
        if (at + 32 < all.end)
            slabs_mark(&slabs, at + 32, (size_t)(all.end - at) < 64 ? 16 : 32);
    }
    while (slabs_cut(&slabs, &piece)) {
        found++;
        memset(piece.at, 0, size_of(piece));
    }
    CHECK_INT(found, size_of(all) / 64);
    for (char *at = all.at; at + 32 <= all.end; at += 64)
        CHECK(at[0] == 7 && at[31] == 7);
    slabs_close(&slabs);
}

/* The last grain of a slab has no neighbour. */
static void a_slab_ends_where_it_ends(void) {
    struct slabs slabs = {0};
    struct slabs_piece all, piece;
    CHECK(slabs_add(&slabs, &all));
    slabs_mark(&slabs, all.end - LARGEST, LARGEST);
    CHECK(slabs_cut(&slabs, &piece));
    CHECK(piece.at == all.end - LARGEST && piece.end == all.end);
    slabs_close(&slabs);
    CHECK_INT(slabs.bytes, 0);
}

/* A heap of 32 MB and more; its slabs go back one by one. */
static void many_slabs_share_huge_pages(void) {
    static struct slabs_piece pieces[700];
    const size_t count = sizeof(pieces) / sizeof(pieces[0]);
    struct slabs slabs = {0};
    for (size_t i = 0; i < count; i++)
        CHECK(slabs_add(&slabs, &pieces[i]));
    CHECK_INT(slabs.bytes, count * SLABS_SIZE);
    if (has_huge_pages()) {
        CHECK(!is_huge(pieces[0].at));
        CHECK(is_huge(pieces[count - 1].at));
    }
    for (size_t i = 0; i < count; i += 2)
        mark(&slabs, pieces[i], LARGEST);
    CHECK_INT(slabs.bytes, count / 2 * SLABS_SIZE);
    for (size_t i = 1; i < count; i += 2)
        memset(pieces[i].at, 1, size_of(pieces[i]));
    slabs_close(&slabs);
    CHECK_INT(slabs.bytes, 0);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(a_slab_that_is_free_goes_back);
    RUN(neighbours_become_one_piece);
    RUN(what_is_in_use_is_in_no_piece);
    RUN(a_slab_ends_where_it_ends);
    RUN(many_slabs_share_huge_pages);
    return test_end();
}
