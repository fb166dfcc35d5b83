/*
 * drvprobe.c - runs a small script of device operations and prints one JSON line for each.
 *
 *     drvprobe SCRIPT...      the script as arguments, joined by blanks
 *     drvprobe @FILE          the script in a file
 *     drvprobe -              the script on standard input
 *
 * The script language and the lines are described in driver/README.md. Ends with 0 when the script ran to its end,
 * whatever the Win32 errors on the way were; with 2 when the script is wrong; with CODE after `exit CODE`.
 *
 * `@NAME operation` lists an operation for a thread, `$NAME operation` for a process of its own; `go` starts all that are
 * listed, lets them loose at the same moment when each of them is ready, and waits for their ends. A process prints through
 * its parent, so that there is one run of line numbers.
 *
 * Starting a process is the dearest thing in an emulated guest, so one run does many operations, and the program
 * imports nothing but kernel32. All names that are newer than NT 5.2 are looked up at run time, and advapi32 is loaded
 * only by a script that speaks to the service manager.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define EXIT_WRONG_SCRIPT 2
#define MAX_WORDS 16
#define DEFAULT_WAIT_MS 60000
#define THREAD_STACK (64 * 1024)

typedef enum { OPEN, READ, AREAD, WAIT, CANCEL, WRITE, IOCTL, SLEEP, CLOSE, EXIT, TICK, GO, SERVICE, GATE } VERB;

typedef struct _OP {
    struct _OP *next;
    VERB verb;
    const char *verb_name;
    const char *thread;   /* list it belongs to; "main" runs at once */
    BOOL process;         /* the list is for a process of its own */
    const char *text;     /* as written, for messages */
    const char *target;   /* handle, or tag, or "all" */
    const char *path;     /* of an open; start, stop or query of a service */
    const char *tag;
    DWORD access, share, overlapped;
    DWORD length, times, buffer, fill;
    DWORD code, in, out, ms;
} OP;

typedef struct _DEVICE {
    struct _DEVICE *next;
    const char *name;
    HANDLE handle;
    BOOL overlapped;
    BOOL open;            /* false after close: the name is free again */
} DEVICE;

typedef enum { UNDER_WAY, COLLECTED } STATE;

typedef struct _PENDED {
    struct _PENDED *next;  /* in order of issue */
    const char *handle_name;
    const char *tag;
    HANDLE handle;
    OVERLAPPED overlapped;
    BYTE *buffer;
    DWORD asked, fill;
    STATE state;
    BOOL claimed;          /* some thread is collecting it */
    BOOL finished;
    ULONGLONG start, end;
} PENDED;

typedef struct _TEXT {
    char *data;
    SIZE_T length, room;
} TEXT;

typedef struct _THREAD {
    struct _THREAD *next;
    const char *name;
    OP *first, **last;
    HANDLE done;           /* signalled when all of it is done */
    BOOL process;
    HANDLE child, output;  /* the process, and the pipe that it writes to */
} THREAD;

typedef BOOL (WINAPI *CANCEL_IO_EX)(HANDLE, LPOVERLAPPED);

static CRITICAL_SECTION Lock;        /* protects the lists */
static CRITICAL_SECTION OutputLock;  /* one line at a time */
static DWORD Sequence;
static DEVICE *Devices;
static PENDED *FirstPended, **LastPended = &FirstPended;
static CANCEL_IO_EX CancelEx;
static HANDLE Barrier;
static LONG volatile Ready;
static const char *MainName = "main";  /* what the main thread is called in the lines; a process has the parent's name for it */

/* ---- memory and text ------------------------------------------------------------------------------------------ */

#ifdef LAB_FREESTANDING /* the compiler calls these two on its own */
void *memcpy(void *target, const void *source, size_t size)
{
    char *to = target;
    const char *from = source;

    while (size--)
        *to++ = *from++;
    return target;
}

void *memset(void *target, int value, size_t size)
{
    char *to = target;

    while (size--)
        *to++ = (char)value;
    return target;
}
#endif

static void *Take(SIZE_T size)
{
    void *memory = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, size ? size : 1);

    if (memory == NULL)
        ExitProcess(ERROR_NOT_ENOUGH_MEMORY);
    return memory;
}

static void Drop(void *memory)
{
    HeapFree(GetProcessHeap(), 0, memory);
}

static void Copy(void *target, const void *source, SIZE_T size)
{
    SIZE_T i;

    for (i = 0; i < size; i++)
        ((char *)target)[i] = ((const char *)source)[i];
}

static void Fill(BYTE *target, DWORD value, SIZE_T size)
{
    while (size--)
        *target++ = (BYTE)value;
}

static SIZE_T Length(const char *text)
{
    SIZE_T length = 0;

    while (text[length])
        length++;
    return length;
}

static BOOL Same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static void AddBytes(TEXT *text, const char *bytes, SIZE_T size)
{
    if (text->length + size > text->room) {
        SIZE_T room = (text->length + size) * 2 + 256;
        char *data = Take(room);

        Copy(data, text->data, text->length);
        if (text->data)
            Drop(text->data);
        text->data = data;
        text->room = room;
    }
    Copy(text->data + text->length, bytes, size);
    text->length += size;
}

