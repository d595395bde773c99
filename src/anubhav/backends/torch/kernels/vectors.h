/* What all kernels stand on: vectors of 16 floats in GCC's and Clang's own notation, which becomes AVX-512, AVX2 or
   NEON as the machine has it; bfloat16 is read and written, sums are always float. */
#ifndef ANUBHAV_VECTORS_H
#define ANUBHAV_VECTORS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define W 16
typedef float v16 __attribute__((vector_size(64)));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef uint32_t u16 __attribute__((vector_size(64)));
typedef uint16_t h16 __attribute__((vector_size(32)));

enum { FLOAT32 = 0, BFLOAT16 = 1 };

/* Multiplications below which a second thread costs more than it brings, more so where other programs run too. */
#define WORTH_A_THREAD 400000

static inline v16 spread(float x) { return x - (v16){}; }

static inline v16 load(const float *p) { v16 v; memcpy(&v, p, sizeof v); return v; }

static inline void store(float *p, v16 v) { memcpy(p, &v, sizeof v); }

static inline v16 load_bf16(const uint16_t *p) {
    h16 h;
    memcpy(&h, p, sizeof h);
    u16 bits = __builtin_convertvector(h, u16) << 16;
    return (v16)bits;
}

/* Rounds to the nearest, ties to even; NaN stays NaN because its upper bits are not all mantissa. */
static inline void store_bf16(uint16_t *p, v16 v) {
    u16 bits = (u16)v;
    bits += 0x7fff + ((bits >> 16) & 1);
    h16 h = __builtin_convertvector(bits >> 16, h16);
    memcpy(p, &h, sizeof h);
}

/* Element `at` of an array of either type. */
static inline v16 get(const void *base, int type, int64_t at) {
    return type == FLOAT32 ? load((const float *)base + at) : load_bf16((const uint16_t *)base + at);
}

static inline void put(void *base, int type, int64_t at, v16 v) {
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

static inline float total(v16 v) {
    float s = 0;
    for (int i = 0; i < W; i++) s += v[i];
    return s;
}

static inline float highest(v16 v) {
    float s = v[0];
    for (int i = 1; i < W; i++) s = v[i] > s ? v[i] : s;
    return s;
}

/* e^x to about one unit in the last place: Cephes' expf (2^n times a polynomial on the rest), flushed to 0 below -87. */
static inline v16 exp16(v16 x) {
    i16 under = x < -87.0f, over = x > 88.0f;
    v16 y = (v16)((under & (i16)spread(-87.0f)) | (~under & (i16)x));
    y = (v16)((over & (i16)spread(88.0f)) | (~over & (i16)y));
    v16 scaled = y * 1.44269504088896341f;
    i16 n = __builtin_convertvector(scaled + (v16)(((i16)scaled & INT32_MIN) | (i16)spread(0.5f)), i16);
    v16 k = __builtin_convertvector(n, v16);
    v16 r = y - k * 0.693359375f + k * 2.12194440e-4f;
    v16 p = spread(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    v16 result = p * (v16)((n + 127) << 23);
    return (v16)(~under & (i16)result);
}

#endif
