/* The launcher's wire: see wire.h. */
#include "wire.h"

static CRITICAL_SECTION output_lock;
static HANDLE input, output;

void open_wire(void)
{
    input = GetStdHandle(STD_INPUT_HANDLE);
    output = GetStdHandle(STD_OUTPUT_HANDLE);
    /* Wine makes them inheritable, and a command that held them would hide the end of this process. */
    SetHandleInformation(input, HANDLE_FLAG_INHERIT, 0);
    SetHandleInformation(output, HANDLE_FLAG_INHERIT, 0);
    InitializeCriticalSection(&output_lock);
}

static DWORD append_number(char *text, DWORD at, DWORD value)
{
    char digits[10];
    int count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count)
        text[at++] = digits[--count];
    return at;
}

void answer(const char *word, int values, DWORD first, DWORD second)
{
    char line[48];
    DWORD length = 0, written;

    while (word[length]) {
        line[length] = word[length];
        length++;
    }
    if (values > 0) {
        line[length++] = ' ';
        length = append_number(line, length, first);
    }
    if (values > 1) {
        line[length++] = ' ';
        length = append_number(line, length, second);
    }
    line[length++] = '\n';
    EnterCriticalSection(&output_lock);
    WriteFile(output, line, length, &written, NULL);
    LeaveCriticalSection(&output_lock);
}

BOOL read_all(void *buffer, DWORD size)
{
    BYTE *at = buffer;
    DWORD got;

    while (size) {
        if (!ReadFile(input, at, size, &got, NULL) || !got)
            return FALSE;
        at += got;
        size -= got;
    }
    return TRUE;
}

DWORD read_word(struct reader *reader)
{
    DWORD value;

    if (reader->end - reader->at < 4) {
        reader->failed = TRUE;
        return 0;
    }
    value = reader->at[0] | reader->at[1] << 8 | reader->at[2] << 16 | (DWORD)reader->at[3] << 24;
    reader->at += 4;
    return value;
}

WCHAR *read_string(struct reader *reader)
{
    DWORD units = read_word(reader), at;
    WCHAR *text;

    if (!units || (DWORD)(reader->end - reader->at) / 2 < units) {
        reader->failed |= units != 0;
        return NULL;
    }
    text = HeapAlloc(GetProcessHeap(), 0, (units + 1) * sizeof(WCHAR));
    if (!text) {
        reader->failed = TRUE;
        return NULL;
    }
    for (at = 0; at < units; at++)
        text[at] = (WCHAR)(reader->at[2 * at] | reader->at[2 * at + 1] << 8);
    text[units] = 0;
    reader->at += 2 * units;
    return text;
}

void release_string(WCHAR *text)
{
    if (text)
        HeapFree(GetProcessHeap(), 0, text);
}
