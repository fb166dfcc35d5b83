/*
 * Found before the ntstrsafe.h of mingw-w64, which calls its functions `extern __inline`. In C that leaves each of them in every
 * object file, so that a driver of two sources that include it does not link.
 */
#ifndef LAB_NTSTRSAFE_H
#define LAB_NTSTRSAFE_H
#pragma GCC system_header

#ifdef __cplusplus
#include_next <ntstrsafe.h>
#else
/* What it includes itself, before the word means something else. */
#include <_mingw_unicode.h>
#include <stdio.h>
#include <string.h>
#include <stdarg.h>
#include <specstrings.h>
#define extern static
#include_next <ntstrsafe.h>
#undef extern
#endif
#endif
