/*
 * newfile.h - files that appear under their names only when all of them is there.
 */
#ifndef LAB_LABFILE_NEWFILE_H
#define LAB_LABFILE_NEWFILE_H

#include "sha256.h"

typedef struct _NEWFILE {
    WCHAR *path, *temporary;
    const char *name;
    HANDLE file;
    SHA256 hash;
} NEWFILE;

/* Make a folder and its parents. */
void MakeFolder(WCHAR *path, const char *name);

/* Begin a file, and the folders above it. `path` and `name`, which is for messages and the sum line, must outlive it. */
void NewFile(NEWFILE *new_file, WCHAR *path, const char *name);
void NewFileAdd(NEWFILE *new_file, const U8 *data, DWORD size);

/* One of them ends it: nothing is left of it, or it has its name and its sum line is printed. */
void NewFileAbandon(NEWFILE *new_file);
void NewFileDone(NEWFILE *new_file);

/* `labfile put PATH`: standard input becomes the file. */
void Put(const WCHAR *path);

#endif
