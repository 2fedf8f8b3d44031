/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "host/cache/cache.h"
#include "host/cache/internal.h"
#include "spec/unit/test.h"

/* A process with one service that has opened one cache, and a clock that stands still. */
static struct world {
    uv_loop_t loop;
    struct caches *caches;
    struct clock *clock;
    struct cache_user user;
    uint64_t now;
} at;

static const char service[] = "a service", other[] = "another one";

static void open_world(uint64_t max_bytes) {
    at = (struct world){0};
    uv_loop_init(&at.loop);
    caches_open(&at.caches, &at.loop);
    clock_open(&at.clock, &at.loop, true);
    at.user = (struct cache_user){.clock = at.clock, .max_bytes = max_bytes};
    cache_open(at.caches, "test", service, &at.user);
    at.now = clock_now(at.clock);
}

static void close_world(void) {
    cache_close(&at.user);
    caches_leave(at.caches, service);
    caches_close(at.caches);
    clock_close(at.clock);
    uv_run(&at.loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&at.loop), 0);
}

static struct cache_key key_of(const char *text) {
    return (struct cache_key){text, strlen(text)};
}

static struct cache_value bytes_of(const char *text) {
    return (struct cache_value){.type = CACHE_BYTES, .bytes = text, .len = strlen(text)};
}

static int set(const char *key, const char *text, uint64_t ttl_ms) {
    struct cache_value value = bytes_of(text);
    return cache_set(at.user.cache, key_of(key), at.now, ttl_ms, &value);
}

static bool has(const char *key, const char *text) {
    struct cache_value value;
    return cache_get(at.user.cache, key_of(key), at.now, &value) && value.type == CACHE_BYTES &&
           value.len == strlen(text) && memcmp(value.bytes, text, value.len) == 0;
}

static bool is_there(const char *key) {
    struct cache_value value;
    return cache_get(at.user.cache, key_of(key), at.now, &value);
}

static struct cache_stats stats(void) {
    return cache_stats(at.user.cache);
}

/* ---- one after the other ---- */

static void keeps_what_it_is_given(void) {
    open_world(0);
    CHECK_INT(set("a", "one", 0), LN_OK);
    CHECK_INT(set("b", "", 0), LN_OK);
    CHECK_INT(set("", "no key", 0), LN_OK);
    CHECK(has("a", "one") && has("b", "") && has("", "no key") && !is_there("c"));
    CHECK_INT(set("a", "another, which is longer than the one before it was", 0), LN_OK);
    CHECK(has("a", "another, which is longer than the one before it was"));
    CHECK(cache_delete(at.user.cache, key_of("a"), at.now));
    CHECK(!cache_delete(at.user.cache, key_of("a"), at.now) && !is_there("a"));
    CHECK_INT(stats().entries, 2);
    CHECK_INT(stats().max_bytes, CACHE_DEFAULT_BYTES);
    close_world();
}

/* The first entries wait for the memory before they are linked. */
static void what_is_set_is_there_at_once(void) {
    open_world(0);
    struct cache_value value = bytes_of("x");
    bool added, old;
    set("a", "one", 0);
    set("b", "two", 0);
    set("a", "three", 0);
    CHECK(has("a", "three"));
    set("c", "x", 0);
    CHECK_INT(cache_add(at.user.cache, key_of("c"), at.now, 0, &value, &added), LN_OK);
    CHECK(!added);
    set("c", "x", 0);
    CHECK(cache_delete(at.user.cache, key_of("c"), at.now) && !is_there("c"));
    set("b", "two", 0);
    struct cache_key key;
    CHECK(cache_next(at.user.cache, NULL, at.now, &key, &old) != NULL);
    CHECK(key.len == 1 && key.bytes[0] == 'b');
    set("d", "x", 10);
    CHECK_INT(stats().entries, 3);
    set("e", "x", 10);
    CHECK_INT(cache_sweep(at.user.cache, at.now + 10, 512).removed, 2);
    set("at the end", "x", 0); /* which leaves nothing behind */
    close_world();
}