static void Add(TEXT *text, const char *string)
{
    AddBytes(text, string, Length(string));
}

static void AddNumber(TEXT *text, ULONGLONG value)
{
    char digits[21];
    int at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    AddBytes(text, digits + at, sizeof(digits) - at);
}

static void AddHex(TEXT *text, const BYTE *bytes, SIZE_T size)
{
    static const char digits[] = "0123456789abcdef";
    SIZE_T i;

    for (i = 0; i < size; i++) {
        char pair[2];

        pair[0] = digits[bytes[i] >> 4];
        pair[1] = digits[bytes[i] & 15];
        AddBytes(text, pair, 2);
    }
}

/* Bytes of the UTF-8 character that starts here; 0 when there is none. */
static SIZE_T CharacterSize(const BYTE *at, SIZE_T left)
{
    SIZE_T size, i;

    if (at[0] < 0x80)
        return 1;
    if (at[0] >= 0xC2 && at[0] <= 0xDF)
        size = 2;
    else if ((at[0] & 0xF0) == 0xE0)
        size = 3;
    else if (at[0] >= 0xF0 && at[0] <= 0xF4)
        size = 4;
    else
        return 0;
    if (size > left)
        return 0;
    for (i = 1; i < size; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F)     /* too long; a surrogate */
        || (at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F)) /* too long; beyond Unicode */
        return 0;
    return size;
}

/* Characters that some readers take for the end of a line: U+0080 to U+009F, U+2028, U+2029. */
static BOOL BreaksLine(const BYTE *at, SIZE_T size)
{
    if (size == 2)
        return at[0] == 0xC2 && at[1] < 0xA0;
    return size == 3 && at[0] == 0xE2 && at[1] == 0x80 && (at[2] == 0xA8 || at[2] == 0xA9);
}

/* A JSON string of UTF-8 bytes; each byte that is not UTF-8 becomes U+FFFD. */
static void AddString(TEXT *text, const BYTE *bytes, SIZE_T size)
{
    SIZE_T at = 0;

    Add(text, "\"");
    while (at < size) {
        SIZE_T step = CharacterSize(bytes + at, size - at);

        if (step == 0) {
            Add(text, "\\ufffd");
            step = 1;
        } else if (step == 1 && bytes[at] < 0x20) {
            Add(text, "\\u00");
            AddHex(text, bytes + at, 1);
        } else if (BreaksLine(bytes + at, step)) {
            Add(text, step == 2 ? "\\u00" : bytes[at + 2] == 0xA8 ? "\\u2028" : "\\u2029");
            AddHex(text, bytes + at + 1, step == 2);
        } else {
            if (bytes[at] == '"' || bytes[at] == '\\')
                Add(text, "\\");
            AddBytes(text, (const char *)bytes + at, step);
        }
        at += step;
    }
    Add(text, "\"");
}

static void AddWord(TEXT *text, const char *word)
{
    if (word)
        AddString(text, (const BYTE *)word, Length(word));
    else
        Add(text, "null");
}

/* ---- clock and output ----------------------------------------------------------------------------------------- */

static ULONGLONG Now(void)
{
    LARGE_INTEGER count, frequency;
    ULONGLONG c, f;

    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    c = (ULONGLONG)count.QuadPart;
    f = (ULONGLONG)frequency.QuadPart;
    return c / f * 1000000 + c % f * 1000000 / f;  /* in two parts: the product alone would overflow */
}

/* `{"seq":n,` + body + `}` and a newline, in one write. */
static void PutLine(const TEXT *body)
{
    TEXT line = {0};
    SIZE_T done = 0;

    EnterCriticalSection(&OutputLock);
    Add(&line, "{\"seq\":");
    AddNumber(&line, ++Sequence);
    AddBytes(&line, body->data, body->length);
    Add(&line, "}\n");
    while (done < line.length) {
        DWORD written = 0;

        if (!WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), line.data + done, (DWORD)(line.length - done), &written, NULL)
            || written == 0)
            ExitProcess(ERROR_BROKEN_PIPE);  /* nobody reads any more */
        done += written;
    }
    LeaveCriticalSection(&OutputLock);
    Drop(line.data);
}

typedef struct _RESULT {
    const char *op, *thread, *handle, *tag;
    BOOL transfers;        /* asked and returned make sense */
    ULONGLONG asked, returned;
    DWORD error;
    const BYTE *buffer;    /* NULL: no data */
    DWORD size, fill;      /* of the buffer */
    ULONGLONG start, end;
} RESULT;

