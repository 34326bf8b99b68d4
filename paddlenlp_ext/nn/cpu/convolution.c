/* ConvBERT's convolutions over the positions of a text, each unit or each head alone. */

#include "numbers.h"

/* What is computed at some tokens sees the K tokens around each, of the same text; beyond its ends
 * are zeros, as for tokens that are not real. Texts have the same length and number of queries. */
typedef struct {
    const int32_t *places;          /* [Tq]: token of each query; null: each token is one */
    const uint8_t *real;            /* [T]: 0 where a token is taken for zeros; null: nowhere */
    int64_t texts, length, queries; /* B, L = T / B, Tq / B */
    int64_t taps;                   /* K, odd */
} Window;

typedef struct { int64_t token, begin, end; } Reach;

/* Tap j of a query is of token `token` + j, for j from `begin` to `end`. */
INLINE Reach reach(const Window *w, int64_t text, int64_t query) {
    int64_t token = (w->places ? w->places[query] : query) - w->taps / 2;
    int64_t before = text * w->length - token, behind = before + w->length;
    return (Reach){token, before > 0 ? before : 0, least(w->taps, behind)};
}

INLINE int is_real(const Window *w, int64_t token) { return !w->real || w->real[token]; }

/* ---- Each unit alone, with the same taps everywhere ------------------------------------------ */

#define COLUMNS 64 /* units that one thread computes together */

/* y[i, c] = sum over j of taps[c, j] x[place(i) + j - K / 2, c]. */
typedef struct {
    const float *x;        /* [T, H] */
    const float *taps;     /* [H, K] */
    float *result;         /* [Tq, H] */
    int64_t width;         /* H */
    Window window;
    /* Backward only: */
    const float *gradient; /* [Tq, H]: of y */
    float *of_x;           /* [T, H]: added to */
    float *of_taps;        /* [H, K] */
} Depthwise;

/* Taps lie as [K, H] here, so that those of neighbouring units do. */
INLINE void units(const Depthwise *a, const float *taps, int64_t text, int64_t first, int32_t count) {
    const Window *w = &a->window;
    for (int64_t i = text * w->queries; i < (text + 1) * w->queries; ++i) {
        Reach r = reach(w, text, i);
        float sum[COLUMNS] = {0};
        for (int64_t j = r.begin; j < r.end; ++j) {
            if (!is_real(w, r.token + j)) continue;
            const float *restrict tap = taps + j * a->width + first;
            const float *restrict x = a->x + (r.token + j) * a->width + first;
            for (int32_t c = 0; c < count; ++c) sum[c] += tap[c] * x[c];
        }
        memcpy(a->result + i * a->width + first, sum, sizeof(float) * count);
    }
}

/* What a query took of a token, its gradient gives to that token's, and to that of the tap. */
INLINE void units_backward(
    const Depthwise *a, const float *taps, float *of_taps, int64_t text, int64_t first, int32_t count
) {
    const Window *w = &a->window;
    for (int64_t i = text * w->queries; i < (text + 1) * w->queries; ++i) {
        Reach r = reach(w, text, i);
        const float *restrict gradient = a->gradient + i * a->width + first;
        for (int64_t j = r.begin; j < r.end; ++j) {
            if (!is_real(w, r.token + j)) continue;
            const float *restrict tap = taps + j * a->width + first;
            const float *restrict x = a->x + (r.token + j) * a->width + first;
            float *restrict of_x = a->of_x + (r.token + j) * a->width + first;
            float *restrict of_tap = of_taps + j * a->width + first;
            for (int32_t c = 0; c < count; ++c) {
                of_x[c] += tap[c] * gradient[c];
                of_tap[c] += x[c] * gradient[c];
            }
        }
    }
}

/* One text and some units; `of_taps`, [K, H], is of the text, and null in the forward pass. */
VERSIONS static void some_units(
    const Depthwise *a, const float *taps, float *of_taps, int64_t text, int64_t first
) {
    int64_t count = least(COLUMNS, a->width - first);
    if (of_taps) {
        for (int64_t j = 0; j < a->window.taps; ++j)
            memset(of_taps + j * a->width + first, 0, sizeof(float) * count);
        if (count == COLUMNS) units_backward(a, taps, of_taps, text, first, COLUMNS);
        else units_backward(a, taps, of_taps, text, first, count);
    } else {
        if (count == COLUMNS) units(a, taps, text, first, COLUMNS);
        else units(a, taps, text, first, count);
    }
}

static int each_unit(const Depthwise *a, int backward) {
    int64_t taps = a->window.taps, size = taps * a->width, texts = a->window.texts;
    int64_t parts = (a->width + COLUMNS - 1) / COLUMNS;
    float *turned = malloc(sizeof(float) * size * (backward ? texts + 1 : 1));
    if (!turned) return 0;
    for (int64_t c = 0; c < a->width; ++c)
        for (int64_t j = 0; j < taps; ++j) turned[j * a->width + c] = a->taps[c * taps + j];
    float *sums = turned + size;
#pragma omp parallel for schedule(static) if (texts * a->window.length * a->width > PARALLEL)
    for (int64_t i = 0; i < texts * parts; ++i) {
        int64_t text = i / parts;
        some_units(a, turned, backward ? sums + text * size : NULL, text, i % parts * COLUMNS);
    }
    if (backward)
        for (int64_t c = 0; c < a->width; ++c)
            for (int64_t j = 0; j < taps; ++j) {
                float sum = 0;
                for (int64_t text = 0; text < texts; ++text)
                    sum += sums[text * size + j * a->width + c];
                a->of_taps[c * taps + j] = sum;
            }
    free(turned);
    return 1;
}

