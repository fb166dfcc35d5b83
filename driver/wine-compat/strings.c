/*
 * strings.c - the printf functions of ntoskrnl.exe, which RtlStringCbPrintf and its variants call, too.
 *
 * Wine's are those of its C library: %Z and %wZ print the letter Z there as well and take no argument. A format with a
 * floating-point conversion is left to Wine, which has it.
 */
#include "replaced.h"
#include "format.h"

#define NO_LIMIT ((SIZE_T)0x7FFFFFFF)
#define TRUNCATE ((SIZE_T)-1)

/* Wine's own. */
__declspec(dllimport) int __cdecl _vsnprintf(char *text, SIZE_T count, const char *format, va_list arguments);
__declspec(dllimport) int __cdecl _vsnwprintf(WCHAR *text, SIZE_T count, const WCHAR *format, va_list arguments);

/*
 * As _vsnprintf has it: up to `count` characters, a zero after them where there is room, and -1 when there were more.
 * The text has `*total` of them.
 */
static int Narrow(char *text, SIZE_T count, const char *format, va_list arguments, SIZE_T *total)
{
    int written;

    if (FormatHasFloatNarrow(format)) {
        written = _vsnprintf(text, count, format, arguments);
        *total = written < 0 ? NO_LIMIT : (SIZE_T)written;
        return written;
    }
    *total = FormatNarrow(text, count, format, arguments);
    if (text != NULL && *total < count)
        text[*total] = 0;
    return text != NULL && *total > count ? -1 : (int)*total;
}

static int Wide(WCHAR *text, SIZE_T count, const WCHAR *format, va_list arguments, SIZE_T *total)
{
    int written;

    if (FormatHasFloatWide((const FORMAT_WIDE *)format)) {
        written = _vsnwprintf(text, count, format, arguments);
        *total = written < 0 ? NO_LIMIT : (SIZE_T)written;
        return written;
    }
    *total = FormatWide((FORMAT_WIDE *)text, count, (const FORMAT_WIDE *)format, arguments);
    if (text != NULL && *total < count)
        text[*total] = 0;
    return text != NULL && *total > count ? -1 : (int)*total;
}

/* The secure ones: always a zero after the text; a text that does not fit is cut where that was asked for, else it is empty. */
static int SafeNarrow(char *text, SIZE_T size, SIZE_T count, const char *format, va_list arguments)
{
    SIZE_T total;
    int cut = count == TRUNCATE || count < size;

    if (text == NULL || size == 0)
        return -1;
    Narrow(text, cut && count != TRUNCATE ? count : size, format, arguments, &total);
    if (total < size && total <= count)
        return (int)total;
    text[cut ? count == TRUNCATE ? size - 1 : count : 0] = 0;
    return -1;
}

static int SafeWide(WCHAR *text, SIZE_T size, SIZE_T count, const WCHAR *format, va_list arguments)
{
    SIZE_T total;
    int cut = count == TRUNCATE || count < size;

    if (text == NULL || size == 0)
        return -1;
    Wide(text, cut && count != TRUNCATE ? count : size, format, arguments, &total);
    if (total < size && total <= count)
        return (int)total;
    text[cut ? count == TRUNCATE ? size - 1 : count : 0] = 0;
    return -1;
}

static int __cdecl LabVsnprintf(char *text, SIZE_T count, const char *format, va_list arguments)
{
    SIZE_T total;

    return Narrow(text, count, format, arguments, &total);
}

static int __cdecl LabVsprintf(char *text, const char *format, va_list arguments)
{
    return LabVsnprintf(text, NO_LIMIT, format, arguments);
}

static int __cdecl LabVsnwprintf(WCHAR *text, SIZE_T count, const WCHAR *format, va_list arguments)
{
    SIZE_T total;

    return Wide(text, count, format, arguments, &total);
}

static int __cdecl LabVswprintf(WCHAR *text, const WCHAR *format, va_list arguments)
{
    return LabVsnwprintf(text, NO_LIMIT, format, arguments);
}

static int __cdecl LabVsprintfS(char *text, SIZE_T size, const char *format, va_list arguments)
{
    return SafeNarrow(text, size, size, format, arguments);
}

static int __cdecl LabVsnprintfS(char *text, SIZE_T size, SIZE_T count, const char *format, va_list arguments)
{
    return SafeNarrow(text, size, count, format, arguments);
}

static int __cdecl LabVswprintfS(WCHAR *text, SIZE_T size, const WCHAR *format, va_list arguments)
{
    return SafeWide(text, size, size, format, arguments);
}

static int __cdecl LabVsnwprintfS(WCHAR *text, SIZE_T size, SIZE_T count, const WCHAR *format, va_list arguments)
{
    return SafeWide(text, size, count, format, arguments);
}

/* The same with `...`: NAME(parameters) calls V(arguments, list). */
#define VARIADIC(NAME, PARAMETERS, V, ...) \
    static int __cdecl NAME PARAMETERS \
    { \
        va_list list; \
        int written; \
\
        va_start(list, format); \
        written = V(__VA_ARGS__, format, list); \
        va_end(list); \
        return written; \
    }

VARIADIC(LabSprintf, (char *text, const char *format, ...), LabVsprintf, text)
VARIADIC(LabSnprintf, (char *text, SIZE_T count, const char *format, ...), LabVsnprintf, text, count)
VARIADIC(LabSwprintf, (WCHAR *text, const WCHAR *format, ...), LabVswprintf, text)
VARIADIC(LabSnwprintf, (WCHAR *text, SIZE_T count, const WCHAR *format, ...), LabVsnwprintf, text, count)
VARIADIC(LabSprintfS, (char *text, SIZE_T size, const char *format, ...), LabVsprintfS, text, size)
VARIADIC(LabSnprintfS, (char *text, SIZE_T size, SIZE_T count, const char *format, ...), LabVsnprintfS, text, size, count)
VARIADIC(LabSwprintfS, (WCHAR *text, SIZE_T size, const WCHAR *format, ...), LabVswprintfS, text, size)
VARIADIC(LabSnwprintfS, (WCHAR *text, SIZE_T size, SIZE_T count, const WCHAR *format, ...), LabVsnwprintfS, text, size, count)

const REPLACEMENT StringReplacements[] = {
    { L"sprintf", (PVOID)LabSprintf },
    { L"_snprintf", (PVOID)LabSnprintf },
    { L"swprintf", (PVOID)LabSwprintf },
    { L"_swprintf", (PVOID)LabSwprintf },
    { L"_snwprintf", (PVOID)LabSnwprintf },
    { L"vsprintf", (PVOID)LabVsprintf },
    { L"_vsnprintf", (PVOID)LabVsnprintf },
    { L"_vswprintf", (PVOID)LabVswprintf },
    { L"_vsnwprintf", (PVOID)LabVsnwprintf },
    { L"sprintf_s", (PVOID)LabSprintfS },
    { L"_snprintf_s", (PVOID)LabSnprintfS },
    { L"swprintf_s", (PVOID)LabSwprintfS },
    { L"_snwprintf_s", (PVOID)LabSnwprintfS },
    { L"vsprintf_s", (PVOID)LabVsprintfS },
    { L"_vsnprintf_s", (PVOID)LabVsnprintfS },
    { L"vswprintf_s", (PVOID)LabVswprintfS },
    { L"_vsnwprintf_s", (PVOID)LabVsnwprintfS },
};
const ULONG StringReplacementCount = RTL_NUMBER_OF(StringReplacements);
