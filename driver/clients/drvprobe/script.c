/*
 * script.c - the script language: a text becomes a list of operations.
 */
#include "script.h"

#include "report.h"

#define MAX_WORDS 16
#define DEFAULT_WAIT_MS 60000

static BOOL ParseNumber(const char *word, DWORD base, DWORD *value)
{
    ULONGLONG sum = 0;

    if (word[0] == '0' && (word[1] == 'x' || word[1] == 'X')) {
        base = 16;
        word += 2;
    }
    if (!*word)
        return FALSE;
    for (; *word; word++) {
        DWORD digit;

        if (*word >= '0' && *word <= '9')
            digit = (DWORD)(*word - '0');
        else if (*word >= 'a' && *word <= 'f')
            digit = (DWORD)(*word - 'a' + 10);
        else if (*word >= 'A' && *word <= 'F')
            digit = (DWORD)(*word - 'A' + 10);
        else
            return FALSE;
        if (digit >= base)
            return FALSE;
        sum = sum * base + digit;
        if (sum > 0xFFFFFFFF)
            return FALSE;
    }
    *value = (DWORD)sum;
    return TRUE;
}

static DWORD Number(const OP *op, const char *word, DWORD base)
{
    DWORD value = 0;

    if (!ParseNumber(word, base, &value))
        Wrong(op->thread, op->target, op->text, "not a number", word);
    return value;
}

/* r, w, rw and none, as a set of two bits */
static DWORD Rights(const OP *op, const char *word, DWORD read, DWORD write)
{
    if (Same(word, "r"))
        return read;
    if (Same(word, "w"))
        return write;
    if (Same(word, "rw"))
        return read | write;
    if (!Same(word, "none") && *word)
        Wrong(op->thread, op->target, op->text, "must be r, w, rw or none", word);
    return 0;
}

static const struct {
    const char *name;
    VERB verb;
    int least, most;      /* words after the verb that are no options */
    const char *options;  /* each followed by a blank */
} Verbs[] = {
    {"open", OPEN, 2, 2, "access share overlapped "},
    {"read", READ, 2, 2, "times fill buffer tag "},
    {"aread", AREAD, 2, 2, "tag times fill "},
    {"wait", WAIT, 1, 1, "timeout "},
    {"cancel", CANCEL, 1, 1, ""},
    {"write", WRITE, 2, 2, "tag "},
    {"ioctl", IOCTL, 2, 2, "in out tag "},
    {"sleep", SLEEP, 1, 1, ""},
    {"close", CLOSE, 1, 1, ""},
    {"exit", EXIT, 0, 1, ""},
    {"tick", TICK, 0, 0, ""},
    {"go", GO, 0, 0, ""},
    {"service", SERVICE, 2, 2, ""},
    {"gate", GATE, 3, 3, ""},  /* first operation of a process that another drvprobe started */
};

/* Whether the option NAME= of this word is in the list of a verb. */
static BOOL Allowed(const char *options, const char *word, SIZE_T size)
{
    while (*options) {
        SIZE_T i = 0;

        while (options[i] != ' ')
            i++;
        if (i == size) {
            SIZE_T k = 0;

            while (k < size && options[k] == word[k])
                k++;
            if (k == size)
                return TRUE;
        }
        options += i + 1;
    }
    return FALSE;
}

static void SetOption(OP *op, const char *options, char *word)
{
    char *value = word;

    while (*value != '=')
        value++;
    if (!Allowed(options, word, (SIZE_T)(value - word)))
        Wrong(op->thread, op->target, op->text, "no such option here", word);
    *value++ = 0;
    if (Same(word, "access"))
        op->access = Rights(op, value, GENERIC_READ, GENERIC_WRITE);
    else if (Same(word, "share"))
        op->share = Rights(op, value, FILE_SHARE_READ, FILE_SHARE_WRITE);
    else if (Same(word, "overlapped"))
        op->overlapped = Number(op, value, 10);
    else if (Same(word, "times"))
        op->times = Number(op, value, 10);
    else if (Same(word, "fill"))
        op->fill = Number(op, value, 16) & 0xFF;
    else if (Same(word, "buffer"))
        op->buffer = Number(op, value, 10);
    else if (Same(word, "tag"))
        op->tag = value;
    else if (Same(word, "in"))
        op->in = Number(op, value, 10);
    else if (Same(word, "out"))
        op->out = Number(op, value, 10);
    else if (Same(word, "timeout"))
        op->ms = Number(op, value, 10);
}

