/* All layers of an encoder for few tokens, such as one sentence: one call, one parallel region.
 *
 * At this size a product takes some microseconds, so that what surrounds it decides: calls from
 * Python, and threads that are woken and meet. Of a sentence or two, each thread has some heads and
 * some columns of every product; what all of a row is needed for, LayerNorm, each computes for itself.
 * They meet four times a layer, and wait by looking, which is over sooner than a thread is woken. Of
 * more, each has texts of its own and waits for nobody. The numbers are the same. */

#include "numbers.h"

#include <omp.h>
#include <sched.h>

#define LEAST 64          /* tokens that are worth a thread of their own, which reads all weights */
#define GROUP 256         /* tokens that a thread has in hand at once, at most about */
#define UNEQUAL 1.2       /* how many times as many tokens as on average a group may have */
#define PATIENCE 4000     /* looks at a counter before the processor is left to others */

typedef struct {
    const float *query, *query_bias, *key, *key_bias, *value, *value_bias; /* [H, H], [H] */
    const float *out, *out_bias, *norm1, *shift1;                          /* [H, H], [H] */
    const float *linear1, *linear1_bias, *linear2, *linear2_bias;          /* [H, F], [F, H] */
    const float *norm2, *shift2;                                           /* [H] */
} Layer;

typedef struct {
    const Layer *layers;
    const float *states;   /* [T, H]: tokens of all texts, one behind another */
    float *result;         /* [R, H]: the last hidden states that are read */
    const int32_t *keys;   /* [T]: 0, 1, 2 ... */
    const int32_t *starts; /* [B + 1]: where texts begin among the tokens */
    const int32_t *read;   /* [R]: tokens that are read, text after text; null is all */
    const int32_t *read_starts; /* [B + 1]: where texts begin among those */
    int64_t count, texts, tokens, reads, heads, width, inner, most_keys; /* layers, B, T, R, A, D, F */
    int32_t kind;          /* of the activation */
    float epsilon;
} Few;

/* Where all threads wait for one another: each counts itself, and goes on when all have. */
static void meet(int *arrived, int *expected, int threads) {
    *expected += threads;
    __atomic_add_fetch(arrived, 1, __ATOMIC_ACQ_REL);
    for (int looks = 0; __atomic_load_n(arrived, __ATOMIC_ACQUIRE) < *expected; ++looks) {
        if (looks > PATIENCE) sched_yield();
#if defined(__x86_64__)
        else __builtin_ia32_pause();
#endif
    }
}

/* The vectors of a row that a thread has: from `first` on, `count` numbers. */
INLINE void part(int64_t width, int thread, int threads, int64_t *first, int64_t *count) {
    int64_t vectors = width / LANES;
    *first = vectors * thread / threads * LANES;
    *count = vectors * (thread + 1) / threads * LANES - *first;
}

/* Numbers of the tokens that a layer takes or gives; of those that are read, some may be twice. */
INLINE int64_t size_of(const Few *a) {
    return (a->reads > a->tokens ? a->reads : a->tokens) * a->heads * a->width;
}

/* What one thread computes. `shared` is all threads' memory, [T or R, 5 H + F], `own` its own. */
static void compute(const Few *a, int thread, int threads, int *arrived, float *shared, float *own) {
    const Dropout none = {0, 0, 1};
    int64_t width = a->heads * a->width, tokens = a->tokens, size = size_of(a);
    int64_t head = a->heads * thread / threads, after = a->heads * (thread + 1) / threads;
    int64_t from = head * a->width, columns = (after - head) * a->width, first, count;
    float *query = shared, *key = query + size, *value = key + size, *means = value + size;
    float *output = means + size, *inner = output + size;
    float *states = own, *asking = states + size, *half = asking + size, *unwanted = half + size;
    float *room = unwanted + a->inner;
    int expected = 0;
    memcpy(states, a->states, sizeof(float) * tokens * width);
    part(width, thread, threads, &first, &count);
    for (int64_t number = 0; number < a->count; ++number) {
        const Layer *layer = a->layers + number;
        int takes = a->read && number == a->count - 1;
        int64_t rows = takes ? a->reads : tokens;
        const float *residual = states;
        if (takes) {
            for (int64_t i = 0; i < rows; ++i)
                memcpy(asking + i * width, states + a->read[i] * width, sizeof(float) * width);
            residual = asking;
        }
        multiply(rows, columns, width, residual, width, layer->query + from, width, query + from, width, 0);
        multiply(tokens, columns, width, states, width, layer->key + from, width, key + from, width, 0);
        multiply(tokens, columns, width, states, width, layer->value + from, width, value + from, width, 0);
        const Attention attention = {
            query, key, value, layer->query_bias, layer->key_bias, layer->value_bias, means, NULL,
            takes ? a->read_starts : a->starts, a->starts, a->keys, a->texts, tokens, a->heads,
            a->width, a->most_keys, none, NULL, NULL, NULL, NULL,
        };
        for (int64_t text = 0; text < a->texts; ++text)
            for (int64_t one = head; one < after; ++one) attend_head(&attention, text, one, room);
        meet(arrived, &expected, threads);
        multiply(rows, count, width, means, width, layer->out + first, width, output + first, width, 0);
        meet(arrived, &expected, threads);
        /* `norm_tokens` writes where it reads. */
        memcpy(half, output, sizeof(float) * rows * width);
        const Norm norm1 = {
            half, layer->out_bias, residual, layer->norm1, layer->shift1, half, NULL, rows, width,
            a->epsilon, none,
        };
        norm_tokens(&norm1, 0, rows);
        int64_t start, wide;
        part(a->inner, thread, threads, &start, &wide);
        float *block = inner + start * rows; /* [rows, wide] */
        multiply(rows, wide, width, half, width, layer->linear1 + start, a->inner, block, wide, 0);
        const Activation activation = {
            block, layer->linear1_bias + start, NULL, rows, wide, a->kind, none,
        };
        activate_tokens(&activation, 0, rows, unwanted);
        meet(arrived, &expected, threads);
        for (int other = 0, adds = 0; other < threads; ++other) {
            part(a->inner, other, threads, &start, &wide);
            if (!wide) continue;
            multiply(rows, count, wide, inner + start * rows, wide, layer->linear2 + start * width + first,
                     width, output + first, width, adds);
            adds = 1;
        }
        meet(arrived, &expected, threads);
        memcpy(states, output, sizeof(float) * rows * width);
        const Norm norm2 = {
            states, layer->linear2_bias, half, layer->norm2, layer->shift2, states, NULL, rows, width,
            a->epsilon, none,
        };
        norm_tokens(&norm2, 0, rows);
    }
    int64_t reads = a->read ? a->reads : tokens;
    if (thread == 0) memcpy(a->result, states, sizeof(float) * reads * width);
}

