/* SPDX-License-Identifier: Apache-2.0 */
#include "host/script/slabs.h"

#include <stdint.h>
#include <sys/mman.h>

#define GRAINS (SLABS_SIZE / SLABS_GRAIN)
#define WORD_BITS 64
#define WORDS (GRAINS / WORD_BITS)
/* From so many bytes on slabs are parts of a huge page. */
#define LARGE ((size_t)32 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

/* Its address is a multiple of its size, so that blocks find it. */
struct slab {
    struct list_node node;
    size_t marked; /* bytes */
    uint64_t marks[WORDS];
    _Alignas(SLABS_GRAIN) char bytes[];
};

#define USABLE (SLABS_SIZE - sizeof(struct slab))

/* ---- the system ---- */

static void *map(void *where, size_t size) {
    void *at = mmap(where, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at != MAP_FAILED ? at : NULL;
}

static size_t surplus(const void *at) {
    return (uintptr_t)at % SLABS_SIZE;
}

/* At a multiple of its size. */
static void *map_aligned(size_t size) {
    char *at = map(NULL, 2 * size);
    if (at == NULL)
        return NULL;
    size_t before = (size - (uintptr_t)at % size) % size;
    if (before > 0)
        munmap(at, before);
    munmap(at + before + size, size - before);
    return at + before;
}

/* Below the one before, where the system would put it, too, if nothing else came between. */
static void *map_slab(struct slabs *slabs) {
    char *at = map(slabs->next, SLABS_SIZE);
    if (at != NULL && surplus(at) != 0) {
        munmap(at, SLABS_SIZE);
        at = map_aligned(SLABS_SIZE);
    }
    slabs->next = at != NULL ? at - SLABS_SIZE : NULL;
    return at;
}

/* What is read at random out of many slabs waits for the tables of pages more than for memory.
 */
static bool reserve(struct slabs *slabs) {
    char *at = map_aligned(HUGE_PAGE);
    if (at == NULL)
        return false;
    madvise(at, HUGE_PAGE, MADV_HUGEPAGE); /* if the system has one */
    slabs->reserve = (struct slabs_piece){at, at + HUGE_PAGE};
    return true;
}

static void *take_slab(struct slabs *slabs) {
    bool reserved = slabs->reserve.at < slabs->reserve.end;
    if (!reserved && (slabs->bytes < LARGE || !reserve(slabs)))
        return map_slab(slabs);
    slabs->reserve.at += SLABS_SIZE;
    return slabs->reserve.at - SLABS_SIZE;
}

bool slabs_add(struct slabs *slabs, struct slabs_piece *out) {
    struct slab *slab = take_slab(slabs);
    if (slab == NULL)
        return false;
    slabs->bytes += SLABS_SIZE;
    list_push_back(&slabs->whole, &slab->node);
    *out = (struct slabs_piece){slab->bytes, slab->bytes + USABLE};
    return true;
}

/* The system may have too many pieces of memory to part one of them: then it stays, and is cut
 * again. */
static void give_back(struct slabs *slabs, struct slab *slab) {
    list_remove(&slab->node);
    if (munmap(slab, SLABS_SIZE) != 0) {
        list_push_back(&slabs->parted, &slab->node);
        return;
    }
    slabs->bytes -= SLABS_SIZE;
    slabs->marked -= USABLE;
}

/* ---- marks ---- */

void slabs_mark(struct slabs *slabs, void *block, size_t size) {
    size_t grain = surplus(block) / SLABS_GRAIN, count = size / SLABS_GRAIN;
    struct slab *slab = (struct slab *)(void *)((char *)block - surplus(block));
    uint64_t mask = UINT64_MAX >> (WORD_BITS - count);
    uint64_t *word = &slab->marks[grain / WORD_BITS];
    size_t bit = grain % WORD_BITS;
    word[0] |= mask << bit;
    if (bit + count > WORD_BITS)
        word[1] |= mask >> (WORD_BITS - bit);
    if (slab->marked == 0)
        list_push_back(&slabs->parted, &slab->node);
    slab->marked += size;
    slabs->marked += size;
    if (slab->marked == USABLE)
        give_back(slabs, slab);
}

static bool take_mark(struct slab *slab, size_t grain) {
    uint64_t bit = (uint64_t)1 << grain % WORD_BITS;
    uint64_t *word = &slab->marks[grain / WORD_BITS];
    bool marked = grain < GRAINS && (*word & bit) != 0;
    if (marked)
        *word &= ~bit;
    return marked;
}

static size_t first_mark(const struct slab *slab) {
    size_t word = 0;
    while (slab->marks[word] == 0)
        word++;
    return word * WORD_BITS + (size_t)__builtin_ctzll(slab->marks[word]);
}

bool slabs_cut(struct slabs *slabs, struct slabs_piece *out) {
    struct slab *slab = list_item(list_first(&slabs->parted), struct slab, node);
    if (slab == NULL)
        return false;
    size_t first = first_mark(slab), end = first;
    while (take_mark(slab, end))
        end++;
    char *base = (char *)slab;
    *out = (struct slabs_piece){base + first * SLABS_GRAIN, base + end * SLABS_GRAIN};
    slab->marked -= (size_t)(out->end - out->at);
    slabs->marked -= (size_t)(out->end - out->at);
    if (slab->marked == 0)
        list_push_back(&slabs->whole, &slab->node);
    return true;
}

void slabs_close(struct slabs *slabs) {
    list_move(&slabs->whole, &slabs->parted);
    for (struct list_node *node; (node = list_pop_front(&slabs->whole)) != NULL;)
        munmap(list_item(node, struct slab, node), SLABS_SIZE);
    if (slabs->reserve.at < slabs->reserve.end)
        munmap(slabs->reserve.at, (size_t)(slabs->reserve.end - slabs->reserve.at));
    *slabs = (struct slabs){0};
}