EXPORTED int depthwise(const Depthwise *a) { return each_unit(a, 0); }

EXPORTED int depthwise_backward(const Depthwise *a) { return each_unit(a, 1); }

/* ---- Each head alone, with taps of each query's own ------------------------------------------ */

/* y[i, a] = sum over j of p[i, a, j] v[place(i) + j - K / 2, a], with p = softmax over j of the
 * scores and v the values, both with their biases. */
typedef struct {
    float *scores;            /* [Tq, A K]: without bias; become p */
    const float *scores_bias; /* [A K] */
    const float *values;      /* [T, A D]: without bias */
    const float *values_bias; /* [A D] */
    float *result;            /* [Tq, A D] */
    int64_t heads, width;     /* A, D */
    Window window;
    /* Backward only, where `scores` are p: */
    const float *gradient;    /* [Tq, A D]: of y */
    float *of_scores;         /* [Tq, A K] */
    float *of_values;         /* [T, A D] */
} Convolution;

VERSIONS static void convolve_head(const Convolution *a, int64_t text, int64_t head) {
    const Window *w = &a->window;
    int64_t row = a->heads * a->width;
    int32_t width = a->width, taps = w->taps;
    const float *restrict bias = a->values_bias + head * width;
    for (int64_t i = text * w->queries; i < (text + 1) * w->queries; ++i) {
        Reach r = reach(w, text, i);
        float *restrict p = a->scores + (i * a->heads + head) * taps;
        float *restrict y = a->result + i * row + head * width;
        for (int32_t j = 0; j < taps; ++j) p[j] += a->scores_bias[head * taps + j];
        float most = p[0], sum = 0;
        for (int32_t j = 0; j < taps; ++j) most = p[j] > most ? p[j] : most;
#pragma omp simd reduction(+ : sum)
        for (int32_t j = 0; j < taps; ++j) {
            p[j] = exponential(p[j] - most);
            sum += p[j];
        }
        float scale = 1 / sum;
        for (int32_t j = 0; j < taps; ++j) p[j] *= scale;
        memset(y, 0, sizeof(float) * width);
        for (int64_t j = r.begin; j < r.end; ++j) {
            if (!is_real(w, r.token + j)) continue;
            const float *restrict v = a->values + (r.token + j) * row + head * width;
            float weight = p[j];
#pragma omp simd
            for (int32_t d = 0; d < width; ++d) y[d] += weight * (v[d] + bias[d]);
        }
    }
}

/* With g the gradient of y, that of p is u = g v', that of the scores p (u - sum(p u)), and that of
 * the values p' g. */
VERSIONS static void convolve_head_backward(const Convolution *a, int64_t text, int64_t head) {
    const Window *w = &a->window;
    int64_t row = a->heads * a->width;
    int32_t width = a->width, taps = w->taps;
    const float *restrict bias = a->values_bias + head * width;
    for (int64_t t = text * w->length; t < (text + 1) * w->length; ++t)
        memset(a->of_values + t * row + head * width, 0, sizeof(float) * width);
    for (int64_t i = text * w->queries; i < (text + 1) * w->queries; ++i) {
        Reach r = reach(w, text, i);
        const float *restrict p = a->scores + (i * a->heads + head) * taps;
        const float *restrict g = a->gradient + i * row + head * width;
        float *restrict u = a->of_scores + (i * a->heads + head) * taps;
        float mean = 0;
        memset(u, 0, sizeof(float) * taps);
        for (int64_t j = r.begin; j < r.end; ++j) {
            if (!is_real(w, r.token + j)) continue;
            const float *restrict v = a->values + (r.token + j) * row + head * width;
            float *restrict of_v = a->of_values + (r.token + j) * row + head * width;
            float weight = p[j], product = 0;
#pragma omp simd reduction(+ : product)
            for (int32_t d = 0; d < width; ++d) {
                product += g[d] * (v[d] + bias[d]);
                of_v[d] += weight * g[d];
            }
            u[j] = product;
        }
        for (int32_t j = 0; j < taps; ++j) mean += p[j] * u[j];
        for (int32_t j = 0; j < taps; ++j) u[j] = p[j] * (u[j] - mean);
    }
}

static int each_convolved(const Convolution *a, int backward) {
    int64_t count = a->window.texts * a->heads;
#pragma omp parallel for schedule(static) if (count * a->window.length * a->width > PARALLEL)
    for (int64_t i = 0; i < count; ++i) {
        if (backward) convolve_head_backward(a, i / a->heads, i % a->heads);
        else convolve_head(a, i / a->heads, i % a->heads);
    }
    return 1;
}

EXPORTED int convolve(const Convolution *a) { return each_convolved(a, 0); }

EXPORTED int convolve_backward(const Convolution *a) { return each_convolved(a, 1); }
