/* What is computed token by token. */

#include "numbers.h"

#include <omp.h>

/* ---- Sums over tokens ------------------------------------------------------------------------ */

INLINE int64_t blocks_of(int64_t tokens) { return (tokens + SUMMED - 1) / SUMMED; }

VERSIONS static void add_up(const float *sums, int64_t blocks, int64_t width, float *total) {
    memset(total, 0, sizeof(float) * width);
    for (int64_t block = 0; block < blocks; ++block)
        for (int32_t c = 0; c < width; ++c) total[c] += sums[block * width + c];
}

VERSIONS static void sum_block(const float *x, int64_t tokens, int64_t width, int64_t block, float *sums) {
    int64_t last = least(tokens, (block + 1) * SUMMED);
    float *sum = sums + block * width;
    memset(sum, 0, sizeof(float) * width);
    for (int64_t t = block * SUMMED; t < last; ++t)
        for (int32_t c = 0; c < width; ++c) sum[c] += x[t * width + c];
}

/* total[c] = sum over t of x[t, c]. Returns whether there was memory. */
EXPORTED int sum_tokens(const float *x, int64_t tokens, int64_t width, float *total) {
    int64_t blocks = blocks_of(tokens);
    float *sums = malloc(sizeof(float) * blocks * width + 1);
    if (!sums) return 0;
#pragma omp parallel for schedule(static) if (tokens * width > PARALLEL)
    for (int64_t block = 0; block < blocks; ++block) sum_block(x, tokens, width, block, sums);
    add_up(sums, blocks, width, total);
    free(sums);
    return 1;
}

/* ---- Casting --------------------------------------------------------------------------------- */

/* float32 to bfloat16, its upper half: to the nearest, of two the even one. A number that is none
 * stays none. */
VERSIONS static void cast_range(const float *x, int64_t count, uint16_t *result) {
    for (int64_t i = 0; i < count; ++i) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        result[i] = (bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : nearest;
    }
}

EXPORTED int cast(const float *x, int64_t count, uint16_t *result) {
#pragma omp parallel for schedule(static) if (count > PARALLEL)
    for (int64_t first = 0; first < count; first += PARALLEL)
        cast_range(x + first, least(PARALLEL, count - first), result + first);
    return 1;
}

/* ---- Bias and activation --------------------------------------------------------------------- */

#define ACTIVATE(function)                                                     \
    _Pragma("omp simd") for (int32_t c = 0; c < width; ++c) {               \
        float slope, y = function(x[c] + a->bias[c], &slope);                  \
        x[c] = y;                                                              \
        slopes[c] = slope;                                                     \
    }

VERSIONS void activate_tokens(const Activation *a, int64_t first, int64_t last, float *unwanted) {
    const Dropout dropout = a->dropout;
    int64_t width = a->width;
    for (int64_t t = first; t < last; ++t) {
        float *restrict x = a->x + t * width;
        float *restrict slopes = a->slopes ? a->slopes + t * width : unwanted;
        if (a->kind == GELU) {
            ACTIVATE(gelu)
        } else if (a->kind == TANH_GELU) {
            ACTIVATE(tanh_gelu)
        } else {
            ACTIVATE(relu)
        }
        if (!dropout.below) continue;
        RowKey key = row_key(&dropout, t);
#pragma omp simd
        for (int32_t c = 0; c < width; ++c) {
            float factor = kept(&dropout, key, c);
            x[c] *= factor;
            slopes[c] *= factor;
        }
    }
}

EXPORTED int activate(const Activation *a) {
    int failed = 0;
    int64_t blocks = blocks_of(a->tokens);
#pragma omp parallel if (a->tokens * a->width > PARALLEL)
    {
        float *unwanted = malloc(sizeof(float) * a->width);
        if (!unwanted) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; ++block)
            if (unwanted)
                activate_tokens(a, block * SUMMED, least(a->tokens, (block + 1) * SUMMED), unwanted);
        free(unwanted);
    }
    return !failed;
}

VERSIONS static void slope_block(
    float *gradient, const float *slopes, int64_t tokens, int64_t width, int64_t block, float *sums
) {
    int64_t last = least(tokens, (block + 1) * SUMMED);
    float *restrict sum = sums + block * width;
    memset(sum, 0, sizeof(float) * width);
    for (int64_t t = block * SUMMED; t < last; ++t) {
        float *restrict g = gradient + t * width;
        const float *restrict s = slopes + t * width;
        for (int32_t c = 0; c < width; ++c) sum[c] += g[c] *= s[c];
    }
}

/* The gradient of what came out, [T, F], becomes that of what came in; its sum is that of the
 * bias. */