static void Report(const RESULT *result)
{
    TEXT body = {0};
    DWORD held = result->returned < result->size ? (DWORD)result->returned : result->size;
    DWORD i;

    Add(&body, ",\"op\":");
    AddWord(&body, result->op);
    Add(&body, ",\"thread\":");
    AddWord(&body, result->thread);
    Add(&body, ",\"handle\":");
    AddWord(&body, result->handle);
    Add(&body, ",\"tag\":");
    AddWord(&body, result->tag);
    if (result->transfers) {
        Add(&body, ",\"asked\":");
        AddNumber(&body, result->asked);
        Add(&body, ",\"returned\":");
        AddNumber(&body, result->returned);
    } else {
        Add(&body, ",\"asked\":null,\"returned\":null");
    }
    Add(&body, ",\"error\":");
    AddNumber(&body, result->error);
    if (result->buffer) {
        Add(&body, ",\"data\":\"");
        AddHex(&body, result->buffer, held);
        Add(&body, "\",\"text\":");
        for (i = 0; i < held && result->buffer[i]; i++)
            ;
        AddString(&body, result->buffer, i);
        for (i = held; i < result->size && result->buffer[i] == (BYTE)result->fill; i++)
            ;
        Add(&body, i >= result->size ? ",\"tail_intact\":true" : ",\"tail_intact\":false");
    } else {
        Add(&body, ",\"data\":null,\"text\":null,\"tail_intact\":null");
    }
    Add(&body, ",\"start_us\":");
    AddNumber(&body, result->start);
    Add(&body, ",\"end_us\":");
    AddNumber(&body, result->end);
    PutLine(&body);
    Drop(body.data);
}

/* The script is wrong: say where and leave. */
static DECLSPEC_NORETURN void Wrong(const char *thread, const char *handle, const char *text, const char *what, const char *word)
{
    TEXT body = {0}, message = {0};

    Add(&message, what);
    if (word) {
        Add(&message, ": ");
        Add(&message, word);
    }
    Add(&body, ",\"op\":\"error\",\"thread\":");
    AddWord(&body, thread);
    Add(&body, ",\"handle\":");
    AddWord(&body, handle);
    Add(&body, ",\"message\":");
    AddString(&body, (const BYTE *)message.data, message.length);
    Add(&body, ",\"text\":");
    AddWord(&body, text);
    PutLine(&body);
    ExitProcess(EXIT_WRONG_SCRIPT);
    for (;;)  /* not reached */
        ;
}

/* ---- reading the script --------------------------------------------------------------------------------------- */

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

static BOOL Blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The whole script, cut in place into operations. */
static OP *Parse(char *script)
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

/* ---- handles and pended reads --------------------------------------------------------------------------------- */

static DEVICE *FindDevice(const char *name)
{
    DEVICE *device;

    EnterCriticalSection(&Lock);
    for (device = Devices; device && !(device->open && Same(device->name, name)); device = device->next)
        ;
    LeaveCriticalSection(&Lock);
    return device;
}

static DEVICE *Device(const OP *op)
{
    DEVICE *device = FindDevice(op->target);

    if (device == NULL)
        Wrong(op->thread, op->target, op->text, "no handle was opened under this name", op->target);
    return device;
}

static const char *Shown(const OP *op)
{
    return Same(op->thread, "main") ? MainName : op->thread;
}

static RESULT Started(const OP *op)
{
    RESULT result = {0};

    result.op = op->verb_name;
    result.thread = Shown(op);
    result.tag = op->tag;
    result.handle = op->target;
    result.start = Now();
    return result;
}

static void Finish(RESULT *result, DWORD error)
{
    result->end = Now();
    result->error = error;
    Report(result);
}

static void DoOpen(const OP *op)
{
    RESULT result = Started(op);
    DEVICE *device = Take(sizeof(*device));
    int size = MultiByteToWideChar(CP_UTF8, 0, op->path, -1, NULL, 0);
    WCHAR *path = Take((SIZE_T)size * sizeof(WCHAR));
    DWORD error = 0;

    if (FindDevice(op->target))
        Wrong(op->thread, op->target, op->text, "this name is in use", op->target);
    MultiByteToWideChar(CP_UTF8, 0, op->path, -1, path, size);
    device->name = op->target;
    device->overlapped = op->overlapped != 0;
    device->open = TRUE;
    result.start = Now();
    device->handle = CreateFileW(path, op->access, op->share, NULL, OPEN_EXISTING,
                                 FILE_ATTRIBUTE_NORMAL | (op->overlapped ? FILE_FLAG_OVERLAPPED : 0), NULL);
    if (device->handle == INVALID_HANDLE_VALUE)
        error = GetLastError();
    /* A failed open keeps its name: what the script does with it next fails with error 6, as it would in a program. */
    EnterCriticalSection(&Lock);
    device->next = Devices;
    Devices = device;
    LeaveCriticalSection(&Lock);
    Finish(&result, error);
    Drop(path);
}

static void DoClose(const OP *op)
{
    DEVICE *device = Device(op);
    RESULT result = Started(op);
    BOOL done;
    DWORD error;

    EnterCriticalSection(&Lock);
    device->open = FALSE;
    LeaveCriticalSection(&Lock);
    done = CloseHandle(device->handle);
    error = done ? 0 : GetLastError();
    Finish(&result, error);
}

static HANDLE NewEvent(void)
{
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);

    if (event == NULL)
        ExitProcess(GetLastError());
    return event;
}

typedef BOOL (*TRANSFER)(HANDLE handle, const OP *op, BYTE *in, BYTE *out, DWORD *moved, OVERLAPPED *overlapped);

