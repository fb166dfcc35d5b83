/* Shows the first entry of the logbook, a disk, and writes one into the sector of this number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#define SECTOR 512

int main(int count, char **words)
{
    static char sector[SECTOR];
    DWORD length = 0;
    HANDLE disk;

    if (count != 4)
        return 2;
    disk = CreateFileA(words[1], GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (disk == INVALID_HANDLE_VALUE || !ReadFile(disk, sector, SECTOR, &length, NULL) || length != SECTOR)
        return (int)GetLastError();
    printf("%.*s\n", SECTOR, sector);
    memset(sector, 0, SECTOR);
    strncpy(sector, words[3], SECTOR - 1);
    if (SetFilePointer(disk, atoi(words[2]) * SECTOR, NULL, FILE_BEGIN) == INVALID_SET_FILE_POINTER
        || !WriteFile(disk, sector, SECTOR, &length, NULL) || length != SECTOR || !FlushFileBuffers(disk))
        return (int)GetLastError();
    CloseHandle(disk);
    return 0;
}
