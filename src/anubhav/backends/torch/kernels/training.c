/* The elementwise layers of training, forward and backward, each in one pass over its rows; the softmax of the
   vocabulary; AdamW. A type is one of vectors.h; widths are multiples of 16, but for the vocabulary's. */
#include "vectors.h"

#define INLINE static inline __attribute__((always_inline))
#define ROWS(work) \
    int crew = rows * (work) < WORTH_A_THREAD / 8 ? 1 : (int)threads; \
    _Pragma("omp parallel for num_threads(crew) schedule(static)") for (int64_t r = 0; r < rows; r++)
/* The call with each type as a constant, so that no loop asks for it. */
#define BY_TYPE(type, call) do { if ((type) == FLOAT32) call(FLOAT32); else call(BFLOAT16); } while (0)

INLINE void norm_row(const void *x, int xt, const void *w, void *y, int yt, float *scale, int64_t at, int64_t n,
                     float eps) {
    vf sum = {};
    for (int64_t i = 0; i < n; i += W) {
        vf v = get(x, xt, at + i);
        sum += v * v;
    }
    float s = *scale = 1.0f / sqrtf(total(sum) / (float)n + eps);
    for (int64_t i = 0; i < n; i += W) put(y, yt, at + i, get(x, xt, at + i) * s * get(w, yt, i));
}

INLINE void norm_row_back(const void *dy, int yt, const void *x, void *dx, int xt, const void *w, float s, int64_t at,
                          int64_t n) {
    vf sum = {};
    for (int64_t i = 0; i < n; i += W) sum += get(dy, yt, at + i) * get(w, yt, i) * get(x, xt, at + i);
    float mean = total(sum) * s * s / (float)n;
    for (int64_t i = 0; i < n; i += W)
        put(dx, xt, at + i, (get(dy, yt, at + i) * get(w, yt, i) - get(x, xt, at + i) * mean) * s);
}

/* y = x * scale * w with scale = 1 / rms(x), which is kept; w has the type of y. */
void norm(const void *x, int64_t xt, const void *w, void *y, int64_t yt, float *scale, int64_t rows, int64_t n, float eps,
          int64_t threads) {
#define ROW(X, Y) norm_row(x, X, w, y, Y, scale + r, r * n, n, eps)
#define ROW_32(Y) ROW(FLOAT32, Y)
#define ROW_16(Y) ROW(BFLOAT16, Y)
    ROWS(n) { if (xt == FLOAT32) BY_TYPE(yt, ROW_32); else BY_TYPE(yt, ROW_16); }
#undef ROW
}

void norm_back(const void *dy, int64_t yt, const void *x, void *dx, int64_t xt, const void *w, const float *scale, int64_t rows,
               int64_t n, int64_t threads) {
#define ROW(X, Y) norm_row_back(dy, Y, x, dx, X, w, scale[r], r * n, n)
    ROWS(n) { if (xt == FLOAT32) BY_TYPE(yt, ROW_32); else BY_TYPE(yt, ROW_16); }
#undef ROW
}

INLINE void gate_row(const void *x, void *y, int type, int64_t r, int64_t n) {
    for (int64_t i = 0; i < n; i += W) {
        vf gate = get(x, type, 2 * r * n + i), up = get(x, type, 2 * r * n + n + i);
        put(y, type, r * n + i, gate * up / (exps(-gate) + 1.0f));
    }
}

INLINE void gate_row_back(const void *dy, const void *x, void *dx, int type, int64_t r, int64_t n) {
    int64_t at = 2 * r * n;
    for (int64_t i = 0; i < n; i += W) {
        vf gate = get(x, type, at + i), up = get(x, type, at + n + i), d = get(dy, type, r * n + i);
        vf sigmoid = 1.0f / (exps(-gate) + 1.0f), silu = gate * sigmoid;
        put(dx, type, at + i, d * up * (sigmoid + silu * (1.0f - sigmoid)));
        put(dx, type, at + n + i, d * silu);
    }
}

/* y = silu(gate) * up; a row of x is n of gate, then n of up. */
void swiglu(const void *x, void *y, int64_t type, int64_t rows, int64_t n, int64_t threads) {
#define ROW(T) gate_row(x, y, T, r, n)
    ROWS(n) BY_TYPE(type, ROW);
#undef ROW
}