static BOOL TransferRead(HANDLE handle, const OP *op, BYTE *in, BYTE *out, DWORD *moved, OVERLAPPED *overlapped)
{
    (void)in;
    return ReadFile(handle, out, op->length, moved, overlapped);
}

static BOOL TransferWrite(HANDLE handle, const OP *op, BYTE *in, BYTE *out, DWORD *moved, OVERLAPPED *overlapped)
{
    (void)out;
    return WriteFile(handle, in, op->length, moved, overlapped);
}

static BOOL TransferControl(HANDLE handle, const OP *op, BYTE *in, BYTE *out, DWORD *moved, OVERLAPPED *overlapped)
{
    return DeviceIoControl(handle, op->code, op->in ? in : NULL, op->in, op->out ? out : NULL, op->out, moved, overlapped);
}

/* One transfer that has ended when this returns, on either kind of handle. */
static DWORD Transfer(DEVICE *device, const OP *op, TRANSFER transfer, BYTE *in, BYTE *out, ULONGLONG *returned)
{
    OVERLAPPED overlapped = {0};
    DWORD moved = 0, error = 0;

    if (device->overlapped)
        overlapped.hEvent = NewEvent();
    if (!transfer(device->handle, op, in, out, &moved, device->overlapped ? &overlapped : NULL))
        error = GetLastError();
    if (device->overlapped) {
        if (error == ERROR_IO_PENDING || error == 0) {
            error = 0;
            moved = 0;
            if (!GetOverlappedResult(device->handle, &overlapped, &moved, TRUE))
                error = GetLastError();
        }
        CloseHandle(overlapped.hEvent);
    }
    *returned = moved;
    return error;
}

static void DoTransfer(const OP *op, TRANSFER transfer)
{
    DEVICE *device = Device(op);
    BOOL reads = op->verb == READ, controls = op->verb == IOCTL;
    DWORD in_size = reads ? 0 : controls ? op->in : op->length;
    DWORD out_size = reads ? op->buffer : controls ? op->out : 0;
    BYTE *in = Take(in_size), *out = Take(out_size);
    DWORD i;

    Fill(in, op->fill, in_size);
    for (i = 0; i < op->times; i++) {
        RESULT result;
        DWORD error;

        Fill(out, op->fill, out_size);
        result = Started(op);
        error = Transfer(device, op, transfer, in, out, &result.returned);
        result.transfers = TRUE;
        result.asked = controls ? op->out : op->length;
        if (reads || controls) {
            result.buffer = out;
            result.size = out_size;
            result.fill = op->fill;
        }
        Finish(&result, error);
    }
    Drop(in);
    Drop(out);
}

static void DoAsyncRead(const OP *op)
{
    DEVICE *device = Device(op);
    DWORD i;

    for (i = 0; i < op->times; i++) {
        PENDED *pended = Take(sizeof(*pended));
        RESULT result;
        DWORD moved = 0, error = 0;

        pended->handle_name = op->target;
        pended->tag = op->tag;
        pended->handle = device->handle;
        pended->buffer = Take(op->length);
        pended->asked = op->length;
        pended->fill = op->fill;
        pended->overlapped.hEvent = NewEvent();
        Fill(pended->buffer, op->fill, op->length);

        EnterCriticalSection(&Lock);
        *LastPended = pended;
        LastPended = &pended->next;
        pended->claimed = TRUE;  /* until it is issued */
        LeaveCriticalSection(&Lock);

        result = Started(op);
        pended->start = result.start;
        if (!ReadFile(device->handle, pended->buffer, op->length, NULL, &pended->overlapped))
            error = GetLastError();
        if (error == 0)
            GetOverlappedResult(device->handle, &pended->overlapped, &moved, FALSE);
        result.transfers = TRUE;
        result.asked = op->length;
        result.returned = moved;
        Finish(&result, error);

        EnterCriticalSection(&Lock);
        pended->claimed = FALSE;
        if (error != 0 && error != ERROR_IO_PENDING)
            pended->state = COLLECTED;  /* it never got under way: there is nothing to wait for */
        LeaveCriticalSection(&Lock);
    }
}

static void Collect(const OP *op, PENDED *pended, DWORD error)
{
    RESULT result = {0};
    DWORD moved = 0;

    if (error == 0 && !GetOverlappedResult(pended->handle, &pended->overlapped, &moved, FALSE))
        error = GetLastError();
    result.op = op->verb_name;
    result.thread = Shown(op);
    result.handle = pended->handle_name;
    result.tag = pended->tag;
    result.transfers = TRUE;
    result.asked = pended->asked;
    result.returned = moved;
    result.error = error;
    result.start = pended->start;
    result.end = pended->end;
    if (pended->finished) {  /* the driver may still write to the buffer of one that timed out */
        result.buffer = pended->buffer;
        result.size = pended->asked;
        result.fill = pended->fill;
    }
    Report(&result);
}

static BOOL Matches(const PENDED *pended, const char *target)
{
    return Same(target, "all") || (pended->tag && Same(pended->tag, target));
}

