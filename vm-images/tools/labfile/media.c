/*
 * media.c - drives whose media come and go, such as a CD drive.
 */
#include "media.h"

#include "newfile.h"
#include "streams.h"
#include "text.h"
#include "walk.h"

#define POLL_MS 50

/*
 * The letter of the drive that has `name` at its top. It is looked for by name and not by the kind of drive: which
 * letters a guest gives to its CD drives, and what it says of their kind, differs. A and B may be floppy drives, which
 * answer slowly; network drives may not answer at all.
 */
static WCHAR FindDrive(DWORD seconds, const WCHAR *name)
{
    DWORD begin = GetTickCount();

    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX);  /* an empty drive is no reason to ask anybody */
    for (;;) {
        DWORD drives = GetLogicalDrives();
        WCHAR root[] = L"?:\\", *path;

        for (root[0] = 'C'; root[0] <= 'Z'; root[0]++) {
            DWORD attributes;

            if (!(drives & 1u << (root[0] - 'A')) || GetDriveTypeW(root) == DRIVE_REMOTE)
                continue;
            path = Join(root, name, L"");
            attributes = GetFileAttributesW(path);
            Drop(path);
            if (attributes != INVALID_FILE_ATTRIBUTES)
                return root[0];
        }
        if (GetTickCount() - begin >= seconds * 1000)
            Fail("no drive has it", ToUtf8(name), ERROR_NOT_READY);
        Sleep(POLL_MS);
    }
}

void Drive(DWORD seconds, const WCHAR *name)
{
    char line[] = "?:\\\n";

    line[0] = (char)FindDrive(seconds, name);
    Output(line, sizeof(line) - 1);
}

void Fetch(DWORD seconds, const WCHAR *mark, const WCHAR *target)
{
    WCHAR drive[] = L"\\\\?\\?:", *folder = FullPath(target);
    char *mark_name = ToUtf8(mark);
    ENTRIES entries = {0};
    SIZE_T i, at;

    drive[4] = FindDrive(seconds, mark);
    MakeFolder(folder, ToUtf8(target));
    Walk(&entries, drive, "");
    Sort(&entries);
    for (i = 0; i < entries.count; i++) {
        ENTRY *entry = &entries.items[i];
        WCHAR *relative = ToWide(entry->name), *path;
        NEWFILE new_file;
        HANDLE file;
        DWORD got;

        if (Order(entry->name, mark_name) == 0)
            continue;
        for (at = 0; relative[at]; at++)
            if (relative[at] == '/')
                relative[at] = '\\';
        path = Join(folder, L"\\", relative);
        Drop(relative);
        if (entry->folder) {
            MakeFolder(path, entry->name);
            continue;
        }
        file = OpenForReading(entry->path, entry->name);
        NewFile(&new_file, path, entry->name);
        for (;;) {
            if (!ReadFile(file, Buffer, BUFFER_SIZE, &got, NULL)) {
                DWORD error = GetLastError();  /* the medium was taken out, or is damaged */

                NewFileAbandon(&new_file);
                Fail("cannot read", entry->name, error);
            }
            if (got == 0)
                break;
            NewFileAdd(&new_file, Buffer, got);
        }
        CloseHandle(file);
        NewFileDone(&new_file);
        Drop(path);
    }
}
