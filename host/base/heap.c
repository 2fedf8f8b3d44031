/* SPDX-License-Identifier: Apache-2.0 */
#include "host/base/heap.h"

#include <malloc.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/base/pooled.h"

#define MB ((ptrdiff_t)1024 * 1024)
/* It is large when it has grown by this. */
#define LARGE (32 * MB)
/* It grows by so much at a time then: a huge page has to be there as a whole when it is
 * touched. That takes addresses, not memory. */
#define PAD (32 * MB)
/* Where the own rule of malloc() would end, which saying PAD switches off. */
#define MAPPED (32 * MB)
#define TRIMMED (2 * MAPPED)

#if defined(__GLIBC__) && LN_POOLED
#define KNOWN 1
#else
#define KNOWN 0
#endif

static struct heap process;

bool heap_grown(struct heap *heap, char *end) {
    char *before = heap->end;
    bool was_large = heap->large;
    if (heap->begin == NULL)
        heap->begin = end;
    heap->end = end;
    heap->large = was_large || end - heap->begin >= LARGE;
    if (was_large && end > before)
        madvise(before, (size_t)(end - before), MADV_HUGEPAGE);
    return heap->large && !was_large;
}

void heap_look(void) {
    char *end = KNOWN ? sbrk(0) : NULL;
    if (!KNOWN || end == process.end || !heap_grown(&process, end))
        return;
    mallopt(M_MMAP_THRESHOLD, MAPPED);
    mallopt(M_TRIM_THRESHOLD, TRIMMED);
    mallopt(M_TOP_PAD, PAD);
}

void heap_trim(void) {
    malloc_trim(0);
    if (!KNOWN || !process.large)
        return;
    process.end = sbrk(0);
    if (process.end > process.begin)
        madvise(process.begin, (size_t)(process.end - process.begin), MADV_NOHUGEPAGE);
}