/* Claim what is to be waited for; the number of reads, in order of issue. */
static DWORD Claim(const OP *op, PENDED ***claimed)
{
    DWORD count = 0, known = 0;
    PENDED *pended;

    EnterCriticalSection(&Lock);
    for (pended = FirstPended; pended; pended = pended->next)
        count++;
    *claimed = Take(count * sizeof(**claimed));
    count = 0;
    for (pended = FirstPended; pended; pended = pended->next) {
        if (!Matches(pended, op->target))
            continue;
        known++;
        if (pended->state == UNDER_WAY && !pended->claimed) {
            pended->claimed = TRUE;
            (*claimed)[count++] = pended;
        }
    }
    LeaveCriticalSection(&Lock);
    if (known == 0 && !Same(op->target, "all"))
        Wrong(op->thread, NULL, op->text, "no read was issued under this tag", op->target);
    return count;
}

/* Wait until one more of these has finished or the time is over, and stamp all that have. FALSE: time over. */
static BOOL WaitMore(PENDED **reads, DWORD count, ULONGLONG deadline)
{
    HANDLE events[MAXIMUM_WAIT_OBJECTS];
    DWORD waiting = 0, waited, i;
    ULONGLONG now = Now();
    ULONGLONG left = now < deadline ? (deadline - now + 999) / 1000 : 0;

    for (i = 0; i < count && waiting < MAXIMUM_WAIT_OBJECTS; i++)
        if (!reads[i]->finished)
            events[waiting++] = reads[i]->overlapped.hEvent;
    waited = WaitForMultipleObjects(waiting, events, FALSE, (DWORD)(left < 0x7FFFFFFF ? left : 0x7FFFFFFF));
    if (waited == WAIT_FAILED)
        ExitProcess(GetLastError());
    now = Now();
    for (i = 0; i < count; i++)
        if (!reads[i]->finished && WaitForSingleObject(reads[i]->overlapped.hEvent, 0) == WAIT_OBJECT_0) {
            reads[i]->finished = TRUE;
            reads[i]->end = now;
        }
    return waited != WAIT_TIMEOUT;
}

/*
 * Lines come in the order of issue; the times in them are those at which each read was seen to end, so that
 * reads which end out of order can be told.
 */
static void DoWait(const OP *op)
{
    ULONGLONG deadline = Now() + (ULONGLONG)op->ms * 1000;
    BOOL in_time = TRUE;
    PENDED **reads;
    DWORD count = Claim(op, &reads), at = 0;

    while (at < count) {
        if (!reads[at]->finished && in_time) {
            in_time = WaitMore(reads + at, count - at, deadline);
            continue;
        }
        if (!reads[at]->finished)
            reads[at]->end = Now();
        Collect(op, reads[at], reads[at]->finished ? 0 : WAIT_TIMEOUT);
        EnterCriticalSection(&Lock);
        reads[at]->claimed = FALSE;
        if (reads[at]->finished) {
            reads[at]->state = COLLECTED;
            CloseHandle(reads[at]->overlapped.hEvent);
        }
        LeaveCriticalSection(&Lock);
        at++;
    }
    Drop(reads);
}

static DWORD CancelOne(HANDLE handle, OVERLAPPED *overlapped)
{
    BOOL done;

    /* Before NT 6.0 only all reads of a handle that the calling thread issued can be cancelled. */
    done = CancelEx ? CancelEx(handle, overlapped) : CancelIo(handle);
    return done ? 0 : GetLastError();
}

/* error 0: at least one request to cancel was accepted; `returned` counts them. */
static void DoCancel(const OP *op)
{
    RESULT result = Started(op);
    DWORD error = ERROR_NOT_FOUND;
    BOOL all = Same(op->target, "all"), tagged = FALSE, first = TRUE;
    DEVICE *device;
    PENDED *pended;

    result.handle = NULL;
    result.transfers = TRUE;
    EnterCriticalSection(&Lock);
    for (pended = FirstPended; pended && !all; pended = pended->next) {
        if (!pended->tag || !Same(pended->tag, op->target))
            continue;
        tagged = TRUE;
        result.tag = op->target;
        if (pended->state == UNDER_WAY) {
            DWORD one = CancelOne(pended->handle, &pended->overlapped);

            result.asked++;
            result.returned += one == 0;
            if (first || one == 0)
                error = one;
            first = FALSE;
        }
    }
    for (device = Devices; device && !tagged; device = device->next) {
        DWORD one;

        if (!device->open || (!all && !Same(device->name, op->target)))
            continue;
        if (!all)
            result.handle = device->name;
        one = CancelOne(device->handle, NULL);
        result.asked++;
        result.returned += one == 0;
        if (first || one == 0)
            error = one;
        first = FALSE;
    }
    LeaveCriticalSection(&Lock);
    if (!all && !tagged && result.asked == 0)
        Wrong(op->thread, NULL, op->text, "neither a tag nor a handle", op->target);
    Finish(&result, result.returned ? 0 : error);
}

/* ---- services ------------------------------------------------------------------------------------------------- */