/* Numbers of `shared` and of `own` for so many tokens, some of which are read. */
INLINE int64_t shared_size(const Few *a) {
    return size_of(a) / (a->heads * a->width) * (5 * a->heads * a->width + a->inner);
}

INLINE int64_t own_size(const Few *a) {
    const Attention of_text = {.width = a->width, .most_keys = a->most_keys};
    return 3 * size_of(a) + a->inner + head_room(&of_text);
}

/* All threads compute the same texts. */
static int encode_together(const Few *a) {
    int most = (int)least(omp_get_max_threads(), a->heads), arrived = 0;
    int64_t shared = shared_size(a), own = own_size(a);
    float *memory = malloc(sizeof(float) * (shared + most * own));
    if (!memory) return 0;
#pragma omp parallel num_threads(most)
    {
        int thread = omp_get_thread_num();
        float *own_memory = memory + shared + thread * own;
        compute(a, thread, omp_get_num_threads(), &arrived, memory, own_memory);
    }
    free(memory);
    return 1;
}

/* The first text that begins at a token or after it. */
static int64_t text_at(const Few *a, int64_t token) {
    int64_t text = 0;
    while (text < a->texts && a->starts[text] < token) ++text;
    return text;
}

/* One thread computes some texts, as if there were no others. */
static int encode_alone(const Few *all, int64_t first, int64_t last) {
    Few a = *all;
    int64_t width = a.heads * a.width, start = all->starts[first];
    a.texts = last - first;
    a.tokens = all->starts[last] - start;
    a.states += start * width;
    int64_t read = all->read ? all->read_starts[first] : start;
    a.reads = all->read ? all->read_starts[last] - read : 0;
    a.result += read * width;
    int64_t shared = shared_size(&a);
    float *memory = malloc(sizeof(float) * (shared + own_size(&a)));
    int32_t *places = malloc(sizeof(int32_t) * (2 * (a.texts + 1) + a.reads));
    int done = memory && places;
    if (done) {
        int32_t *starts = places, *read_starts = starts + a.texts + 1, *reads = read_starts + a.texts + 1;
        for (int64_t text = 0; text <= a.texts; ++text) {
            starts[text] = all->starts[first + text] - start;
            if (all->read) read_starts[text] = all->read_starts[first + text] - read;
        }
        for (int64_t i = 0; i < a.reads; ++i) reads[i] = all->read[read + i] - start;
        a.starts = starts;
        if (all->read) a.read_starts = read_starts, a.read = reads;
        int arrived = 0;
        compute(&a, 0, 1, &arrived, memory, memory + shared);
    }
    free(memory);
    free(places);
    return done;
}

/* The texts of a group: `first` to `last`, which begin in its share of the tokens. */
INLINE void group_of(const Few *a, int64_t group, int64_t groups, int64_t *first, int64_t *last) {
    *first = text_at(a, a->tokens * group / groups);
    *last = text_at(a, a->tokens * (group + 1) / groups);
}

/* Whether each thread has enough texts of its own, and none much more than others. */
static int can_part(const Few *a, int64_t groups, int64_t threads) {
    int64_t most = 0, first, last;
    for (int64_t group = 0; group < groups; ++group) {
        group_of(a, group, groups, &first, &last);
        int64_t tokens = a->starts[last] - a->starts[first];
        most = tokens > most ? tokens : most;
    }
    return a->tokens >= threads * LEAST && most * groups <= a->tokens * UNEQUAL;
}

EXPORTED int encode(const Few *a) {
    int64_t threads = omp_get_max_threads(), at_once = threads * GROUP;
    int64_t groups = (a->tokens + at_once - 1) / at_once * threads;
    if (!can_part(a, groups, threads)) return encode_together(a);
    int done = 1;
#pragma omp parallel for schedule(dynamic) reduction(& : done)
    for (int64_t group = 0; group < groups; ++group) {
        int64_t first, last;
        group_of(a, group, groups, &first, &last);
        if (first < last) done &= encode_alone(a, first, last);
    }
    return done;
}
