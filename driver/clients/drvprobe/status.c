/*
 * status.c - the NTSTATUS of an operation's line.
 */
#include "status.h"

typedef LONG (NTAPI *LAST_STATUS)(void);
typedef ULONG (NTAPI *STATUS_TO_ERROR)(LONG);
typedef void (NTAPI *SET_LAST_STATUS)(LONG);

void SetStatus(RESULT *result, ULONG_PTR status)
{
    result->has_status = TRUE;
    result->status = (DWORD)status;
}

/*
 * Where a call sets its error without a status, that of an earlier call still stands there: it is believed only when it makes
 * this very error.
 */
void SetLastStatus(RESULT *result, DWORD error)
{
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    LAST_STATUS last = (LAST_STATUS)(void (*)(void))GetProcAddress(ntdll, "RtlGetLastNtStatus");
    STATUS_TO_ERROR to_error = (STATUS_TO_ERROR)(void (*)(void))GetProcAddress(ntdll, "RtlNtStatusToDosError");

    if (error == 0) {
        SetStatus(result, 0);
    } else if (last && to_error) {
        LONG status = last();

        if (to_error(status) == error)
            SetStatus(result, (DWORD)status);
    }
}

void ForgetLastStatus(void)
{
    SET_LAST_STATUS set = (SET_LAST_STATUS)(void (*)(void))GetProcAddress(GetModuleHandleW(L"ntdll.dll"),
                                                                          "RtlSetLastWin32ErrorAndNtStatusFromNtStatus");

    if (set)
        set(0);
}