EXPORTED int activate_backward(
    float *gradient, const float *slopes, int64_t tokens, int64_t width, float *of_bias
) {
    int64_t blocks = blocks_of(tokens);
    float *sums = malloc(sizeof(float) * blocks * width + 1);
    if (!sums) return 0;
#pragma omp parallel for schedule(static) if (tokens * width > PARALLEL)
    for (int64_t block = 0; block < blocks; ++block)
        slope_block(gradient, slopes, tokens, width, block, sums);
    add_up(sums, blocks, width, of_bias);
    free(sums);
    return 1;
}

/* ---- Products of what has a bias ------------------------------------------------------------- */

/* y = (x + x_bias) (other + other_bias), number by number. */
typedef struct {
    const float *x, *other;           /* [T, H] */
    const float *x_bias, *other_bias; /* [H] */
    float *result;                    /* [T, H] */
    int64_t tokens, width;
    /* Backward only: */
    float *of_x;                      /* [T, H]: the gradient of y; becomes that of x */
    float *of_other;                  /* [T, H]: added to */
    float *of_bias;                   /* [H]: of x */
} Joint;

VERSIONS static void join_block(const Joint *a, int64_t block) {
    int64_t width = a->width, last = least(a->tokens, (block + 1) * SUMMED);
    for (int64_t t = block * SUMMED; t < last; ++t) {
        const float *restrict x = a->x + t * width, *restrict other = a->other + t * width;
        float *restrict result = a->result + t * width;
#pragma omp simd
        for (int32_t c = 0; c < width; ++c)
            result[c] = (x[c] + a->x_bias[c]) * (other[c] + a->other_bias[c]);
    }
}

EXPORTED int join(const Joint *a) {
    int64_t blocks = blocks_of(a->tokens);
#pragma omp parallel for schedule(static) if (a->tokens * a->width > PARALLEL)
    for (int64_t block = 0; block < blocks; ++block) join_block(a, block);
    return 1;
}

VERSIONS static void join_backward_block(const Joint *a, int64_t block, float *sums) {
    int64_t width = a->width, last = least(a->tokens, (block + 1) * SUMMED);
    float *restrict sum = sums + block * width;
    memset(sum, 0, sizeof(float) * width);
    for (int64_t t = block * SUMMED; t < last; ++t) {
        const float *restrict x = a->x + t * width, *restrict other = a->other + t * width;
        float *restrict of_x = a->of_x + t * width, *restrict of_other = a->of_other + t * width;
#pragma omp simd
        for (int32_t c = 0; c < width; ++c) {
            of_other[c] += of_x[c] * (x[c] + a->x_bias[c]);
            of_x[c] *= other[c] + a->other_bias[c];
            sum[c] += of_x[c];
        }
    }
}

EXPORTED int join_backward(const Joint *a) {
    int64_t blocks = blocks_of(a->tokens);
    float *sums = malloc(sizeof(float) * blocks * a->width + 1);
    if (!sums) return 0;
#pragma omp parallel for schedule(static) if (a->tokens * a->width > PARALLEL)
    for (int64_t block = 0; block < blocks; ++block) join_backward_block(a, block, sums);
    add_up(sums, blocks, a->width, a->of_bias);
    free(sums);
    return 1;
}

/* ---- Bias, dropout, residual, LayerNorm ------------------------------------------------------ */

VERSIONS void norm_tokens(const Norm *a, int64_t first, int64_t last) {
    const Dropout dropout = a->dropout;
    int64_t width = a->width;
    for (int64_t t = first; t < last; ++t) {
        float *x = a->x + t * width, *result = a->result + t * width;
        const float *residual = a->residual + t * width;
        float sum = 0, squares = 0;
        if (dropout.below) {
            RowKey key = row_key(&dropout, t);
#pragma omp simd
            for (int32_t c = 0; c < width; ++c)
                x[c] = residual[c] + (x[c] + a->bias[c]) * kept(&dropout, key, c);
        } else {
#pragma omp simd
            for (int32_t c = 0; c < width; ++c) x[c] = residual[c] + (x[c] + a->bias[c]);
        }
        /* In a loop of its own: GCC 12 uses no vectors for one that drops and sums. */
#pragma omp simd reduction(+ : sum)
        for (int32_t c = 0; c < width; ++c) sum += x[c];
        float mean = sum / width;
#pragma omp simd reduction(+ : squares)
        for (int32_t c = 0; c < width; ++c) squares += (x[c] - mean) * (x[c] - mean);
        float scale = 1.0f / sqrtf(squares / width + a->epsilon);
#pragma omp simd
        for (int32_t c = 0; c < width; ++c) {
            float n = (x[c] - mean) * scale;
            x[c] = n;
            result[c] = n * a->weight[c] + a->shift[c];
        }
        if (a->scales) a->scales[t] = scale;
    }
}

