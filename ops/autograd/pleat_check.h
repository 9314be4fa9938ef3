/* pleat_check.h: is a gradient right? Checks of functions on plain arrays, without tensors and contexts.
 *
 *     static void f(void *user, size_t n, const double *x, double *y);         // y[0] = f(x)
 *     static void gradient(void *user, size_t n, const double *x, double *g);  // g[i] = df/dx[i]
 *
 *     pleat_check_report r;
 *     if (pleat_check_gradient_f64(f, gradient, n, x, .report = &r) != PLEAT_CHECK_RIGHT) puts(r.text);
 *
 * Three pairs can be checked, each in double (_f64) and in float (_f32), and on complex numbers
 * (.is_complex):
 *
 *     gradient   f: R^n -> R, and its gradient              g = df/dx
 *     vjp        f: R^n -> R^m, and its product with vectors from the left    gx = (df/dx)^T gy
 *     adjoint    A: R^n -> R^m linear, and A^T              <A x, y> = <x, A^T y>
 *
 * COMPLEX NUMBERS are pairs of reals, re and im, as in C's double complex and Fortran's complex; n and m
 * count numbers. <a, b> = sum over i of conj(a[i]) b[i], so an adjoint is the conjugate transpose, and the
 * vjp of a holomorphic f is conj(df/dx)^T gy. For any f it is the gradient of Re <gy, f(x)>, g = d/dre + i
 * d/dim, as in PyTorch. A gradient is the vjp for gy = 1.
 *
 * METHOD. Random directions v decide first: <gy, (f(x + h v) - f(x - h v)) / 2h> is compared with <gx, v>,
 * which takes about a hundred calls of f, for any n. Only if they disagree, the worst element is found by
 * halving: v is restricted to either half of its coordinates, and the half with the larger discrepancy is
 * followed, O(log n) calls. The step h is halved, and the quotients are extrapolated to h = 0, as long as the
 * estimated error falls (Ridders: Accurate computation of F'(x) and F'(x)F''(x). Advances in Engineering
 * Software 4, 1982). The rounding errors of f are measured, as that by which its values at points close
 * together leave a straight line (after More and Wild: Estimating computational noise. SIAM Journal on
 * Scientific Computing 33, 2011), and those of the gradient likewise. In float only the functions round: the
 * arithmetic of the check is in double.
 *
 * VERDICTS. Right, wrong, or it cannot be told: because rounding hides it, f is not smooth at x, or it is not
 * finite. The report states the smallest error that the check would have seen, relative to the gradient: the
 * norm of the error over that of the gradient, each element times the size of a change of x. A larger one
 * passes with a probability of about 1e-4. What a function does to one number alone below the rounding of all
 * others, as in float x + 1e8, cannot be seen from outside: f counts as it is computed.
 *
 * What else is found, and called wrong: a function that gives two results for one input, writes nothing to
 * its output or to an element of it, adds to its output, changes its input, or writes up to 64 bytes before
 * or behind one of its arrays. (The functions get arrays of the check's own. What lies around them is NaN, so
 * that reading beyond an array often shows in the result, but not always.)
 *
 * This header needs no other. Nothing here uses pleat_ctx; memory comes from malloc and is freed before the
 * return. The functions are called from the caller's thread, and must not longjmp or throw.
 */
#ifndef PLEAT_CHECK_H
#define PLEAT_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Options in C, and from C++20 on, where f and gradient must be named, too (.f = f, .gradient = g). */
#ifdef __cplusplus
#    define PLEAT_CHECK_OPTIONS(type, ...) \
        type { .unset_ = 0, __VA_ARGS__ }
