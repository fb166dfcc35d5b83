/*
 * pax.h - files and folders as a ustar or pax stream through standard input and output.
 */
#ifndef LAB_LABFILE_PAX_H
#define LAB_LABFILE_PAX_H

#include "base.h"

#define BLOCK 512

/* Offsets and sizes of the fields of a ustar header that are used here. */
enum {
    AT_NAME = 0, NAME_SIZE = 100, AT_MODE = 100, AT_UID = 108, AT_GID = 116, AT_SIZE = 124, SIZE_SIZE = 12, AT_MTIME = 136,
    AT_CHECKSUM = 148, CHECKSUM_SIZE = 8, AT_TYPE = 156, AT_MAGIC = 257, AT_PREFIX = 345, PREFIX_SIZE = 155
};

#define OCTAL_LIMIT ((U64)1 << 33)  /* eleven octal digits */

void PutOctal(U8 *field, int digits, U64 value);
BOOL GetOctal(const U8 *field, int size, U64 *value);  /* FALSE: it is no number, or too large */
U64 HeaderSum(const U8 *header);

/* `labfile tar PATH`: writes a file or the contents of a folder. */
void Tar(const WCHAR *path);

/* `labfile untar DIR`: unpacks into a folder, with a sum line for each file. */
void Untar(const WCHAR *path);

#endif