static void a_large_value_does_not_overtake(void) {
    char text[2001] = {0};
    open_world(0);
    memset(text, 'x', 2000);
    set("k", "small", 0);
    set("k", text, 0);
    CHECK(has("k", text));
    set("k", text, 0);
    set("k", "small", 0);
    CHECK(has("k", "small"));
    CHECK_INT(stats().entries, 1);
    close_world();
}

static void adds_once(void) {
    open_world(0);
    struct cache_value one = bytes_of("one"), two = bytes_of("two");
    bool added = false;
    CHECK_INT(cache_add(at.user.cache, key_of("k"), at.now, 50, &one, &added), LN_OK);
    CHECK(added);
    CHECK_INT(cache_add(at.user.cache, key_of("k"), at.now, 50, &two, &added), LN_OK);
    CHECK(!added && has("k", "one"));
    at.now += 50;
    CHECK_INT(cache_add(at.user.cache, key_of("k"), at.now, 50, &two, &added), LN_OK);
    CHECK(added && has("k", "two"));
    close_world();
}

static int incr(const char *key, struct cache_value *value) {
    const struct cache_value init = {.type = CACHE_INTEGER, .integer = 10};
    return cache_incr(at.user.cache, key_of(key), at.now, 50, &init, value);
}

static void counts(void) {
    open_world(0);
    struct cache_value value = {.type = CACHE_INTEGER, .integer = 5};
    CHECK_INT(incr("n", &value), LN_OK);
    CHECK_INT(value.integer, 15);
    at.now += 49;
    value.integer = -20;
    CHECK_INT(incr("n", &value), LN_OK);
    CHECK_INT(value.integer, -5);
    value = (struct cache_value){.type = CACHE_NUMBER, .number = 0.5};
    CHECK_INT(incr("n", &value), LN_OK);
    CHECK(value.type == CACHE_NUMBER && value.number == -4.5);
    at.now += 1; /* its age is that of the first one */
    value = (struct cache_value){.type = CACHE_INTEGER, .integer = 1};
    CHECK_INT(incr("n", &value), LN_OK);
    CHECK_INT(value.integer, 11);
    CHECK_INT(set("text", "12", 0), LN_OK);
    CHECK_INT(incr("text", &value), LN_EINVAL);
    value = (struct cache_value){.type = CACHE_INTEGER, .integer = INT64_MAX};
    CHECK_INT(incr("most", &value), LN_OK);
    CHECK(value.integer == INT64_MIN + 9); /* as in Lua */
    close_world();
}

static void entries_age(void) {
    open_world(0);
    set("short", "x", 100);
    set("long", "x", 200);
    set("for ever", "x", 0);
    at.now += 99;
    CHECK(is_there("short"));
    at.now += 1;
    CHECK(!is_there("short") && is_there("long"));
    CHECK_INT(stats().entries, 2);
    CHECK_INT(stats().expirations, 1);
    set("long", "x", 200); /* counts from now on */
    at.now += 199;
    CHECK(is_there("long"));
    set("long", "x", 0);
    at.now += 1000000;
    CHECK(is_there("long") && is_there("for ever"));
    close_world();
}

static void the_least_recently_used_goes(void) {
    char key[16];
    open_world(8000);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "%d", i);
        CHECK_INT(set(key, "0123456789", 0), LN_OK);
    }
    CHECK(is_there("0")); /* used */
    uint64_t entries = 50;
    for (; stats().evictions == 0; entries++) {
        snprintf(key, sizeof(key), "%d", (int)entries);
        CHECK_INT(set(key, "0123456789", 0), LN_OK);
    }
    CHECK(!is_there("1") && is_there("0") && is_there("2") && is_there(key));
    CHECK(stats().bytes <= 8000 && stats().bytes > 7900);
    close_world();
}

static void refuses_what_is_too_large(void) {
    char text[2001] = {0};
    open_world(8000);
    memset(text, 'x', 2000);
    CHECK_INT(set("k", "before", 0), LN_OK);
    CHECK_INT(set("k", text, 0), LN_ETOOLARGE);
    CHECK(has("k", "before"));
    text[900] = '\0';
    CHECK_INT(set("k", text, 0), LN_OK);
    close_world();
}

