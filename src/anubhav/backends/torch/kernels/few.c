/* A frozen layer for a few rows: y = x Wᵀ + b, with W read once, as it lies in the checkpoint. So few rows wait for
   memory and not for arithmetic, and weights that are bfloat16 anyway cost half of it and lose nothing: the products
   and sums are float. */
#include "vectors.h"
#include <stdlib.h>

#define INLINE static inline __attribute__((always_inline))
/* Outputs whose weights are called for while others are multiplied: a row is too short for the processor to notice by
   itself where the next one begins. */
#define AHEAD 24
/* Of two vectors, every other `c` lanes plus those beside them: one half of the result is a's, the other b's. */
#define FOLD(first, second) (__builtin_shufflevector(a, b, first) + __builtin_shufflevector(a, b, second))
#define L(...) __VA_ARGS__

#if W == 16
INLINE vf fold8(vf a, vf b) {
    return FOLD(L(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
                L(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
}
INLINE vf fold4(vf a, vf b) {
    return FOLD(L(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27),
                L(4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31));
}
INLINE vf fold2(vf a, vf b) {
    return FOLD(L(0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29),
                L(2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31));
}
INLINE vf fold1(vf a, vf b) {
    return FOLD(L(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
                L(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
}
#elif W == 8
INLINE vf fold4(vf a, vf b) { return FOLD(L(0, 1, 2, 3, 8, 9, 10, 11), L(4, 5, 6, 7, 12, 13, 14, 15)); }
INLINE vf fold2(vf a, vf b) { return FOLD(L(0, 1, 4, 5, 8, 9, 12, 13), L(2, 3, 6, 7, 10, 11, 14, 15)); }
INLINE vf fold1(vf a, vf b) { return FOLD(L(0, 2, 4, 6, 8, 10, 12, 14), L(1, 3, 5, 7, 9, 11, 13, 15)); }
#else
INLINE vf fold2(vf a, vf b) { return FOLD(L(0, 1, 4, 5), L(2, 3, 6, 7)); }
INLINE vf fold1(vf a, vf b) { return FOLD(L(0, 2, 4, 6), L(1, 3, 5, 7)); }
#endif

/* The sums of W vectors. */
INLINE vf sums(vf s[W]) {
#if W == 16
    for (int i = 0; i < 8; i++) s[i] = fold8(s[2 * i], s[2 * i + 1]);
#endif
#if W >= 8
    for (int i = 0; i < 4; i++) s[i] = fold4(s[2 * i], s[2 * i + 1]);
#endif
    for (int i = 0; i < 2; i++) s[i] = fold2(s[2 * i], s[2 * i + 1]);
    return fold1(s[0], s[1]);
}

/* 2 W weights from element `at` on, as W and W. Two bfloat16 lie in 32 bits: a shift gives one and a mask the other as
   float, where widening them in order would take seven instructions; `spread_rows` orders x to match. */
INLINE void weights_at(const void *w, int type, int64_t at, vf two[2]) {
    if (type == FLOAT32) {
        two[0] = load((const float *)w + at);
        two[1] = load((const float *)w + at + W);
    } else {
        vu bits;
        memcpy(&bits, (const uint16_t *)w + at, sizeof bits);
        two[0] = (vf)(bits << 16);
        two[1] = (vf)(bits & 0xffff0000u);
    }
}

static void spread_rows(const void *x, int from, int type, int64_t count, float *wide) {
    for (int64_t i = 0; i < count; i += 2 * W)
        for (int64_t j = 0; j < 2 * W; j++)
            wide[i + j] = get1(x, from, i + (type == FLOAT32 ? j : j < W ? 2 * j : 2 * (j - W) + 1));
}

/* `m` outputs of `n` rows, each summed in `u` parts, 1 or 2; m * n * u is at most W, so that all sums stay in
   registers. */
INLINE void tile(const float *x, int n, const void *w, int type, int64_t o, int m, int u, int64_t inputs,
                 const float *bias, void *y, int out, int64_t outputs, int64_t row) {
    vf s[W] = {};
    for (int64_t i = 0; i < inputs; i += 2 * W) {
        vf weights[W / 2][2];
        for (int k = 0; k < m; k++) weights_at(w, type, (o + k) * inputs + i, weights[k]);
        for (int k = 0; k < m; k++)
            __builtin_prefetch((const char *)w + ((o + k + AHEAD) * inputs + i) * (type == FLOAT32 ? 4 : 2), 0, 2);
        for (int p = 0; p < 2; p++) {
            vf rows[4];
            for (int j = 0; j < n; j++) rows[j] = load(x + (row + j) * inputs + i + p * W);
            for (int k = 0; k < m; k++)
                for (int j = 0; j < n; j++) s[(k * n + j) * u + (u == 2 ? p : 0)] += weights[k][p] * rows[j];
        }
    }
    vf found = sums(s);
    for (int k = 0; k < m; k++)
        for (int j = 0; j < n; j++) {
            int at = (k * n + j) * u;
            float sum = found[at] + (u == 2 ? found[at + 1] : 0);
            put1(y, out, (row + j) * outputs + o + k, sum + (bias ? bias[o + k] : 0));
        }
}

#define TILE(n, m, u) tile(x, n, w, type, o, m, u, inputs, bias, y, out, outputs, row)
/* `n` rows, each summed in `u` parts. */
#define TILES(n, u) \
    for (int64_t o = from;; o += W / (n * u)) { \
        if (o + W / (n * u) > to) { \
            for (; o < to; o++) TILE(n, 1, 1); \
            break; \
        } \
        TILE(n, W / (n * u), u); \
    }

/* All rows for outputs o..o+16: their weights stay in the first cache while the rows pass. */
INLINE void block(const float *x, int64_t rows, const void *w, int type, int64_t from, int64_t to, int64_t inputs,
                  const float *bias, void *y, int out, int64_t outputs) {
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4) TILES(4, 1)
    for (; row + 2 <= rows; row += 2) TILES(2, 2)
    for (; row < rows; row++) TILES(1, 2)
}

/* Inputs are a multiple of 32. `type` is the weight's, `out` that of x and y. Returns 0, or 1 without memory. */
int few(const void *x, const void *w, const float *bias, void *y, int64_t rows, int64_t inputs, int64_t outputs,
        int type, int out, int threads) {
    float *wide = malloc(rows * inputs * sizeof *wide);
    if (!wide) return 1;
    spread_rows(x, out, type, rows * inputs, wide);
#pragma omp parallel for num_threads(rows * inputs * outputs < WORTH_A_THREAD ? 1 : threads) schedule(static)
    for (int64_t o = 0; o < outputs; o += 16) {
        int64_t to = o + 16 < outputs ? o + 16 : outputs;
        if (type == FLOAT32) block(wide, rows, w, FLOAT32, o, to, inputs, bias, y, out, outputs);
        else block(wide, rows, w, BFLOAT16, o, to, inputs, bias, y, out, outputs);
    }
    free(wide);
    return 0;
}
