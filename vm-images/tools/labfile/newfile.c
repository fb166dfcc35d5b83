/*
 * newfile.c - files that appear under their names only when all of them is there.
 */
#include "newfile.h"

#include "streams.h"
#include "sum.h"
#include "text.h"

void MakeFolder(WCHAR *path, const char *name)
{
    DWORD error;
    SIZE_T cut;

    if (CreateDirectoryW(path, NULL))
        return;
    error = GetLastError();
    if (error == ERROR_PATH_NOT_FOUND) {
        for (cut = WideLength(path); cut && path[cut] != '\\'; cut--)
            ;
        if (cut) {
            path[cut] = 0;
            MakeFolder(path, name);
            path[cut] = '\\';
            if (CreateDirectoryW(path, NULL))
                return;
            error = GetLastError();
        }
    }
    if (error == ERROR_ALREADY_EXISTS || error == ERROR_ACCESS_DENIED) {  /* a drive's root is denied */
        DWORD attributes = GetFileAttributesW(path);

        if (attributes != INVALID_FILE_ATTRIBUTES && attributes & FILE_ATTRIBUTE_DIRECTORY)
            return;
    }
    Fail("cannot make the folder", name, error);
}

static void MakeParent(WCHAR *path, const char *name)
{
    SIZE_T cut = WideLength(path);

    while (cut && path[cut] != '\\')
        cut--;
    if (cut) {
        path[cut] = 0;
        MakeFolder(path, name);
        path[cut] = '\\';
    }
}

void NewFile(NEWFILE *new_file, WCHAR *path, const char *name)
{
    char digits[24];
    WCHAR *number = ToWide(Digits(GetCurrentProcessId(), digits + sizeof(digits)));

    new_file->path = path;
    new_file->name = name;
    MakeParent(path, name);
    new_file->temporary = Join(path, L".part-", number);
    new_file->file = CreateFileW(new_file->temporary, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (new_file->file == INVALID_HANDLE_VALUE)
        Fail("cannot create", name, GetLastError());
    HashStart(&new_file->hash);
    Drop(number);
}

void NewFileAbandon(NEWFILE *new_file)
{
    CloseHandle(new_file->file);
    DeleteFileW(new_file->temporary);
}

void NewFileAdd(NEWFILE *new_file, const U8 *data, DWORD size)
{
    DWORD written = 0;

    if (size && (!WriteFile(new_file->file, data, size, &written, NULL) || written != size)) {
        DWORD error = GetLastError();

        NewFileAbandon(new_file);
        Fail("cannot write", new_file->name, error ? error : ERROR_DISK_FULL);
    }
    HashAdd(&new_file->hash, data, size);
}

void NewFileDone(NEWFILE *new_file)
{
    DWORD error;

    CloseHandle(new_file->file);
    if (!MoveFileExW(new_file->temporary, new_file->path, MOVEFILE_REPLACE_EXISTING)) {
        error = GetLastError();
        DeleteFileW(new_file->temporary);
        Fail("cannot replace", new_file->name, error);
    }
    PrintSum(&new_file->hash, new_file->name);
    Drop(new_file->temporary);
}

void Put(const WCHAR *path)
{
    NEWFILE new_file;
    DWORD got;

    NewFile(&new_file, FullPath(path), ToUtf8(path));
    while ((got = Input(Buffer, BUFFER_SIZE)) != 0)
        NewFileAdd(&new_file, Buffer, got);
    NewFileDone(&new_file);
}
