/*
 * walk.h - what is in a folder and below it.
 */
#ifndef LAB_LABFILE_WALK_H
#define LAB_LABFILE_WALK_H

#include "base.h"

typedef struct _ENTRY {
    char *name;      /* relative, with `/`; UTF-8 */
    WCHAR *path;     /* full */
    BOOL folder;
    U64 size;
    FILETIME written;
} ENTRY;

typedef struct _ENTRIES {
    ENTRY *items;
    SIZE_T count, room;
} ENTRIES;

/* Adds what is in `folder`, unsorted; `prefix`, which ends in `/` or is empty, goes before the names. */
void Walk(ENTRIES *entries, const WCHAR *folder, const char *prefix);

/* By the bytes of the names. */
void Sort(ENTRIES *entries);

/* A folder's contents, sorted, or the one file, under `name`. */
void List(ENTRIES *entries, const WCHAR *path, const char *name);

#endif
