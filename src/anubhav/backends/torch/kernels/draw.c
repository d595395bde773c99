/* Drawing one token a row from logits in two passes over them: the sums by blocks, then the block the draw fell in. */
#include "vectors.h"

#define BLOCK 256
#define MOST_BLOCKS 4096 /* of a vocabulary: a million tokens */
#define INLINE static inline __attribute__((always_inline))

INLINE void draw_row(const void *logits, int type, int64_t at, int64_t n, float heat, double u, int greedy,
                     int64_t *token, float *logprob) {
    double sums[MOST_BLOCKS];
    vf top = spread(-INFINITY);
    int64_t whole = n - n % W;
    for (int64_t i = 0; i < whole; i += W) {
        vf x = get(logits, type, at + i);
        vi more = x > top;
        top = (vf)((more & (vi)x) | (~more & (vi)top));
    }
    float most = highest(top);
    for (int64_t i = whole; i < n; i++) {
        float x = get1(logits, type, at + i);
        most = x > most ? x : most;
    }
    double sum = 0;
    int64_t blocks = (n + BLOCK - 1) / BLOCK;
    for (int64_t b = 0; b < blocks; b++) {
        int64_t end = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n, i = b * BLOCK;
        vf part = {};
        for (; i + W <= end; i += W) part += exps((get(logits, type, at + i) - most) * heat);
        double s = total(part);
        for (; i < end; i++) s += exps(spread((get1(logits, type, at + i) - most) * heat))[0];
        sums[b] = s;
        sum += s;
    }
    int64_t chosen = n - 1;
    if (greedy) {
        for (int64_t i = n - 1; i >= 0; i--)
            if (get1(logits, type, at + i) == most) chosen = i;
    } else {
        double left = u * sum;
        int64_t b = 0;
        for (; b < blocks - 1 && left >= sums[b]; b++) left -= sums[b];
        for (int64_t i = b * BLOCK; i < n; i++) {
            left -= exps(spread((get1(logits, type, at + i) - most) * heat))[0];
            chosen = i;
            if (left < 0) break;
        }
    }
    *token = chosen;
    *logprob = (get1(logits, type, at + chosen) - most) * heat - (float)log(sum);
}

/* `heats`: one over the temperature, 1 for greedy rows. Returns 0, or 1 for a vocabulary that is too large. */
int draw(const void *logits, const float *heats, const double *uniforms, const uint8_t *greedy, int64_t *tokens,
         float *logprobs, int64_t rows, int64_t n, int type, int threads) {
    if ((n + BLOCK - 1) / BLOCK > MOST_BLOCKS) return 1;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t r = 0; r < rows; r++) {
        if (type == FLOAT32) draw_row(logits, FLOAT32, r * n, n, heats[r], uniforms[r], greedy[r], tokens + r, logprobs + r);
        else draw_row(logits, BFLOAT16, r * n, n, heats[r], uniforms[r], greedy[r], tokens + r, logprobs + r);
    }
    return 0;
}
