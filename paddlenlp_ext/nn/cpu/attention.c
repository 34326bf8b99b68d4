#include "numbers.h"

/* ---- Attention ------------------------------------------------------------------------------- */

/* Copies one head of tokens, with its bias, to rows of whole vectors; tokens in order from `first`
 * if `tokens` is null. */
INLINE void gather(
    const float *x, const float *bias, const int32_t *tokens, int64_t first, int64_t count,
    const Attention *a, int64_t head, float scale, float *rows
) {
    int64_t width = a->width, padded = whole(width), stride = a->heads * width;
    for (int64_t i = 0; i < count; ++i) {
        const float *from = x + (tokens ? tokens[i] : first + i) * stride + head * width;
        float *to = rows + i * padded;
        for (int64_t d = 0; d < width; ++d)
            to[d] = bias ? (from[d] + bias[head * width + d]) * scale : from[d] * scale;
        for (int64_t d = width; d < padded; ++d) to[d] = 0;
    }
}

/* [count, width] -> [width, count], the rows filled up with zeros. */
INLINE void transpose(const float *rows, int64_t count, int64_t width, float *columns) {
    int64_t padded = whole(count), stride = whole(width);
    for (int64_t d = 0; d < width; ++d) {
        float *to = columns + d * padded;
        for (int64_t i = 0; i < count; ++i) to[i] = rows[i * stride + d];
        for (int64_t i = count; i < padded; ++i) to[i] = 0;
    }
}

/* One text and one head, in memory of the thread's own. */
VERSIONS void attend_head(const Attention *a, int64_t text, int64_t head, float *room) {
    int64_t width = a->width, padded = whole(width), stride = a->heads * width;
    int64_t first = a->query_starts[text], last = a->query_starts[text + 1];
    const int32_t *tokens = a->keys + a->key_starts[text];
    int32_t count = a->key_starts[text + 1] - a->key_starts[text];
    int64_t columns = whole(count);
    float *value = room, *turned = value + columns * padded;
    float *query = turned + columns * padded, *means = query + QUERIES * padded;
    float *scores = means + QUERIES * padded;
    const Dropout dropout = a->dropout;
    gather(a->key, a->key_bias, tokens, 0, count, a, head, 1, value);
    transpose(value, count, width, turned);
    gather(a->value, a->value_bias, tokens, 0, count, a, head, 1, value);
    for (int64_t start = first; start < last; start += QUERIES) {
        int64_t queries = least(QUERIES, last - start);
        gather(a->query, a->query_bias, NULL, start, queries, a, head, 1 / sqrtf(width), query);
        product(queries, columns, width, query, padded, 1, turned, columns, scores, columns, 0);
        for (int64_t i = 0; i < queries; ++i) {
            int64_t place = (start + i) * a->heads + head;
            float *score = scores + i * columns, most = score[0], sum = 0;
#pragma omp simd reduction(max : most)
            for (int32_t j = 0; j < count; ++j) most = score[j] > most ? score[j] : most;
#pragma omp simd reduction(+ : sum)
            for (int32_t j = 0; j < count; ++j) {
                score[j] = exponential(score[j] - most);
                sum += score[j];
            }
            float scale = 1 / sum;
            if (dropout.below) {
                RowKey key = row_key(&dropout, place);
#pragma omp simd
                for (int32_t j = 0; j < count; ++j)
                    score[j] *= scale * kept(&dropout, key, j);
            } else {
#pragma omp simd
                for (int32_t j = 0; j < count; ++j) score[j] *= scale;
            }
            if (a->peaks) a->peaks[place] = most;
        }
        product(queries, padded, count, scores, columns, 1, value, padded, means, padded, 0);
        for (int64_t i = 0; i < queries; ++i)
            memcpy(a->means + (start + i) * stride + head * width, means + i * padded,
                   sizeof(float) * width);
    }
}

/* With p the weights, m what dropout multiplies them with, and g the gradient of the means: that of
 * the values is (p m)' g; that of the weights w = (g v') m; that of the scores s = p (w - sum(p w));
 * and those of queries and keys s k and s' q. The weights are computed again. */