static BOOL HasEquals(const char *word)
{
    while (*word && *word != '=')
        word++;
    return *word == '=';
}

/* Words into an operation. */
static OP *Build(char **words, int count, const char *text)
{
    OP *op = Take(sizeof(*op));
    const char *plain[3] = {NULL, NULL, NULL};
    int plains = 0, at = 0, i;
    unsigned v;

    op->text = text;
    op->thread = "main";
    op->access = GENERIC_READ;
    op->share = FILE_SHARE_READ;
    op->times = 1;
    op->fill = 0xCC;
    op->ms = DEFAULT_WAIT_MS;
    if (words[0][0] == '@' || words[0][0] == '$') {
        op->process = words[0][0] == '$';
        op->thread = words[0] + 1;
        at = 1;
        if (!*op->thread || at == count)
            Wrong(op->thread, NULL, text, "@NAME and $NAME need a name and an operation", NULL);
    }
    for (v = 0; v < ARRAYSIZE(Verbs) && !Same(Verbs[v].name, words[at]); v++)
        ;
    if (v == ARRAYSIZE(Verbs))
        Wrong(op->thread, NULL, text, "unknown operation", words[at]);
    op->verb = Verbs[v].verb;
    op->verb_name = Verbs[v].name;
    if (op->verb == GO && !Same(op->thread, "main"))
        Wrong(op->thread, NULL, text, "go belongs to the main thread", NULL);

    for (i = at + 1; i < count && !HasEquals(words[i]); i++) {
        if (plains == Verbs[v].most)
            Wrong(op->thread, NULL, text, "one word too many", words[i]);
        plain[plains++] = words[i];
    }
    if (plains < Verbs[v].least)
        Wrong(op->thread, NULL, text, "a word is missing after", op->verb_name);
    if (op->verb != SLEEP && op->verb != EXIT)
        op->target = plain[0];
    for (; i < count; i++) {
        if (!HasEquals(words[i]))
            Wrong(op->thread, op->target, text, "options (NAME=VALUE) come last", words[i]);
        SetOption(op, Verbs[v].options, words[i]);
    }

    if (op->verb == OPEN) {
        op->path = plain[1];
    } else if (op->verb == SERVICE) {
        op->path = plain[0];
        op->target = plain[1];
        if (!Same(op->path, "start") && !Same(op->path, "stop") && !Same(op->path, "query"))
            Wrong(op->thread, op->target, text, "must be start, stop or query", op->path);
    } else if (op->verb == GATE) {
        op->in = Number(op, plain[0], 10);
        op->out = Number(op, plain[1], 10);
        op->tag = plain[2];
    } else if (op->verb == READ || op->verb == AREAD || op->verb == WRITE) {
        op->length = Number(op, plain[1], 10);
    } else if (op->verb == IOCTL) {
        op->code = Number(op, plain[1], 10);
    } else if (op->verb == SLEEP) {
        op->ms = Number(op, plain[0], 10);
    } else if (op->verb == EXIT) {
        op->code = plain[0] ? Number(op, plain[0], 10) : 0;
    }

    if (op->buffer == 0)
        op->buffer = op->length;
    if (op->buffer < op->length)
        Wrong(op->thread, op->target, text, "the buffer is smaller than the read", NULL);
    return op;
}

BOOL Blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

OP *Parse(char *script)
{
    OP *first = NULL, **last = &first;

    for (;;) {
        char *words[MAX_WORDS], *start, *text;
        int count = 0;
        SIZE_T size;

        while (*script == ';' || *script == '\n' || Blank(*script))
            script++;
        if (!*script)
            return first;
        if (*script == '#') {
            while (*script && *script != '\n')
                script++;
            continue;
        }
        start = script;
        while (*script && *script != ';' && *script != '\n')
            script++;
        size = (SIZE_T)(script - start);
        text = Take(size + 1);
        Copy(text, start, size);
        if (*script)
            *script++ = 0;
        while (*start) {
            while (Blank(*start))
                *start++ = 0;
            if (!*start || *start == '#')
                break;
            if (count == MAX_WORDS)
                Wrong("main", NULL, text, "too many words", NULL);
            words[count++] = start;
            while (*start && !Blank(*start))
                start++;
        }
        *last = Build(words, count, text);
        last = &(*last)->next;
    }
}