/* ---- who has it open ---- */

static void has_the_largest_size_that_anybody_wishes(void) {
    open_world(8000);
    struct cache_user more = {.clock = at.clock, .max_bytes = 20000};
    struct cache_user any = {.clock = at.clock};
    CHECK_INT(cache_open(at.caches, "test", other, &more), LN_OK);
    CHECK_INT(cache_open(at.caches, "test", other, &any), LN_OK);
    CHECK(more.cache == at.user.cache);
    CHECK_INT(stats().max_bytes, 20000);
    char key[16];
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "%d", i);
        set(key, "x", 0);
    }
    uint64_t bytes = stats().bytes;
    CHECK(bytes > 8000);
    cache_close(&more);
    CHECK_INT(stats().max_bytes, 8000);
    CHECK_INT(set("another", "x", 0), LN_OK); /* it does not grow; sweeps bring it down */
    CHECK(stats().bytes <= bytes);
    cache_trim(at.user.cache, 10);
    CHECK(stats().bytes < bytes && stats().bytes > 8000);
    cache_trim(at.user.cache, 1000);
    CHECK(stats().bytes <= 8000);
    cache_close(&any);
    caches_leave(at.caches, other);
    close_world();
}

static void lives_as_long_as_a_service_that_has_opened_it(void) {
    open_world(0);
    set("k", "kept", 0);
    cache_close(&at.user); /* of the version before */
    CHECK_INT(cache_open(at.caches, "test", service, &at.user), LN_OK);
    CHECK(has("k", "kept"));
    struct cache_user user = {.clock = at.clock};
    CHECK_INT(cache_open(at.caches, "test", other, &user), LN_OK);
    cache_close(&at.user);
    caches_leave(at.caches, service);
    CHECK(caches_next(at.caches, NULL) == user.cache);
    cache_close(&user);
    caches_leave(at.caches, other);
    CHECK(caches_next(at.caches, NULL) == NULL);
    CHECK_INT(cache_open(at.caches, "test", service, &at.user), LN_OK);
    CHECK(!is_there("k"));
    close_world();
}

static void there_is_a_bound_for_caches(void) {
    open_world(0);
    static struct cache_user users[CACHE_MOST];
    char name[32];
    int rc = LN_OK, i = 0;
    for (; rc == LN_OK && i < CACHE_MOST; i++) {
        snprintf(name, sizeof(name), "cache %d", i);
        users[i] = (struct cache_user){.clock = at.clock};
        rc = cache_open(at.caches, name, service, &users[i]);
    }
    CHECK_INT(rc, LN_EFULL);
    CHECK_INT(i, CACHE_MOST);
    for (i = 0; i < CACHE_MOST; i++)
        cache_close(&users[i]);
    close_world();
}

/* ---- many ---- */

static void on_tick(uv_timer_t *timer) {
    uint64_t *ticks = timer->data;
    if (--*ticks == 0 || stats().entries == 0)
        uv_close((uv_handle_t *)timer, NULL);
}

/* The timer of caches alone keeps no loop alive. */
static void run_until_empty(uint64_t ticks) {
    uv_timer_t timer = {.data = &ticks};
    uv_timer_init(&at.loop, &timer);
    uv_timer_start(&timer, on_tick, 1, 1);
    uv_run(&at.loop, UV_RUN_DEFAULT);
}

static void what_is_too_old_is_swept_away(void) {
    open_world(0);
    char key[16];
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        set(key, "x", 10);
    }
    struct sweep sweep = cache_sweep(at.user.cache, at.now, 1000);
    CHECK(sweep.seen > 500 && sweep.removed == 0);
    at.now += 10;
    sweep = cache_sweep(at.user.cache, at.now, 1000);
    CHECK(sweep.removed > 500 && sweep.removed == sweep.seen);
    clock_step(at.clock, at.now); /* the rest by the loop, which asks the clock of the user */
    run_until_empty(30000);
    CHECK_INT(stats().entries, 0);
    CHECK_INT(stats().bytes, 0);
    CHECK_INT(table_buckets(&at.user.cache->table), 512);
    close_world();
}

