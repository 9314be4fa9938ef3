/* The elements of a safetensors file, behind its header: little endian, widened where the tensor is wider. */
#define _POSIX_C_SOURCE 200809L /* fseeko */

#include <math.h>
#include <string.h>
#include <sys/types.h>

#include "files/file.h"
#include "files/tensors.h"

bool pln_tensors_bytes(pln_tensors *s, void *to, size_t n) {
    if (pln_read(s->f, to, n) == n) return true;
    if (ferror(s->f))
        s->status = pln_read_failed(s->ctx, s->op, s->path);
    else
        pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: it became shorter while it was read", s->path);
    return false;
}

/* The bits of an F16 (IEEE 754 binary16) as those of the f32 of the same value; a NaN keeps its payload. */
static uint32_t bits_of_half(uint32_t half) {
    enum { INFINITE = 0x7c00, NORMAL = 0x400 };
    uint32_t sign = (half & 0x8000) << 16, rest = half & 0x7fff, bits;
    if (rest >= INFINITE) return sign | 0x7f800000 | (rest & 0x3ff) << 13;
    if (rest >= NORMAL) return sign | ((rest << 13) + ((uint32_t)(127 - 15) << 23));
    float subnormal = (float)rest * 0x1p-24f;
    memcpy(&bits, &subnormal, 4);
    return sign | bits;
}

/* The bits as those of an f32, if they are of a narrower type. A BF16 is the upper half of an f32. */
static uint32_t single_bits(pln_type type, uint32_t bits) {
    return type == PLN_F16 ? bits_of_half(bits) : type == PLN_BF16 ? bits << 16 : bits;
}

/* The bytes of the file as element k of `to`. */
static void take_element(pln_tensors *s, const pln_named *e, const uint8_t *from, void *to, size_t k) {
    uint64_t bits = 0;
    for (size_t i = 0; i < pln_types[e->type].width; i++) bits |= (uint64_t)from[i] << 8 * i;
    uint32_t half = single_bits(e->type, (uint32_t)bits);
    int64_t whole = (int64_t)bits;
    float single;
    memcpy(&single, &half, 4);
    double v = e->type == PLN_I64 ? (double)whole : single;
    if (pln_own_type(e) == PLN_F32)
        memcpy((uint32_t *)to + k, &half, 4);
    else
        memcpy((uint64_t *)to + k, e->type == PLN_F64 ? (void *)&bits : (void *)&v, 8);
    if (e->type == PLN_I64 && fabs(v) > PLN_LARGEST_WHOLE)
        pln_tensors_fail(s, PLEAT_ERR_FORMAT, "%s: %s is %jd, which is too large", s->path, e->name,
                         (intmax_t)whole);
}

static void read_elements(pln_tensors *s, const pln_named *e) {
    uint8_t chunk[4096];
    void *to = pleat_write_now(e->fresh, "a reader of safetensors");
    size_t width = pln_types[e->type].width, most = sizeof chunk / width, n = pln_named_numel(e), count;
    for (size_t k = 0; k < n; k += count) {
        count = n - k < most ? n - k : most;
        if (!pln_tensors_bytes(s, chunk, count * width)) return;
        for (size_t i = 0; i < count; i++) take_element(s, e, chunk + i * width, to, k + i);
    }
}

static void read_fresh(pln_tensors *s, pln_named *e) {
    e->fresh = pleat_empty(s->ctx, e->t ? pleat_dtype_of(e->t) : PLEAT_F64, e->rank, e->shape);
    if (pleat_is_poison(e->fresh))
        s->status = PLEAT_ERR_MEMORY;
    else
        read_elements(s, e);
}

void pln_tensors_take(pln_tensors *s) {
    size_t skipped = 0;
    for (size_t i = 0; i < s->n && !s->status; i++) {
        pln_named *e = &s->named[i];
        if (e->flags & PLN_UNREAD) skipped += e->end - e->begin;
        if (!e->json || e->flags & PLN_UNREAD) continue;
        if (skipped && fseeko(s->f, (off_t)skipped, SEEK_CUR))
            s->status = pln_read_failed(s->ctx, s->op, s->path);
        else
            read_fresh(s, e);
        skipped = 0;
    }
}

void pln_tensors_assign(pln_tensors *s) {
    for (size_t i = 0; i < s->n; i++)
        if (s->named[i].t && s->named[i].fresh) pleat_assign(s->named[i].t, s->named[i].fresh);
}
