/*
 * script.c - the script language: a text becomes a list of operations.
 */
#include "script.h"

#include "held.h"
#include "lines.h"
#include "words.h"

#define DEFAULT_WAIT_MS 60000
#define NOT_GIVEN 0xFFFFFFFF  /* a size that no option gave */

static const struct {
    const char *name;
    VERB verb;
    const char *kind;     /* of a transfer */
    int least, most;      /* words after the verb that are no options */
    const char *options;  /* each followed by a blank */
} Verbs[] = {
    {"open", OPEN, NULL, 2, 2, "access share overlapped "},
    {"read", READ, "read", 2, 2, "times fill buffer tag "},
    {"aread", AREAD, "read", 2, 2, "tag times fill "},
    {"write", WRITE, "write", 1, 2, "hex text times fill tag "},
    {"awrite", AWRITE, "write", 1, 2, "hex text times fill tag "},
    {"ioctl", IOCTL, "ioctl", 2, 2, "in hex text out outhex times fill tag "},
    {"aioctl", AIOCTL, "ioctl", 2, 2, "in hex text out outhex times fill tag "},
    {"flush", FLUSH, "flush", 1, 1, "tag "},
    {"aflush", AFLUSH, "flush", 1, 1, "tag "},
    {"wait", WAIT, NULL, 1, 1, "timeout "},
    {"cancel", CANCEL, NULL, 1, 1, ""},
    {"sleep", SLEEP, NULL, 1, 1, ""},
    {"close", CLOSE, NULL, 1, 1, ""},
    {"exit", EXIT, NULL, 0, 1, ""},
    {"tick", TICK, NULL, 0, 0, ""},
    {"go", GO, NULL, 0, 0, ""},
    {"service", SERVICE, NULL, 2, 2, ""},
    {"gate", GATE, NULL, 3, 3, ""},  /* first operation of a process that another drvprobe started */
};

/* Sizes of buffers as far as they were given. */
typedef struct _SIZES {
    DWORD length, buffer, in, out;
} SIZES;

static DECLSPEC_NORETURN void WrongOp(const OP *op, const char *what, const char *word)
{
    Wrong(op->thread, op->target, op->text, what, word);
}

static DWORD Number(const OP *op, const char *word, DWORD base)
{
    DWORD value = 0;

    if (!ParseNumber(word, base, &value))
        WrongOp(op, "not a number", word);
    return value;
}

static DWORD Size(const OP *op, const char *word)
{
    DWORD size = Number(op, word, 10);

    if (size > MAX_BUFFER)
        WrongOp(op, "more than 0x100000 bytes", word);
    return size;
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
        WrongOp(op, "must be r, w, rw or none", word);
    return 0;
}

static GIVEN Bytes(const OP *op, char *word)
{
    GIVEN given = {(const BYTE *)word, 0};

    if (!ParseHex(word, &given.size))
        WrongOp(op, "not pairs of hexadecimal digits", word);
    if (given.size > MAX_BUFFER)
        WrongOp(op, "more than 0x100000 bytes", NULL);
    return given;
}

static GIVEN TextBytes(const OP *op, const char *word)
{
    GIVEN given = {(const BYTE *)word, 0};

    while (word[given.size])
        given.size++;
    if (given.size > MAX_BUFFER)
        WrongOp(op, "more than 0x100000 bytes", NULL);
    return given;
}

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

static void SetOption(OP *op, SIZES *sizes, const char *options, char *word)
{
    char *value = word;

    while (*value != '=')
        value++;
    if (!Allowed(options, word, (SIZE_T)(value - word)))
        WrongOp(op, "no such option here", word);
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
        sizes->buffer = Size(op, value);
    else if (Same(word, "tag"))
        op->tag = value;
    else if (Same(word, "in"))
        sizes->in = Size(op, value);
    else if (Same(word, "out"))
        sizes->out = Size(op, value);
    else if (Same(word, "hex"))
        op->data = Bytes(op, value);
    else if (Same(word, "text"))
        op->data = TextBytes(op, value);
    else if (Same(word, "outhex"))
        op->before = Bytes(op, value);
    else if (Same(word, "timeout"))
        op->ms = Number(op, value, 10);
}

/* The size of a buffer that was given as a number or as bytes, but not as both. */
static DWORD InputSize(const OP *op, DWORD size)
{
    if (op->data.bytes == NULL)
        return size == NOT_GIVEN ? 0 : size;
    if (size != NOT_GIVEN)
        WrongOp(op, "either a size or bytes", NULL);
    return op->data.size;
}