/* What the cache should have, without its bounds. */
#define MODEL_KEYS 3000

static struct {
    uint32_t number; /* of the value */
    uint32_t len;
    uint64_t expires_ms; /* 0: never */
    bool there;
} model[MODEL_KEYS];

static uint32_t random_number(void) {
    static uint64_t state = 42;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static void write_text(char *text, uint32_t number, size_t len) {
    for (size_t i = 0; i < len; i++)
        text[i] = (char)(number + i * 7);
}

static bool model_has(uint32_t i) {
    return model[i].there && (model[i].expires_ms == 0 || at.now < model[i].expires_ms);
}

/* One random call with a key, whose result has to be that of the model. */
static bool same_as_model(uint32_t i) {
    char text[300], expected[300];
    struct cache_key key = {(const char *)&i, sizeof(i)};
    struct cache_value value = {.type = CACHE_BYTES, .bytes = text};
    uint32_t number = random_number(), len = random_number() % 300;
    uint64_t ttl_ms = number % 3 == 0 ? number % 500 + 1 : 0;
    bool there = model_has(i), added = true;
    switch (random_number() % 8) {
    case 0:
        model[i].there = false;
        return cache_delete(at.user.cache, key, at.now) == there;
    case 1:
    case 2:
        write_text(text, number, value.len = len);
        if (cache_set(at.user.cache, key, at.now, ttl_ms, &value) != LN_OK)
            return false;
        break;
    case 3:
        write_text(text, number, value.len = len);
        if (cache_add(at.user.cache, key, at.now, ttl_ms, &value, &added) != LN_OK)
            return false;
        if (added != !there)
            return false;
        break;
    default:
        if (cache_get(at.user.cache, key, at.now, &value) != there)
            return false;
        write_text(expected, model[i].number, model[i].len);
        return !there ||
               (value.len == model[i].len && memcmp(value.bytes, expected, value.len) == 0);
    }
    if (added) {
        model[i].there = true;
        model[i].number = number;
        model[i].len = len;
        model[i].expires_ms = ttl_ms != 0 ? at.now + ttl_ms : 0;
    }
    return true;
}

/* The numbers and lists of a cache agree with what is in its buckets. */
static bool is_sound(struct cache *cache) {
    cache_stats(cache); /* nothing that was set waits any more */
    uint64_t entries = 0, bytes = 0, aged = 0, listed = 0;
    for (size_t i = 0; i < table_buckets(&cache->table); i++) {
        for (struct cache_entry *entry = table_bucket(&cache->table, i); entry != NULL;
             entry = entry->next) {
            struct cache_key key = {entry->bytes, entry->key_len};
            struct cache_value value = {.type = (enum cache_type)entry->type,
                                        .len = entry->value.len};
            if (*table_find(&cache->table, entry->hash, key.bytes, key.len) != entry)
                return false;
            entries++;
            bytes += cache_entry_cost(key, &value);
            aged += entry->expires_ms != 0;
        }
    }
    for (struct list_node *node = list_first(&cache->used); node != NULL;
         node = list_next(&cache->used, node))
        listed++;
    return entries == cache->table.count && bytes == cache->stats.bytes &&
           aged == cache->aged && listed == entries;
}

/* Keys come and go by the thousand, so that the table grows and shrinks all the time. */
static void agrees_with_a_model(void) {
    open_world(0);
    memset(model, 0, sizeof(model));
    uint32_t rounds = test_by_tsan ? 20 : 100;
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t keys = round % 4 == 3 ? 50 : MODEL_KEYS;
        for (int i = 0; i < 4000; i++) {
            uint32_t key = random_number() % keys;
            if (!same_as_model(key))
                test_fail(__FILE__, __LINE__, "round %u, key %u", round, key);
        }
        at.now += random_number() % 100;
        cache_sweep(at.user.cache, at.now, random_number() % 2000);
        for (uint32_t i = 0; round % 4 == 2 && i < MODEL_KEYS; i++) {
            struct cache_key key = {(const char *)&i, sizeof(i)};
            CHECK(cache_delete(at.user.cache, key, at.now) == model_has(i));
            model[i].there = false;
        }
        CHECK(is_sound(at.user.cache));
    }
    close_world();
}

