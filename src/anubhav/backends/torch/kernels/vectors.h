/* What all kernels stand on: vectors of W floats in GCC's and Clang's own notation, as wide as the machine's registers
   and no wider: GCC keeps what is wider in memory. bfloat16 is read and written, sums are always float. Whatever is said
   of multiples of 16 holds for every W. */
#ifndef ANUBHAV_VECTORS_H
#define ANUBHAV_VECTORS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define W 16
#elif defined(__AVX__)
#define W 8
#else /* NEON, SSE */
#define W 4
#endif
typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef uint32_t vu __attribute__((vector_size(4 * W)));
typedef uint16_t vh __attribute__((vector_size(2 * W)));

enum { FLOAT32 = 0, BFLOAT16 = 1 };

/* Multiplications below which a second thread costs more than it brings, more so where other programs run too. */
#define WORTH_A_THREAD 400000

static inline vf spread(float x) { return x - (vf){}; }

static inline vf load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }

static inline void store(float *p, vf v) { memcpy(p, &v, sizeof v); }

static inline vf load_bf16(const uint16_t *p) {
    vh h;
    memcpy(&h, p, sizeof h);
    vu bits = __builtin_convertvector(h, vu) << 16;
    return (vf)bits;
}

/* Rounds to the nearest, ties to even; NaN stays NaN because its upper bits are not all mantissa. */
static inline void store_bf16(uint16_t *p, vf v) {
    vu bits = (vu)v;
    bits += 0x7fff + ((bits >> 16) & 1);
    vh h = __builtin_convertvector(bits >> 16, vh);
    memcpy(p, &h, sizeof h);
}

/* Element `at` of an array of either type. */
static inline vf get(const void *base, int type, int64_t at) {
    return type == FLOAT32 ? load((const float *)base + at) : load_bf16((const uint16_t *)base + at);
}

static inline void put(void *base, int type, int64_t at, vf v) {
    if (type == FLOAT32) store((float *)base + at, v);
    else store_bf16((uint16_t *)base + at, v);
}

static inline float get1(const void *base, int type, int64_t at) {
    if (type == FLOAT32) return ((const float *)base)[at];
    uint32_t bits = (uint32_t)((const uint16_t *)base)[at] << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline void put1(void *base, int type, int64_t at, float x) {
    if (type == FLOAT32) { ((float *)base)[at] = x; return; }
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    ((uint16_t *)base)[at] = (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float total(vf v) {
    float s = 0;
    for (int i = 0; i < W; i++) s += v[i];
    return s;
}

static inline float highest(vf v) {
    float s = v[0];
    for (int i = 1; i < W; i++) s = v[i] > s ? v[i] : s;
    return s;
}

/* e^x to about one unit in the last place: Cephes' expf (2^n times a polynomial on the rest), flushed to 0 below -87. */
static inline vf exps(vf x) {
    vi under = x < -87.0f, over = x > 88.0f;
    vf y = (vf)((under & (vi)spread(-87.0f)) | (~under & (vi)x));
    y = (vf)((over & (vi)spread(88.0f)) | (~over & (vi)y));
    vf scaled = y * 1.44269504088896341f;
    vi n = __builtin_convertvector(scaled + (vf)(((vi)scaled & INT32_MIN) | (vi)spread(0.5f)), vi);
    vf k = __builtin_convertvector(n, vf);
    vf r = y - k * 0.693359375f + k * 2.12194440e-4f;
    vf p = spread(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    vf result = p * (vf)((n + 127) << 23);
    return (vf)(~under & (vi)result);
}

#endif
