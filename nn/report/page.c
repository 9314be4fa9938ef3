/* A page that grows in memory. */
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"

static bool grow(pln_page *p, size_t more) {
    size_t need, room = p->room ? p->room : 4096;
    if (__builtin_add_overflow(p->length, more, &need)) return false;
    while (room < need)
        if (__builtin_mul_overflow(room, (size_t)2, &room)) return false;
    char *text = room > p->room ? realloc(p->text, room) : p->text;
    if (!text) return false;
    p->text = text, p->room = room;
    return true;
}

bool pln_put(pln_page *p, const void *bytes, size_t n) {
    if (p->lost || !n) return !p->lost;
    p->lost = !grow(p, n);
    if (p->lost) return false;
    memcpy(p->text + p->length, bytes, n);
    p->length += n;
    return true;
}

void pln_html(pln_page *p, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    p->lost = p->lost || n < 0 || !grow(p, (size_t)n + 1); /* vsnprintf ends with a byte of 0 */
    if (!p->lost) {
        vsnprintf(p->text + p->length, (size_t)n + 1, format, again);
        p->length += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

/* ---- texts --------------------------------------------------------------------------------------------- */

/* The character at `text` and its length. A byte of invalid UTF-8 (truncated, overlong, a surrogate, over
 * 10FFFF) or of a noncharacter (FFFE, FFFF) is replaced by U+FFFD. */
static size_t character(const char *text, uint32_t *code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *s = (const uint8_t *)text;
    size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    *code = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (s[i] >> 6 == 2)
            *code = *code << 6 | (s[i] & 63);
        else
            n = 0;
    }
    bool surrogate = *code >> 11 == 0xd800 >> 11, none = (*code & 0xfffe) == 0xfffe;
    if (n && *code >= least[n] && *code <= 0x10ffff && !surrogate && !none) return n;
    *code = 0xfffd;
    return 1;
}

static const char *escape_of(uint32_t code) {
    switch (code) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case 0xfffd:
        return "\xef\xbf\xbd";
    case '\n':
    case '\t':
        return NULL;
    default:
        return code < 0x20 || (code >= 0x7f && code < 0xa0) ? "" : NULL;
    }
}

void pln_text(pln_page *p, const char *text) {
    uint32_t code;
    for (size_t n; text && *text; text += n) {
        n = character(text, &code);
        const char *escape = escape_of(code);
        if (escape)
            pln_put(p, escape, strlen(escape));
        else
            pln_put(p, text, n);
    }
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

/* Three bytes are four digits of six bits; "=" pads the last digits. */
void pln_base64(pln_page *p, const void *bytes, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t bits =
            (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0);
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], left > 1 ? digits[bits >> 6 & 63] : '=',
                        left > 2 ? digits[bits & 63] : '='};
        pln_put(p, four, 4);
    }
}