void swiglu_back(const void *dy, const void *x, void *dx, int64_t type, int64_t rows, int64_t n, int64_t threads) {
#define ROW(T) gate_row_back(dy, x, dx, T, r, n)
    ROWS(n) BY_TYPE(type, ROW);
#undef ROW
}

INLINE void turn_row(const void *x, int64_t from, void *y, int64_t to, int type, int64_t heads, int64_t half,
                     const float *cosine, const float *sine, float sign) {
    for (int64_t h = 0; h < heads; h++, from += 2 * half, to += 2 * half)
        for (int64_t i = 0; i < half; i += W) {
            vf a = get(x, type, from + i), b = get(x, type, from + half + i);
            vf c = load(cosine + i), s = load(sine + i) * sign;
            put(y, type, to + i, a * c - b * s);
            put(y, type, to + half + i, b * c + a * s);
        }
}

/* Rotary positions: the halves of each head turned by the row's angles; `sign` -1 turns back. Rows of x are `stride`
   apart, those of y stand side by side. */
void turn(const void *x, int64_t stride, void *y, int64_t type, int64_t rows, int64_t heads, int64_t half,
          const float *cosine, const float *sine, float sign, int64_t threads) {
#define ROW(T) turn_row(x, r * stride, y, r * heads * 2 * half, T, heads, half, cosine + r * half, sine + r * half, sign)
    ROWS(2 * heads * half) BY_TYPE(type, ROW);
#undef ROW
}

INLINE void measure_row(const void *x, int type, int64_t at, int64_t n, float *most, float *sum) {
    int64_t whole = n - n % W;
    vf top = spread(-INFINITY), part = {};
    for (int64_t i = 0; i < whole; i += W) {
        vf v = get(x, type, at + i);
        vi more = v > top;
        top = (vf)((more & (vi)v) | (~more & (vi)top));
    }
    float m = highest(top);
    for (int64_t i = whole; i < n; i++) m = get1(x, type, at + i) > m ? get1(x, type, at + i) : m;
    for (int64_t i = 0; i < whole; i += W) part += exps(get(x, type, at + i) - m);
    float s = total(part);
    for (int64_t i = whole; i < n; i++) s += exps(spread(get1(x, type, at + i) - m))[0];
    *most = m;
    *sum = s;
}

INLINE void soften_row(void *x, int type, int64_t at, int64_t n, float most, float share) {
    int64_t i = 0;
    for (; i + W <= n; i += W) put(x, type, at + i, exps(get(x, type, at + i) - most) * share);
    for (; i < n; i++) put1(x, type, at + i, exps(spread(get1(x, type, at + i) - most))[0] * share);
}

/* Of each row of logits: the highest one, and the sum of exp(logit - highest). */
void measure(const void *x, int64_t type, int64_t rows, int64_t n, float *most, float *sum, int64_t threads) {
#define ROW(T) measure_row(x, T, r * n, n, most + r, sum + r)
    ROWS(n) BY_TYPE(type, ROW);
#undef ROW
}

/* In place, x = exp(x - most) * share. */
void soften(void *x, int64_t type, int64_t rows, int64_t n, const float *most, const float *shares, int64_t threads) {
    int64_t bytes = type == FLOAT32 ? 4 : 2;
#define ROW(T) soften_row(x, T, r * n, n, most[r], shares[r])
    ROWS(n) {
        if (shares[r] != 0.0f) BY_TYPE(type, ROW);
        else memset((char *)x + r * n * bytes, 0, n * bytes);
    }
#undef ROW
}

typedef struct { float *parameter, *first, *second; const float *gradient; int64_t size; } Weights;

/* One step over `rows` tensors. `shrink`: one minus learning rate times weight decay; `rate`: learning rate over the
   first moment's bias; `root`: the square root of the second one's. */
void adamw(const Weights *all, int64_t rows, float beta1, float beta2, float eps, float shrink, float rate, float root,
           int64_t threads) {
#pragma omp parallel for num_threads((int)threads) schedule(dynamic, 1)
    for (int64_t r = 0; r < rows; r++) {
        float *restrict p = all[r].parameter, *restrict m = all[r].first, *restrict v = all[r].second;
        const float *restrict g = all[r].gradient;
        for (int64_t i = 0; i < all[r].size; i++) {
            m[i] += (g[i] - m[i]) * (1.0f - beta1);
            v[i] = v[i] * beta2 + g[i] * g[i] * (1.0f - beta2);
            p[i] = p[i] * shrink - rate * (m[i] / (sqrtf(v[i]) / root + eps));
        }
    }
}