typedef SC_HANDLE (WINAPI *OPEN_MANAGER)(LPCWSTR, LPCWSTR, DWORD);
typedef SC_HANDLE (WINAPI *OPEN_SERVICE)(SC_HANDLE, LPCWSTR, DWORD);
typedef BOOL (WINAPI *START_SERVICE)(SC_HANDLE, DWORD, LPCWSTR *);
typedef BOOL (WINAPI *CONTROL_SERVICE)(SC_HANDLE, DWORD, SERVICE_STATUS *);
typedef BOOL (WINAPI *QUERY_SERVICE)(SC_HANDLE, SERVICE_STATUS *);
typedef BOOL (WINAPI *CLOSE_SERVICE)(SC_HANDLE);

static void (*ServiceCall(const char *name))(void)
{
    HMODULE library = LoadLibraryW(L"advapi32.dll");  /* a second call finds it loaded */
    void (*call)(void) = library ? (void (*)(void))GetProcAddress(library, name) : NULL;

    if (call == NULL)
        ExitProcess(ERROR_PROC_NOT_FOUND);
    return call;
}

static DWORD ControlOne(const OP *op, SC_HANDLE service, SERVICE_STATUS *status)
{
    BOOL done;

    if (Same(op->path, "start")) {
        if (!((START_SERVICE)ServiceCall("StartServiceW"))(service, 0, NULL))
            return GetLastError();
    } else if (Same(op->path, "stop")) {
        /* What it fills in is the state at the moment of the request: ask for the one after it. */
        if (!((CONTROL_SERVICE)ServiceCall("ControlService"))(service, SERVICE_CONTROL_STOP, status))
            return GetLastError();
    }
    done = ((QUERY_SERVICE)ServiceCall("QueryServiceStatus"))(service, status);
    return done ? 0 : GetLastError();
}

/* `returned` is the state of the service behind the call: 1 stopped, 3 stop pending, 4 running. */
static void DoService(const OP *op)
{
    RESULT result = Started(op);
    CLOSE_SERVICE close = (CLOSE_SERVICE)ServiceCall("CloseServiceHandle");
    int size = MultiByteToWideChar(CP_UTF8, 0, op->target, -1, NULL, 0);
    WCHAR *name = Take((SIZE_T)size * sizeof(WCHAR));
    SERVICE_STATUS status = {0};
    SC_HANDLE manager, service;
    DWORD error;

    MultiByteToWideChar(CP_UTF8, 0, op->target, -1, name, size);
    manager = ((OPEN_MANAGER)ServiceCall("OpenSCManagerW"))(NULL, NULL, SC_MANAGER_CONNECT);
    if (manager == NULL) {
        Finish(&result, GetLastError());
        Drop(name);
        return;
    }
    service = ((OPEN_SERVICE)ServiceCall("OpenServiceW"))(manager, name, SERVICE_START | SERVICE_STOP | SERVICE_QUERY_STATUS);
    error = service ? ControlOne(op, service, &status) : GetLastError();
    if (service)
        close(service);
    close(manager);
    Drop(name);
    result.transfers = TRUE;
    result.returned = status.dwCurrentState;
    Finish(&result, error);
}

/* ---- processes ------------------------------------------------------------------------------------------------ */

static HANDLE HandleOf(DWORD number)
{
    return (HANDLE)(ULONG_PTR)number;
}

/* In a process that another drvprobe started: say that it is ready, wait until all are let loose. */
static void DoGate(const OP *op)
{
    MainName = op->tag;
    ReleaseSemaphore(HandleOf(op->in), 1, NULL);
    WaitForSingleObject(HandleOf(op->out), INFINITE);
}

/* A line of a process, with a number of ours in place of its own. */
static void PassOn(const char *line, SIZE_T size)
{
    TEXT body = {0};
    SIZE_T at = 0;

    while (at < size && line[at] != ',')
        at++;
    if (at == size || line[size - 1] != '}')
        return;  /* cut off: the process ended in the middle of it */
    AddBytes(&body, line + at, size - at - 1);
    PutLine(&body);
    Drop(body.data);
}

/* Until the process ends; a thread for each, so that none is held up by a full pipe. */
static DWORD WINAPI Relay(void *context)
{
    THREAD *process = context;
    TEXT held = {0};
    char block[4096];
    DWORD got = 0;

    while (ReadFile(process->output, block, sizeof(block), &got, NULL) && got) {
        SIZE_T start = 0, at;

        AddBytes(&held, block, got);
        for (at = 0; at < held.length; at++)
            if (held.data[at] == '\n') {
                PassOn(held.data + start, at - start);
                start = at + 1;
            }
        Copy(held.data, held.data + start, held.length - start);
        held.length -= start;
    }
    if (held.data)
        Drop(held.data);
    CloseHandle(process->output);
    return 0;
}

