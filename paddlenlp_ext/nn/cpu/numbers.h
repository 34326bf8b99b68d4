/* What an encoder layer computes between its products of matrices, forward and backward.
 *
 * `encoder_layer.py` calls it, by `compiled.py`. All numbers are float32, all matrices lie row after
 * row, without gaps. Letters: T tokens of all texts, Tq those that a layer is computed for, H hidden
 * width, A heads, D width of a head (H = A D, or 2 A D beside a convolution), K taps of a
 * convolution, F width of the feed-forward layer.
 *
 * Results do not depend on the number of threads: a number is computed by one thread, and sums over
 * tokens are taken in blocks of SUMMED tokens, whose sums are then added in their order.
 */

#ifndef NUMBERS_H
#define NUMBERS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* One version of a function for each generation of processors, chosen when the library is loaded.
 * What `omp parallel` takes out of a function would have none, so parallel loops call such functions
 * with a range. */
#if defined(__x86_64__) && defined(__linux__)
#if !defined(__clang__) && __GNUC__ >= 12
#define VERSIONS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VERSIONS __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#else
#define VERSIONS
#endif
#define EXPORTED __attribute__((visibility("default")))
#define SHARED __attribute__((visibility("hidden"))) /* among the files here */
#define INLINE static inline __attribute__((always_inline))

#define SUMMED 32            /* tokens whose gradients are summed one by one */
#define QUERIES 64           /* queries of a text that are computed together */
#define LANES 16             /* numbers of the widest vector, of 64 bytes; rows are filled up to whole ones */
#define PARALLEL (1 << 15)   /* numbers from which on threads are worth waking */

