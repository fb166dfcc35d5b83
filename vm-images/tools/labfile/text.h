/*
 * text.h - UTF-16 texts, and paths. What is returned is new, for Drop.
 */
#ifndef LAB_LABFILE_TEXT_H
#define LAB_LABFILE_TEXT_H

#include "base.h"

WCHAR *ToWide(const char *text);  /* the program ends when it is not UTF-8 */
WCHAR *Join(const WCHAR *a, const WCHAR *b, const WCHAR *c);
char *JoinUtf8(const char *a, const char *b, const char *c);

/* The full path, in the form that lifts the limit of 260 characters when it starts with a drive. */
WCHAR *FullPath(const WCHAR *path);

#endif
