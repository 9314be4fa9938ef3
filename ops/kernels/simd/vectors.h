/* For files that are compiled once for each instruction set: how wide its vectors are, how many registers hold them, and loops that
 * stay in these. */
#ifndef PL_VECTORS_H
#define PL_VECTORS_H

#if defined(__AVX512F__)
#    define REGISTERS 32
enum { VECTOR_BYTES = 64 };
#elif defined(__AVX__)
#    define REGISTERS 16
enum { VECTOR_BYTES = 32 };
#elif defined(__aarch64__)
#    define REGISTERS 32
enum { VECTOR_BYTES = 16 };
#else
#    define REGISTERS 16
enum { VECTOR_BYTES = 16 };
#endif

/* A function that is made anew wherever it is called, for the constants that it is called with. */
#ifdef PL_ROLLED /* for debuggers, and under sanitizers, whose checks of each copy take compilers minutes */
#    define MADE_ANEW static __attribute__((noinline))
#else
#    define MADE_ANEW static inline __attribute__((always_inline))
#endif

/* Before a loop with few turns, a constant number, at most n: all of them, so that arrays become registers. */
#ifdef PL_ROLLED
#    define UNROLL(n)
#elif defined(__clang__)
#    define UNROLL(n) PRAGMA(clang loop unroll(full))
#else
#    define UNROLL(n) PRAGMA(GCC unroll n)
#endif
#define PRAGMA(words) _Pragma(#words)

enum { LINE = 64 }; /* of the cache: no two threads write to the same one */

/* A limit on how much is done at a time; and one for tests, with which small tensors need several of everything. */
#ifdef PL_SMALL
#    define LIMIT(usual, small) (small)
#else
#    define LIMIT(usual, small) (usual)
#endif

#endif