INLINE int64_t whole(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- Functions ----------------------------------------------------------------------------- */

/* e^x for x <= 88, within 2 units of the last place; 0 below -87. With n the whole number nearest
 * to x / ln 2, e^x = 2^n e^r, where e^r is Taylor's series, r = x - n ln 2. */
INLINE float exponential(float x) {
    const float high = 0.693359375f, low = -2.12194440e-4f; /* ln 2 in two parts, the first exact */
    float shifted = x * 1.44269504f + 12582912.0f;          /* 1.5 * 2^23: rounds, n in the last bits */
    float n = shifted - 12582912.0f;
    float r = x - n * high - n * low;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    union { float value; int32_t bits; } power = {shifted};
    power.bits = (power.bits + 127) << 23; /* 2^n; the bits of 1.5 * 2^23 are shifted out */
    return x < -87.0f ? 0.0f : p * power.value;
}

/* GELU, x P(x) with P the normal distribution, and its slope, P(x) + x p(x) with p = P' (arXiv
 * 1606.08415). P(-|x|) = p(x) N(|x|) / D(|x|) sqrt(2 pi), N and D fitted by least squares until the
 * greatest relative error was least, 5e-9; in float32, P is right within 1.5e-7. */
INLINE float gelu(float x, float *slope) {
    float a = fabsf(x);
    float n = 0.0040075762f;
    n = n * a + 0.0398985863f;
    n = n * a + 0.181051743f;
    n = n * a + 0.43534004f;
    n = n * a + 0.5f;
    float d = 0.0100453572f;
    d = d * a + 0.100018437f;
    d = d * a + 0.463707327f;
    d = d * a + 1.19342168f;
    d = d * a + 1.66856499f;
    d = d * a + 1.0f;
    float density = exponential(x * x * -0.5f);
    /* Far out, N and D overflow for what is 0. */
    float tail = a > 13.0f ? 0.0f : density * (n / d);
    float below = x < 0.0f ? tail : 1.0f - tail;
    *slope = below + (a > 13.0f ? 0.0f : x * density * 0.398942280f);
    return x * below;
}

/* Its form by tanh: x s(2 u), s the logistic function, u = sqrt(2 / pi) (x + 0.044715 x^3). */
INLINE float tanh_gelu(float x, float *slope) {
    float bounded = x < -12.0f ? -12.0f : x > 12.0f ? 12.0f : x; /* s is 0 or 1 there */
    float square = bounded * bounded;
    float twice = 1.59576912f * bounded * (1.0f + 0.044715f * square);
    float s = 1.0f / (1.0f + exponential(twice > -80.0f ? -twice : 80.0f));
    float steepness = 1.59576912f * (1.0f + 0.134145f * square);
    *slope = s + bounded * s * (1.0f - s) * steepness;
    return x < -12.0f ? 0.0f : x * s;
}

INLINE float relu(float x, float *slope) {
    *slope = x > 0.0f ? 1.0f : 0.0f;
    return x > 0.0f ? x : x * *slope; /* a number that is none stays none */
}

/* ---- Dropout -------------------------------------------------------------------------------- */

/* What is dropped is a function of a seed and of a number's place, a row and a column: the backward
 * pass, and a computation that is made again, find the same. The seed names all else: run, step,
 * process, layer and the place in the layer. */
typedef struct {
    uint64_t seed;
    uint32_t below; /* random numbers that drop; 0 where nothing is dropped */
    float scale;    /* of what is kept, 1 / (1 - probability) */
} Dropout;

typedef struct { uint32_t first, second; } RowKey;

/* Of each row, by SplitMix64 (Steele, Lea and Flood, 2014). */
INLINE RowKey row_key(const Dropout *dropout, int64_t row) {
    uint64_t z = dropout->seed + (uint64_t)(row + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (RowKey){(uint32_t)z, (uint32_t)(z >> 32)};
}

/* 0, or what a number is multiplied with; mixed by multiplications and shifts as in MurmurHash3. */
INLINE float kept(const Dropout *dropout, RowKey key, uint32_t column) {
    uint32_t x = column * 0x9e3779b9u + key.first;
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) + key.second;
    x = (x ^ (x >> 16)) * 0x846ca68bu;
    x = (x ^ (x >> 15)) * 0x9e3779b1u;
    x ^= x >> 16;
    return x >= dropout->below ? dropout->scale : 0.0f;
}

/* ---- Products -------------------------------------------------------------------------------- */

/* C = A B, or C + A B, where B and C have whole vectors of LANES columns: A is [m, k], B [k, n] and C
 * [m, n], with so many numbers from row to row. Of `product`, which is for the small matrices of
 * attention, A may be turned: a(i, p) is A[i row + p column]. `multiply` is for weights, which are
 * fetched, and few rows. */
SHARED void product(
    int64_t m, int64_t n, int64_t k, const float *a, int64_t row, int64_t column,
    const float *b, int64_t b_row, float *c, int64_t c_row, int adds
);
SHARED void multiply(
    int64_t m, int64_t n, int64_t k, const float *a, int64_t row, const float *b, int64_t b_row,
    float *c, int64_t c_row, int adds
);

/* ---- What few.c computes with, too ------------------------------------------------------------ */

/* Each text attends from its own queries to its own keys: queries `query_starts[b]` to
 * `query_starts[b + 1]` to the tokens `keys[key_starts[b]]` to `keys[key_starts[b + 1]]`. Texts may
 * be of any length, lie one behind another or have padding between them, of which no key is taken;
 * a text has at least one key.
 *
 * means = dropout(softmax(q k' / sqrt(D))) v with q = query + query_bias, and so on. */
typedef struct {
    const float *query, *key, *value;                /* [Tq, H], [T, H], [T, H]; without bias */
    const float *query_bias, *key_bias, *value_bias; /* [H] */
    float *means;                                    /* [Tq, H] */
    float *peaks;                                    /* [Tq, A]: a query's greatest score; or null */
    const int32_t *query_starts, *key_starts;        /* [B + 1] */
    const int32_t *keys;                             /* [all keys] */
    int64_t texts, tokens, heads, width;             /* B, T, A, D */
    int64_t most_keys;                               /* of a text */
    Dropout dropout;                                 /* of the weights */
    /* Backward only: */
    const float *gradient;                           /* [Tq, H]: of the means */
    float *of_query, *of_key, *of_value;             /* [Tq, H], [T, H], [T, H] */
} Attention;

SHARED int64_t head_room(const Attention *a); /* numbers that `attend_head` needs room for */
SHARED void attend_head(const Attention *a, int64_t text, int64_t head, float *room);

enum { GELU, TANH_GELU, RELU };

typedef struct {
    float *x;          /* [T, F]; becomes the activated numbers */
    const float *bias; /* [F] */
    float *slopes;     /* [T, F]: what their gradient is multiplied with; or null */
    int64_t tokens, width;
    int32_t kind;
    Dropout dropout;   /* of what comes out */
} Activation;

SHARED void activate_tokens(const Activation *a, int64_t first, int64_t last, float *unwanted);

/* y = n weight + shift with n = (z - mean(z)) / deviation(z), z = residual + dropout(x + bias). */
typedef struct {
    float *x;              /* [T, H]; becomes n, unless `result` is the same */
    const float *bias;     /* [H] */
    const float *residual; /* [T, H] */
    const float *weight;   /* [H] */
    const float *shift;    /* [H] */
    float *result;         /* [T, H]: y */
    float *scales;         /* [T]: 1 / deviation; or null */
    int64_t tokens, width;
    float epsilon;         /* added to the variance */
    Dropout dropout;
} Norm;

SHARED void norm_tokens(const Norm *a, int64_t first, int64_t last);

#endif