EXPORTED int norm(const Norm *a) {
    int64_t blocks = blocks_of(a->tokens);
#pragma omp parallel for schedule(static) if (a->tokens * a->width > PARALLEL)
    for (int64_t block = 0; block < blocks; ++block)
        norm_tokens(a, block * SUMMED, least(a->tokens, (block + 1) * SUMMED));
    return 1;
}

/* With g the gradient of y times the weight, that of z is, means over the units,
 * (g - mean(g) - n mean(g n)) / deviation; it is that of the residual, and with what was dropped
 * set to 0 that of x. */
typedef struct {
    const float *gradient;   /* [T, H]: of y */
    const float *normal;     /* [T, H]: n */
    const float *scales;     /* [T] */
    const float *weight;     /* [H] */
    float *of_residual;      /* [T, H] */
    float *of_x;             /* [T, H]; the same as `of_residual` where nothing is dropped */
    float *of_weight, *of_shift, *of_bias; /* [H]: sums over tokens */
    int64_t tokens, width;
    Dropout dropout;
} NormBackward;

VERSIONS static void norm_backward_block(const NormBackward *a, int64_t block, float *sums) {
    const Dropout dropout = a->dropout;
    int64_t width = a->width, last = least(a->tokens, (block + 1) * SUMMED);
    float *restrict of_weight = sums + block * 3 * width;
    float *restrict of_shift = of_weight + width, *restrict of_bias = of_shift + width;
    memset(of_weight, 0, sizeof(float) * 3 * width);
    for (int64_t t = block * SUMMED; t < last; ++t) {
        const float *restrict gradient = a->gradient + t * width;
        const float *restrict normal = a->normal + t * width;
        float *of_residual = a->of_residual + t * width, *of_x = a->of_x + t * width;
        float mean = 0, inner = 0, scale = a->scales[t];
#pragma omp simd reduction(+ : mean, inner)
        for (int32_t c = 0; c < width; ++c) {
            float g = gradient[c] * a->weight[c];
            mean += g;
            inner += g * normal[c];
            of_weight[c] += gradient[c] * normal[c];
            of_shift[c] += gradient[c];
        }
        mean /= width;
        inner /= width;
#pragma omp simd
        for (int32_t c = 0; c < width; ++c)
            of_residual[c] = (gradient[c] * a->weight[c] - mean - normal[c] * inner) * scale;
        if (dropout.below) {
            RowKey key = row_key(&dropout, t);
#pragma omp simd
            for (int32_t c = 0; c < width; ++c)
                of_x[c] = of_residual[c] * kept(&dropout, key, c);
        }
#pragma omp simd
        for (int32_t c = 0; c < width; ++c) of_bias[c] += of_x[c];
    }
}

EXPORTED int norm_backward(const NormBackward *a) {
    int64_t blocks = blocks_of(a->tokens), width = a->width;
    float *sums = malloc(sizeof(float) * (blocks + 1) * 3 * width);
    if (!sums) return 0;
#pragma omp parallel for schedule(static) if (a->tokens * width > PARALLEL)
    for (int64_t block = 0; block < blocks; ++block) norm_backward_block(a, block, sums);
    float *total = sums + blocks * 3 * width;
    add_up(sums, blocks, 3 * width, total);
    memcpy(a->of_weight, total, sizeof(float) * width);
    memcpy(a->of_shift, total + width, sizeof(float) * width);
    memcpy(a->of_bias, total + 2 * width, sizeof(float) * width);
    free(sums);
    return 1;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

/* The gradient of a table whose rows were looked up: zeros, and of each row the sum of its tokens'
 * gradients, in their order. Each thread has rows of its own. */
EXPORTED int scatter(
    const float *gradient, const int64_t *ids, int64_t tokens, int64_t width, float *of_table, int64_t rows
) {
#pragma omp parallel if (rows * width > PARALLEL)
    {
        int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
        int64_t first = rows * thread / threads, last = rows * (thread + 1) / threads;
        memset(of_table + first * width, 0, sizeof(float) * (last - first) * width);
        for (int64_t t = 0; t < tokens; ++t) {
            if (ids[t] < first || ids[t] >= last) continue;
            float *sum = of_table + ids[t] * width;
            for (int64_t c = 0; c < width; ++c) sum[c] += gradient[t * width + c];
        }
    }
    return 1;
}