VERSIONS static void attend_head_backward(const Attention *a, int64_t text, int64_t head, float *room) {
    int64_t width = a->width, padded = whole(width), stride = a->heads * width;
    int64_t first = a->query_starts[text], last = a->query_starts[text + 1];
    const int32_t *tokens = a->keys + a->key_starts[text];
    int32_t count = a->key_starts[text + 1] - a->key_starts[text];
    int64_t columns = whole(count);
    int64_t size = columns * padded, block = QUERIES * padded;
    float *key = room, *turned_key = key + size, *turned_value = turned_key + size;
    float *of_key = turned_value + size, *of_value = of_key + size;
    float *query = of_value + size, *gradient = query + block, *of_query = gradient + block;
    float *weights = of_query + block, *scores = weights + QUERIES * columns;
    float root = 1 / sqrtf(width);
    const Dropout dropout = a->dropout;
    gather(a->value, a->value_bias, tokens, 0, count, a, head, 1, key);
    transpose(key, count, width, turned_value);
    gather(a->key, a->key_bias, tokens, 0, count, a, head, 1, key);
    transpose(key, count, width, turned_key);
    memset(of_key, 0, sizeof(float) * 2 * size);
    for (int64_t start = first; start < last; start += QUERIES) {
        int64_t queries = least(QUERIES, last - start);
        gather(a->query, a->query_bias, NULL, start, queries, a, head, root, query);
        gather(a->gradient, NULL, NULL, start, queries, a, head, 1, gradient);
        product(queries, columns, width, query, padded, 1, turned_key, columns, weights, columns, 0);
        product(queries, columns, width, gradient, padded, 1, turned_value, columns, scores, columns,
                0);
        for (int64_t i = 0; i < queries; ++i) {
            int64_t place = (start + i) * a->heads + head;
            float *p = weights + i * columns, *w = scores + i * columns;
            float total = 0, inner = 0, most = a->peaks[place];
            RowKey row = row_key(&dropout, place);
            int drops = dropout.below != 0;
#pragma omp simd reduction(+ : total, inner)
            for (int32_t j = 0; j < count; ++j) {
                if (drops) w[j] *= kept(&dropout, row, j);
                p[j] = exponential(p[j] - most);
                total += p[j];
                inner += p[j] * w[j];
            }
            float mean = inner / total, scale = 1 / total, rest = 0;
#pragma omp simd reduction(+ : rest)
            for (int32_t j = 0; j < count; ++j) {
                w[j] -= mean;
                rest += p[j] * w[j];
            }
            rest *= scale; /* what rounding left of the mean, which may be far greater than w - mean */
#pragma omp simd
            for (int32_t j = 0; j < count; ++j) {
                float weight = p[j] * scale;
                w[j] = weight * (w[j] - rest);
                p[j] = drops ? weight * kept(&dropout, row, j) : weight;
            }
        }
        product(queries, padded, count, scores, columns, 1, key, padded, of_query, padded, 0);
        product(count, padded, queries, scores, 1, columns, query, padded, of_key, padded, 1);
        product(count, padded, queries, weights, 1, columns, gradient, padded, of_value, padded, 1);
        for (int64_t i = 0; i < queries; ++i)
            for (int64_t d = 0; d < width; ++d)
                a->of_query[(start + i) * stride + head * width + d] = of_query[i * padded + d] * root;
    }
    for (int32_t j = 0; j < count; ++j) {
        int64_t place = tokens[j] * stride + head * width;
        memcpy(a->of_key + place, of_key + j * padded, sizeof(float) * width);
        memcpy(a->of_value + place, of_value + j * padded, sizeof(float) * width);
    }
}

/* As the backward pass divides it; the other needs less. */
int64_t head_room(const Attention *a) {
    int64_t padded = whole(a->width), columns = whole(a->most_keys);
    return columns * padded * 5 + QUERIES * (3 * padded + 2 * columns);
}

static int each_head(const Attention *a, int backward) {
    int failed = 0;
    int64_t size = head_room(a);
#pragma omp parallel if (a->tokens * a->heads * a->width > PARALLEL)
    {
        float *room = malloc(sizeof(float) * size);
        if (!room) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < a->texts * a->heads; ++i) {
            if (!room) continue;
            if (backward) attend_head_backward(a, i / a->heads, i % a->heads, room);
            else attend_head(a, i / a->heads, i % a->heads, room);
        }
        free(room);
    }
    return !failed;
}

EXPORTED int attend(const Attention *a) { return each_head(a, 0); }

/* Padding gets a gradient of 0. */
EXPORTED int attend_backward(const Attention *a) {
    size_t size = sizeof(float) * a->tokens * a->heads * a->width;
    memset(a->of_key, 0, size);
    memset(a->of_value, 0, size);
    return each_head(a, 1);
}
