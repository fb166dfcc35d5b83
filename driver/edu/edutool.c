/*
 * edutool.c - asks the edu driver: edutool identify | invert N | factorial N | interrupt N | factorial-by-interrupt N
 *          | copy N
 *
 * Prints the answer as 0x… and ends with 0, or with the Win32 error of what failed.
 */
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "edu.h"

#define LINK L"\\\\.\\LabEdu"

static const struct {
    const char *name;
    DWORD code;
    int needs_value;
} Questions[] = {
    { "identify", IOCTL_EDU_IDENTIFY, 0 },
    { "invert", IOCTL_EDU_INVERT, 1 },
    { "factorial", IOCTL_EDU_FACTORIAL, 1 },
    { "interrupt", IOCTL_EDU_INTERRUPT, 1 },
    { "factorial-by-interrupt", IOCTL_EDU_FACTORIAL_BY_INTERRUPT, 1 },
    { "copy", IOCTL_EDU_COPY, 1 },
};

static int Fail(const char *what, DWORD error)
{
    fprintf(stderr, "edutool: %s failed with Win32 error %lu\n", what, error);
    return (int)(error != 0 ? error : ERROR_GEN_FAILURE);
}

int main(int count, char **words)
{
    DWORD value = 0, answer = 0, got = 0;
    HANDLE device;
    size_t which;

    for (which = 0; which < sizeof(Questions) / sizeof(Questions[0]); which++) {
        if (count == 2 + Questions[which].needs_value && strcmp(words[1], Questions[which].name) == 0)
            break;
    }
    if (which == sizeof(Questions) / sizeof(Questions[0])) {
        fprintf(stderr, "edutool: identify | invert N | factorial N | interrupt N | factorial-by-interrupt N | copy N\n");
        return ERROR_INVALID_PARAMETER;
    }
    if (Questions[which].needs_value)
        value = strtoul(words[2], NULL, 0);
    device = CreateFileW(LINK, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (device == INVALID_HANDLE_VALUE)
        return Fail("opening \\\\.\\LabEdu", GetLastError());
    if (!DeviceIoControl(device, Questions[which].code, &value, sizeof(value), &answer, sizeof(answer), &got, NULL))
        return Fail(words[1], GetLastError());
    if (got != sizeof(answer))
        return Fail("the answer's length", ERROR_INVALID_DATA);
    printf("0x%08lx\n", answer);
    return 0;
}
