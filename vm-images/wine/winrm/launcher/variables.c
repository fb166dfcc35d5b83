/* Environment variables for one command: see variables.h. */
#include "variables.h"

static WCHAR *variable(const WCHAR *name)
{
    DWORD size = GetEnvironmentVariableW(name, NULL, 0);
    WCHAR *value = size ? HeapAlloc(GetProcessHeap(), 0, size * sizeof(WCHAR)) : NULL;

    if (value)
        GetEnvironmentVariableW(name, value, size);
    return value;
}

void exchange_variables(WCHAR *block, WCHAR **values)
{
    DWORD index = 0;

    while (*block) {
        WCHAR *sign = block, *before;

        while (*sign && *sign != '=')
            sign++;
        if (*sign) {
            *sign = 0;
            before = variable(block);
            SetEnvironmentVariableW(block, values[index]);
            *sign = '=';
            values[index++] = before;
        }
        while (*block)
            block++;
        block++;
    }
}

WCHAR **split_values(const WCHAR *block, DWORD *count)
{
    const WCHAR *at;
    WCHAR **values;
    DWORD index = 0;

    *count = 0;
    for (at = block; *at; at++) {
        while (*at)
            at++;
        ++*count;
    }
    values = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, (*count + 1) * sizeof(*values));
    if (!values)
        return NULL;
    for (at = block; *at; at++) {
        DWORD length = 0, unit;

        while (*at && *at != '=')
            at++;
        if (!*at)
            continue;
        at++;
        while (at[length])
            length++;
        values[index] = HeapAlloc(GetProcessHeap(), 0, (length + 1) * sizeof(WCHAR));
        for (unit = 0; values[index] && unit <= length; unit++)
            values[index][unit] = at[unit];
        index++;
        at += length;
    }
    return values;
}