extern "C" {
#else
#    define PLEAT_CHECK_OPTIONS(type, ...) ((type){.unset_ = 0, __VA_ARGS__})
#endif

typedef enum pleat_verdict {
    PLEAT_CHECK_RIGHT = 0,
    PLEAT_CHECK_WRONG,
    PLEAT_CHECK_UNCLEAR, /* it cannot be told; the text says why */
    PLEAT_CHECK_REFUSED, /* nothing was checked: a null pointer, or an option out of range */
    PLEAT_CHECK_MEMORY,  /* nothing was checked: malloc returned NULL */
} pleat_verdict;

/* The result of a check. `text` is one line for people. Where the verdict is "wrong", the other members name
 * the worst element. They are 0 where they have no meaning. */
typedef struct pleat_check_report {
    pleat_verdict verdict;
    /* the elements first .. last - 1 of x: one, unless no part of them can be told wrong by itself */
    size_t first, last;
    size_t row; /* adjoint: the element of y */
    /* of this element: by difference quotients, and by the gradient; adjoint: by A, and by A^T. Of a complex
     * number the real or the imaginary part, whichever is worse. */
    double expected, found;
    double error;       /* the largest discrepancy, relative to the gradient (adjoint: to the products) */
    double visible;     /* the smallest error that would have been seen, relative in the same way */
    size_t calls, back; /* calls of f or A, and of its gradient, vjp or A^T */
    char text[480];
} pleat_check_report;

/* ---- a scalar function and its gradient ------------------------------------------------------------------ */

/* x [n] -> y [1], and x [n] -> g [n]. Every element must be written. */
typedef void (*pleat_scalar_f64)(void *user, size_t n, const double *x, double *result);
typedef void (*pleat_scalar_f32)(void *user, size_t n, const float *x, float *result);

typedef struct pleat_check_gradient_args_f64 {
    int unset_;
    pleat_scalar_f64 f, gradient;
    size_t n;
    const double *x; /* [n]: where to check, away from kinks; it is not written to */
    void *user;      /* passed to both functions */
    bool is_complex; /* complex numbers: x [n][2], y [1][2], g [n][2] */
    /* [n]: the size of a change of each x that makes a moderate change of f; default: the mean of all |x|, or
     * 1 if they are all 0, and at least |x| / 16. Directions are +-(1 to 2) times as long. */
    const double *sizes;
    int tries; /* random directions; default 4 */
    /* A relative error of the gradient that still passes; errors beyond it must be visible for the verdict
     * "right". Default: none passes that can be seen, and 1e-6 must be visible, in float 1e-2. */
    double tolerance;
    uint64_t seed;              /* of the random directions */
    pleat_check_report *report; /* may be NULL */
} pleat_check_gradient_args_f64;

typedef struct pleat_check_gradient_args_f32 {
    int unset_;
    pleat_scalar_f32 f, gradient;
    size_t n;
    const float *x;
    void *user;
    bool is_complex;
    const float *sizes;
    int tries;
    double tolerance;
    uint64_t seed;
    pleat_check_report *report;
} pleat_check_gradient_args_f32;

pleat_verdict pleat_check_gradient_f64_with(pleat_check_gradient_args_f64 args);
pleat_verdict pleat_check_gradient_f32_with(pleat_check_gradient_args_f32 args);
#define pleat_check_gradient_f64(...) \
    pleat_check_gradient_f64_with(PLEAT_CHECK_OPTIONS(pleat_check_gradient_args_f64, __VA_ARGS__))
#define pleat_check_gradient_f32(...) \
    pleat_check_gradient_f32_with(PLEAT_CHECK_OPTIONS(pleat_check_gradient_args_f32, __VA_ARGS__))

/* ---- a function of n numbers to m, and its vjp ------------------------------------------------------------- */

/* x [n] -> y [m] */
typedef void (*pleat_map_f64)(void *user, size_t n, const double *x, size_t m, double *y);
typedef void (*pleat_map_f32)(void *user, size_t n, const float *x, size_t m, float *y);
/* x [n], gy [m] -> gx [n]    gx[i] = sum over j of gy[j] dy[j]/dx[i] */
typedef void (*pleat_vjp_f64)(void *user, size_t n, const double *x, size_t m, const double *gy, double *gx);
typedef void (*pleat_vjp_f32)(void *user, size_t n, const float *x, size_t m, const float *gy, float *gx);

/* Everything as in pleat_check_gradient; with .is_complex y, gy [m][2]. gy is random. */
typedef struct pleat_check_vjp_args_f64 {
    int unset_;
    pleat_map_f64 f;
    pleat_vjp_f64 vjp;
    size_t n;
    const double *x; /* [n] */
    size_t m;
    void *user;
    bool is_complex;
    const double *sizes; /* [n] */
    int tries;
    double tolerance;
    uint64_t seed;
    pleat_check_report *report;
} pleat_check_vjp_args_f64;

typedef struct pleat_check_vjp_args_f32 {
    int unset_;
    pleat_map_f32 f;
    pleat_vjp_f32 vjp;
    size_t n;
    const float *x;
    size_t m;
    void *user;
    bool is_complex;
    const float *sizes;
    int tries;
    double tolerance;
    uint64_t seed;
    pleat_check_report *report;
} pleat_check_vjp_args_f32;

pleat_verdict pleat_check_vjp_f64_with(pleat_check_vjp_args_f64 args);
pleat_verdict pleat_check_vjp_f32_with(pleat_check_vjp_args_f32 args);
#define pleat_check_vjp_f64(...) \
    pleat_check_vjp_f64_with(PLEAT_CHECK_OPTIONS(pleat_check_vjp_args_f64, __VA_ARGS__))
#define pleat_check_vjp_f32(...) \
    pleat_check_vjp_f32_with(PLEAT_CHECK_OPTIONS(pleat_check_vjp_args_f32, __VA_ARGS__))

/* ---- a linear pair ------------------------------------------------------------------------------------------ */

/* Is <A x, y> = <x, A^T y> for random x [n] and y [m], and are both linear: A(x + c z) = A x + c A z? How far
 * this equation is off measures the rounding. Beyond the root of the type's epsilon the function is not
 * linear, unless A(-2 x) = -2 A x to the bit, as where much cancels. The entry of A that is worst off is
 * found by halving x, then y. */
typedef struct pleat_check_adjoint_args_f64 {
    int unset_;
    pleat_map_f64 a;       /* x [n] -> y [m] */
    pleat_map_f64 adjoint; /* y [m] -> x [n]; it is called as adjoint(user, m, y, n, x) */
    size_t n, m;
    void *user;
    bool is_complex;  /* complex numbers; the adjoint is the conjugate transpose */
    int tries;        /* random pairs; default 4 */
    double tolerance; /* as above; default: 1e-6 must be visible, in float 1e-2 */
    uint64_t seed;
    pleat_check_report *report;
} pleat_check_adjoint_args_f64;

typedef struct pleat_check_adjoint_args_f32 {
    int unset_;
    pleat_map_f32 a, adjoint;
    size_t n, m;
    void *user;
    bool is_complex;
    int tries;
    double tolerance;
    uint64_t seed;
    pleat_check_report *report;
} pleat_check_adjoint_args_f32;

pleat_verdict pleat_check_adjoint_f64_with(pleat_check_adjoint_args_f64 args);
pleat_verdict pleat_check_adjoint_f32_with(pleat_check_adjoint_args_f32 args);
#define pleat_check_adjoint_f64(...) \
    pleat_check_adjoint_f64_with(PLEAT_CHECK_OPTIONS(pleat_check_adjoint_args_f64, __VA_ARGS__))
#define pleat_check_adjoint_f32(...) \
    pleat_check_adjoint_f32_with(PLEAT_CHECK_OPTIONS(pleat_check_adjoint_args_f32, __VA_ARGS__))

/* ---- the same without structs ------------------------------------------------------------------------------- */
/* For Fortran (iso_c_binding) and other languages: pointers and sizes alone. `is_complex` not 0 means complex
 * numbers. The report's line goes to text[bytes], cut to fit, with a 0 behind it; text may be NULL. Returns
 * the verdict. */

int pleat_check_gradient_plain_f64(pleat_scalar_f64 f, pleat_scalar_f64 gradient, void *user, size_t n,
                                   const double *x, int is_complex, char *text, size_t bytes);
int pleat_check_gradient_plain_f32(pleat_scalar_f32 f, pleat_scalar_f32 gradient, void *user, size_t n,
                                   const float *x, int is_complex, char *text, size_t bytes);
int pleat_check_vjp_plain_f64(pleat_map_f64 f, pleat_vjp_f64 vjp, void *user, size_t n, const double *x,
                              size_t m, int is_complex, char *text, size_t bytes);
int pleat_check_vjp_plain_f32(pleat_map_f32 f, pleat_vjp_f32 vjp, void *user, size_t n, const float *x,
                              size_t m, int is_complex, char *text, size_t bytes);
int pleat_check_adjoint_plain_f64(pleat_map_f64 a, pleat_map_f64 adjoint, void *user, size_t n, size_t m,
                                  int is_complex, char *text, size_t bytes);
int pleat_check_adjoint_plain_f32(pleat_map_f32 a, pleat_map_f32 adjoint, void *user, size_t n, size_t m,
                                  int is_complex, char *text, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