/* The same with a bound: what is there is right, and it is what was used last. */
static void keeps_its_bound(void) {
    open_world(100000);
    char text[1000];
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t key = random_number() % 5000;
        struct cache_value value = {.type = CACHE_BYTES, .bytes = text};
        write_text(text, key, value.len = random_number() % sizeof(text));
        struct cache_key name = {(const char *)&key, sizeof(key)};
        CHECK_INT(cache_set(at.user.cache, name, at.now, 0, &value), LN_OK);
        CHECK(stats().bytes <= 100000);
        CHECK(cache_get(at.user.cache, name, at.now, &value));
        CHECK(value.len == 0 || value.bytes[0] == (char)key);
    }
    CHECK(is_sound(at.user.cache) && stats().evictions > 50000);
    CHECK(stats().bytes > 90000);
    close_world();
}

static int set_number(uint32_t key, size_t len) {
    char text[1000];
    struct cache_value value = {.type = CACHE_BYTES, .bytes = text, .len = len};
    write_text(text, key, len);
    return cache_set(at.user.cache, (struct cache_key){(const char *)&key, sizeof(key)}, at.now,
                     0, &value);
}

static bool has_number(uint32_t key, size_t len) {
    char text[1000];
    struct cache_value value;
    write_text(text, key, len);
    return cache_get(at.user.cache, (struct cache_key){(const char *)&key, sizeof(key)}, at.now,
                     &value) &&
           value.len == len && memcmp(value.bytes, text, len) == 0;
}

/* The table gets more and fewer buckets while entries wait to be linked. */
static void what_waits_follows_the_table(void) {
    open_world(200000);
    for (uint32_t round = 0; round < 3; round++) {
        uint32_t small = round * 10000, large = small + 5000;
        for (uint32_t i = 0; i < 4000; i++)
            CHECK_INT(set_number(small + i, 4), LN_OK);
        CHECK(table_buckets(&at.user.cache->table) > 2000);
        for (uint32_t i = 3990; i < 4000; i++)
            CHECK(has_number(small + i, 4));
        for (uint32_t i = 0; i < 300; i++)
            CHECK_INT(set_number(large + i, 850), LN_OK);
        CHECK(table_buckets(&at.user.cache->table) < 1000);
        for (uint32_t i = 200; i < 300; i++)
            CHECK(has_number(large + i, 850));
        CHECK(is_sound(at.user.cache));
    }
    close_world();
}

/* Memory of what is replaced is used again, and only for what has its size. */
static void replaces_with_any_size(void) {
    open_world(0);
    for (uint32_t i = 0; i < 2000; i++) {
        size_t len = random_number() % 3 == 0 ? random_number() % 1000 : 200 + i % 80;
        CHECK_INT(set_number(i % 7, len), LN_OK);
        if (random_number() % 5 == 0)
            CHECK(has_number(i % 7, len));
    }
    CHECK(is_sound(at.user.cache));
    CHECK_INT(stats().entries, 7);
    close_world();
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(keeps_what_it_is_given);
    RUN(what_is_set_is_there_at_once);
    RUN(a_large_value_does_not_overtake);
    RUN(adds_once);
    RUN(counts);
    RUN(entries_age);
    RUN(the_least_recently_used_goes);
    RUN(refuses_what_is_too_large);
    RUN(has_the_largest_size_that_anybody_wishes);
    RUN(lives_as_long_as_a_service_that_has_opened_it);
    RUN(there_is_a_bound_for_caches);
    RUN(what_is_too_old_is_swept_away);
    RUN(agrees_with_a_model);
    RUN(keeps_its_bound);
    RUN(what_waits_follows_the_table);
    RUN(replaces_with_any_size);
    return test_end();
}
