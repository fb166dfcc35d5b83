/*
 * service.c - the service manager, asked from a script. advapi32 is loaded at the first time that one does.
 */
#include "service.h"

#include "report.h"

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

void DoService(const OP *op)
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