static void SetSizes(OP *op, const SIZES *sizes)
{
    switch (op->verb) {
    case READ:
    case AREAD:
        op->asked = sizes->length;
        op->out = sizes->buffer == NOT_GIVEN ? sizes->length : sizes->buffer;
        if (op->out < op->asked)
            WrongOp(op, "the buffer is smaller than the read", NULL);
        break;
    case WRITE:
    case AWRITE:
        if (sizes->length == NOT_GIVEN && op->data.bytes == NULL)
            WrongOp(op, "a number of bytes, hex= or text= is missing after", op->verb_name);
        op->in = op->asked = InputSize(op, sizes->length);
        break;
    case IOCTL:
    case AIOCTL:
        op->in = InputSize(op, sizes->in);
        op->asked = op->out = sizes->out == NOT_GIVEN ? op->before.size : sizes->out;
        if (op->out < op->before.size)
            WrongOp(op, "out is smaller than outhex", NULL);
        break;
    default:
        break;
    }
}

static BOOL IsOption(const WORDS *words, int at)
{
    const char *word = words->word[at];

    if (words->quoted[at])
        return FALSE;
    while (*word && *word != '=')
        word++;
    return *word == '=';
}

/* What the words before the options mean. */
static void SetPlain(OP *op, SIZES *sizes, char **plain)
{
    if (op->verb != SLEEP && op->verb != EXIT)
        op->target = plain[0];
    switch (op->verb) {
    case OPEN:
        op->path = plain[1];
        break;
    case SERVICE:
        op->path = plain[0];
        op->target = plain[1];
        if (!Same(op->path, "start") && !Same(op->path, "stop") && !Same(op->path, "query"))
            WrongOp(op, "must be start, stop or query", op->path);
        break;
    case GATE:
        op->in = Number(op, plain[0], 10);
        op->out = Number(op, plain[1], 10);
        op->tag = plain[2];
        break;
    case READ:
    case AREAD:
    case WRITE:
    case AWRITE:
        if (plain[1])
            sizes->length = Size(op, plain[1]);
        break;
    case IOCTL:
    case AIOCTL:
        op->code = Number(op, plain[1], 10);
        break;
    case SLEEP:
        op->ms = Number(op, plain[0], 10);
        break;
    case EXIT:
        op->code = plain[0] ? Number(op, plain[0], 10) : 0;
        break;
    default:
        break;
    }
}

/* Words into an operation. */
static OP *Build(WORDS *words)
{
    OP *op = Hold(sizeof(*op));
    SIZES sizes = {NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN};
    char *plain[3] = {NULL, NULL, NULL};
    int plains = 0, at = 0, i;
    unsigned v;

    op->text = words->text;
    op->thread = "main";
    op->access = GENERIC_READ;
    op->share = FILE_SHARE_READ;
    op->times = 1;
    op->fill = 0xCC;
    op->ms = DEFAULT_WAIT_MS;
    if (words->open)
        WrongOp(op, "a quotation mark is not closed", NULL);
    if (words->count > MAX_WORDS)
        WrongOp(op, "too many words", NULL);
    if (words->word[0][0] == '@' || words->word[0][0] == '$') {
        op->process = words->word[0][0] == '$';
        op->thread = words->word[0] + 1;
        at = 1;
        if (!*op->thread || at == words->count)
            WrongOp(op, "@NAME and $NAME need a name and an operation", NULL);
    }
    for (v = 0; v < ARRAYSIZE(Verbs) && !Same(Verbs[v].name, words->word[at]); v++)
        ;
    if (v == ARRAYSIZE(Verbs))
        WrongOp(op, "unknown operation", words->word[at]);
    op->verb = Verbs[v].verb;
    op->verb_name = Verbs[v].name;
    op->kind = Verbs[v].kind;
    if (op->verb == GO && !Same(op->thread, "main"))
        WrongOp(op, "go belongs to the main thread", NULL);

    for (i = at + 1; i < words->count && !IsOption(words, i); i++) {
        if (plains == Verbs[v].most)
            WrongOp(op, "one word too many", words->word[i]);
        plain[plains++] = words->word[i];
    }
    if (plains < Verbs[v].least)
        WrongOp(op, "a word is missing after", op->verb_name);
    SetPlain(op, &sizes, plain);
    for (; i < words->count; i++) {
        if (!IsOption(words, i))
            WrongOp(op, "options (NAME=VALUE) come last", words->word[i]);
        SetOption(op, &sizes, Verbs[v].options, words->word[i]);
    }
    SetSizes(op, &sizes);
    return op;
}

OP *Parse(char *script)
{
    OP *first = NULL, **last = &first;
    WORDS words;

    while (NextWords(&script, &words)) {
        *last = Build(&words);
        last = &(*last)->next;
    }
    return first;
}
