/* width.h: numbers at the end of what can be counted, where size_t has 64 bits and where it has 32. */
#ifndef WIDTH_H
#define WIDTH_H

#include <stddef.h>
#include <stdint.h>

#if SIZE_MAX > 0xffffffff
#    define BY_WIDTH(of_64, of_32) of_64
#else
#    define BY_WIDTH(of_64, of_32) of_32
#endif

/* A size whose square no size_t holds, though itself it is far from the end; and as a text. */
#define LARGE_SIDE ((size_t)1 << BY_WIDTH(40, 20))
#define LARGE_TEXT BY_WIDTH("1099511627776", "1048576")

/* As texts: SIZE_MAX, PTRDIFF_MAX and the number behind it, numbers a little below, and PTRDIFF_MAX / 2 + 1. */
#define SIZE_MOST BY_WIDTH("18446744073709551615", "4294967295")
#define STEP_MOST BY_WIDTH("9223372036854775807", "2147483647")
#define STEP_OVER BY_WIDTH("9223372036854775808", "2147483648")
#define STEP_NEAR BY_WIDTH("9223372036854775000", "2147483000")
#define STEP_HALF BY_WIDTH("4611686018427387904", "1073741824")

#endif
