/* "Did you mean ...?": of some words, the one that a mistyped word comes nearest to. */
#ifndef EXAMPLES_GUESS_H
#define EXAMPLES_GUESS_H

#include <stddef.h>

typedef struct guess {
    const char *typed;
    size_t length;   /* of typed, which may go on behind it */
    const char *is;  /* the nearest word so far; NULL: none is near */
    size_t distance; /* its edit distance */
} guess;

/* Begin with {typed, length}, then consider each word. Upper and lower case, -, _ and dashes in front are no
 * differences. */
void guess_consider(guess *n, const char *word);
/* Words with a NULL behind the last. */
void guess_consider_all(guess *n, const char *const *words);

/* "; did you mean WORD?", or "" if none is near. Returns buffer. guess_separator is what may follow it. */
const char *guess_separator(const guess *n);
char *guess_question(const guess *n, char *buffer, size_t bytes);

#endif