/* Start a drvprobe of its own for the listed operations; it waits at the gate. */
static void StartProcess(THREAD *process, HANDLE ready)
{
    SECURITY_ATTRIBUTES inherited = {sizeof(inherited), NULL, TRUE};
    PROCESS_INFORMATION started = {0};
    STARTUPINFOW startup = {0};
    TEXT line = {0};
    WCHAR *program = Take(32768 * sizeof(WCHAR)), *wide;
    HANDLE theirs;
    const OP *op;
    int size;

    if (!CreatePipe(&process->output, &theirs, &inherited, 0)
        || !SetHandleInformation(process->output, HANDLE_FLAG_INHERIT, 0))
        ExitProcess(GetLastError());

    Add(&line, "drvprobe gate ");
    AddNumber(&line, (ULONG_PTR)ready);
    Add(&line, " ");
    AddNumber(&line, (ULONG_PTR)Barrier);
    Add(&line, " ");
    Add(&line, process->name);
    for (op = process->first; op; op = op->next) {
        const char *text = op->text;

        while (Blank(*text))
            text++;
        while (*text && !Blank(*text))  /* $NAME */
            text++;
        Add(&line, ";");
        Add(&line, text);
    }
    AddBytes(&line, "", 1);
    size = MultiByteToWideChar(CP_UTF8, 0, line.data, -1, NULL, 0);
    wide = Take((SIZE_T)size * sizeof(WCHAR));
    MultiByteToWideChar(CP_UTF8, 0, line.data, -1, wide, size);

    startup.cb = sizeof(startup);
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    startup.hStdOutput = theirs;
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    if (!GetModuleFileNameW(NULL, program, 32768)
        || !CreateProcessW(program, wide, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &started))
        ExitProcess(GetLastError());
    CloseHandle(theirs);  /* or the end of the process would not end its pipe */
    CloseHandle(started.hThread);
    process->child = started.hProcess;
    process->done = CreateThread(NULL, THREAD_STACK, Relay, process, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (process->done == NULL)
        ExitProcess(GetLastError());
    Drop(line.data);
    Drop(wide);
    Drop(program);
}

/* Behind the last line of a process: one that gives its exit code as `error`. */
static void EndProcess(THREAD *process, ULONGLONG start)
{
    RESULT result = {0};
    DWORD code = 0;

    WaitForSingleObject(process->child, INFINITE);
    GetExitCodeProcess(process->child, &code);
    CloseHandle(process->child);
    if (code == EXIT_WRONG_SCRIPT)
        ExitProcess(EXIT_WRONG_SCRIPT);  /* its own line has said what is wrong */
    result.op = "ended";
    result.thread = process->name;
    result.start = start;
    Finish(&result, code);
}

/* ---- running -------------------------------------------------------------------------------------------------- */

static void RunOne(const OP *op)
{
    RESULT result;

    switch (op->verb) {
    case OPEN:
        DoOpen(op);
        break;
    case READ:
        DoTransfer(op, TransferRead);
        break;
    case AREAD:
        DoAsyncRead(op);
        break;
    case WAIT:
        DoWait(op);
        break;
    case CANCEL:
        DoCancel(op);
        break;
    case WRITE:
        DoTransfer(op, TransferWrite);
        break;
    case IOCTL:
        DoTransfer(op, TransferControl);
        break;
    case CLOSE:
        DoClose(op);
        break;
    case SLEEP:
        result = Started(op);
        Sleep(op->ms);
        Finish(&result, 0);
        break;
    case TICK:
        result = Started(op);
        Finish(&result, 0);
        break;
    case EXIT:
        result = Started(op);
        Finish(&result, 0);
        ExitProcess(op->code);
    case SERVICE:
        DoService(op);
        break;
    case GATE:
        DoGate(op);
        break;
    case GO:  /* Run knows */
        break;
    }
}

/* A thread that ends takes its pended reads with it, and tags outlive `go`: so threads stay, and sleep. */
static DWORD WINAPI ThreadMain(void *context)
{
    const THREAD *thread = (const THREAD *)context;
    const OP *op;

    InterlockedIncrement(&Ready);
    WaitForSingleObject(Barrier, INFINITE);
    for (op = thread->first; op; op = op->next)
        RunOne(op);
    SetEvent(thread->done);
    WaitForSingleObject(NewEvent(), INFINITE);
    return 0;
}

/* Start all that are listed, let them loose at once when each of them is ready, wait until all are done. */
static void Go(const OP *op, THREAD *threads)
{
    SECURITY_ATTRIBUTES inherited = {sizeof(inherited), NULL, TRUE};
    HANDLE ready = CreateSemaphoreW(&inherited, 0, 0x7FFFFFFF, NULL);
    RESULT result = Started(op);
    THREAD *thread;
    LONG count = 0;

    Ready = 0;
    Barrier = CreateEventW(&inherited, TRUE, FALSE, NULL);
    if (ready == NULL || Barrier == NULL)
        ExitProcess(GetLastError());
    for (thread = threads; thread; thread = thread->next)
        if (thread->process)
            StartProcess(thread, ready);
    for (thread = threads; thread; thread = thread->next) {
        HANDLE started;

        if (thread->process)
            continue;
        thread->done = NewEvent();
        started = CreateThread(NULL, THREAD_STACK, ThreadMain, thread, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
        if (started == NULL)
            ExitProcess(GetLastError());
        CloseHandle(started);
        count++;
    }
    for (thread = threads; thread; thread = thread->next) {
        HANDLE either[2];

        if (!thread->process)
            continue;
        either[0] = ready;          /* each process adds one, whichever it is */
        either[1] = thread->child;  /* one that has ended will never be ready */
        WaitForMultipleObjects(2, either, FALSE, INFINITE);
    }
    while (Ready < count)
        Sleep(1);
    result.start = Now();
    SetEvent(Barrier);
    for (thread = threads; thread; thread = thread->next) {
        WaitForSingleObject(thread->done, INFINITE);
        CloseHandle(thread->done);
        if (thread->process)
            EndProcess(thread, result.start);
    }
    CloseHandle(Barrier);
    CloseHandle(ready);
    Finish(&result, 0);
}

static void Enlist(THREAD **threads, OP *op)
{
    while (*threads && ((*threads)->process != op->process || !Same((*threads)->name, op->thread)))
        threads = &(*threads)->next;
    if (*threads == NULL) {
        *threads = Take(sizeof(THREAD));
        (*threads)->name = op->thread;
        (*threads)->process = op->process;
        (*threads)->last = &(*threads)->first;
    }
    op->next = NULL;
    *(*threads)->last = op;
    (*threads)->last = &op->next;
}

static void Run(OP *op)
{
    THREAD *threads = NULL;

    while (op) {
        OP *next = op->next;

        if (op->verb == GO) {
            Go(op, threads);
            threads = NULL;
        } else if (op->process || !Same(op->thread, "main")) {
            Enlist(&threads, op);
        } else {
            RunOne(op);
        }
        op = next;
    }
    if (threads)
        Wrong(threads->name, NULL, threads->first->text, "this was never started: go is missing", NULL);
}

/* ---- where the script comes from ------------------------------------------------------------------------------ */

static char *ReadAll(HANDLE file)
{
    TEXT text = {0};
    char *block = Take(65536);
    DWORD got = 0;

    while (ReadFile(file, block, 65536, &got, NULL) && got)
        AddBytes(&text, block, got);
    AddBytes(&text, "", 1);
    Drop(block);
    return text.data;
}

static char *ToUtf8(const WCHAR *wide)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = Take((SIZE_T)size);

    WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
    return text;
}

/* The arguments joined by blanks, by the rules that Microsoft's run-time library has for quotes and backslashes. */
static WCHAR *JoinedArguments(void)
{
    const WCHAR *from = GetCommandLineW();
    SIZE_T size = 0, written = 0;
    BOOL quoted = FALSE, first = TRUE;
    WCHAR *joined;

    while (from[size])
        size++;
    joined = Take((size + 1) * sizeof(WCHAR));

    for (; *from && (quoted || (*from != ' ' && *from != '\t')); from++)  /* the program's own name */
        if (*from == '"')
            quoted = !quoted;
    quoted = FALSE;
    for (;;) {
        while (*from == ' ' || *from == '\t')
            from++;
        if (!*from)
            break;
        if (!first)
            joined[written++] = ' ';
        first = FALSE;
        while (*from && (quoted || (*from != ' ' && *from != '\t'))) {
            SIZE_T slashes = 0, i;

            while (*from == '\\') {
                slashes++;
                from++;
            }
            if (*from != '"') {
                for (i = 0; i < slashes; i++)
                    joined[written++] = '\\';
                if (!slashes)
                    joined[written++] = *from++;
                continue;
            }
            for (i = 0; i < slashes / 2; i++)
                joined[written++] = '\\';
            if (slashes % 2)
                joined[written++] = '"';
            else
                quoted = !quoted;
            from++;
        }
    }
    joined[written] = 0;
    return joined;
}

static char *Script(void)
{
    WCHAR *arguments = JoinedArguments();
    HANDLE file;

    if (arguments[0] == '-' && !arguments[1])
        return ReadAll(GetStdHandle(STD_INPUT_HANDLE));
    /* `@NAME operation` is a script; `@FILE` alone is a file. */
    if (arguments[0] == '@') {
        SIZE_T i = 0;

        while (arguments[i] && arguments[i] != ' ')
            i++;
        if (!arguments[i]) {
            file = CreateFileW(arguments + 1, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
            if (file == INVALID_HANDLE_VALUE)
                Wrong("main", NULL, NULL, "the script file cannot be opened", ToUtf8(arguments + 1));
            return ReadAll(file);
        }
    }
    return ToUtf8(arguments);
}

static int Main(void)
{
    OP *first;

    InitializeCriticalSection(&Lock);
    InitializeCriticalSection(&OutputLock);
    CancelEx = (CANCEL_IO_EX)(void (*)(void))GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "CancelIoEx");
    first = Parse(Script());
    if (first == NULL)
        Wrong("main", NULL, NULL, "the script is empty; usage: drvprobe SCRIPT... | @FILE | -", NULL);
    Run(first);
    return 0;
}

#ifdef LAB_FREESTANDING /* the lab's build: no C run-time library */
void Start(void)
{
    ExitProcess((UINT)Main());
}
#else
int main(void)
{
    return Main();
}
#endif
