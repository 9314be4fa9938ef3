#include "guess.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 40 };

/* The letters and digits alone, in lower case. Returns their number. */
static size_t plain(const char *word, size_t length, char *to) {
    size_t n = 0;
    for (size_t i = 0; i < length && word[i] != 0 && n < LONGEST; i++) {
        char c = word[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) to[n++] = c;
    }
    return n;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* The number of letters to insert, to delete, to replace, or to exchange with their neighbour (optimal string
 * alignment). */
static size_t edits(const char *a, size_t n, const char *b, size_t m) {
    size_t d[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n][m];
}

/* Is one the beginning of the other, as in --pad and --kernel-size, or a part of it, as in --num-epochs? */
static bool contains(const char *a, size_t n, const char *b, size_t m) {
    if (n < m) return contains(b, m, a, n);
    for (size_t at = 0; at + m <= n; at++)
        if (memcmp(a + at, b, m) == 0) return m >= (at == 0 ? 3 : 5);
    return false;
}

void guess_consider(guess *n, const char *word) {
    char a[LONGEST], b[LONGEST];
    size_t typed = plain(n->typed, n->length, a), length = plain(word, LONGEST, b);
    size_t distance = edits(a, typed, b, length);
    if (typed == 0 || (distance > 1 + typed / 4 && !contains(a, typed, b, length))) return;
    if (n->is != NULL && n->distance <= distance) return;
    n->is = word, n->distance = distance;
}

void guess_consider_all(guess *n, const char *const *words) {
    for (; *words != NULL; words++) guess_consider(n, *words);
}

char *guess_question(const guess *n, char *buffer, size_t bytes) {
    if (n->is != NULL)
        snprintf(buffer, bytes, "; did you mean %s?", n->is);
    else
        buffer[0] = 0;
    return buffer;
}

const char *guess_separator(const guess *n) { return n->is != NULL ? " " : "; "; }
