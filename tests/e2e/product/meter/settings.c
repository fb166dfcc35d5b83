#include <ntddk.h>
#include <stdio.h>
#include <boiler.h>
#include "settings.h"

typedef struct _VALUE {
    KEY_VALUE_PARTIAL_INFORMATION Info;
    UCHAR Room[256];
} VALUE, *PVALUE;

static NTSTATUS ReadValue(PCUNICODE_STRING service, PCWSTR subkey, PCWSTR name, PVALUE value)
{
    WCHAR path[512];
    UNICODE_STRING key, wanted;
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle;
    ULONG size;
    NTSTATUS status;

    swprintf(path, L"%.*ls%ls", service->Length / (int)sizeof(WCHAR), service->Buffer, subkey);
    RtlInitUnicodeString(&key, path);
    RtlInitUnicodeString(&wanted, name);
    InitializeObjectAttributes(&attributes, &key, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    status = ZwOpenKey(&handle, KEY_READ, &attributes);
    if (!NT_SUCCESS(status))
        return status;
    status = ZwQueryValueKey(handle, &wanted, KeyValuePartialInformation, value, sizeof(*value), &size);
    ZwClose(handle);
    return status;
}

void PrintValue(PCUNICODE_STRING service, PCWSTR subkey, PCWSTR name)
{
    VALUE value;
    CHAR hex[200] = "";
    ULONG i;
    NTSTATUS status = ReadValue(service, subkey, name, &value);
    if (!NT_SUCCESS(status)) {
        DbgPrint("meter: %ls has no value: %08lx\n", name, status);
        return;
    }
    for (i = 0; i < value.Info.DataLength && i < 64; i++)
        sprintf(hex + 2 * i, "%02x", value.Info.Data[i]);
    DbgPrint("meter: %ls is %lu:%s\n", name, value.Info.Type, hex);
}

ULONG ReadLevel(PCUNICODE_STRING service)
{
    VALUE value;
    if (!NT_SUCCESS(ReadValue(service, L"\\Parameters", L"Level", &value)))
        return 0;
    return *(ULONG UNALIGNED *)value.Info.Data;
}

void PrintFile(PCWSTR path)
{
    CHAR text[64] = "";
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK done;
    HANDLE file;
    NTSTATUS status;

    RtlInitUnicodeString(&name, path);
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    status = ZwCreateFile(&file, GENERIC_READ | SYNCHRONIZE, &attributes, &done, NULL, FILE_ATTRIBUTE_NORMAL, FILE_SHARE_READ,
                          FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT | FILE_NON_DIRECTORY_FILE, NULL, 0);
    if (NT_SUCCESS(status)) {
        status = ZwReadFile(file, NULL, NULL, NULL, &done, text, sizeof(text) - 1, NULL, NULL);
        ZwClose(file);
    }
    DbgPrint("meter: file %08lx %s\n", status, text);
}
