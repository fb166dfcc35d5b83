/*
 * base.h - what all files here use: numbers of known size, texts, and memory from the process's heap.
 */
#ifndef LAB_LABFILE_BASE_H
#define LAB_LABFILE_BASE_H

#include "../../../driver/common/memory.h"
#include "../../../driver/common/strings.h"

typedef unsigned char U8;
typedef unsigned int U32;
typedef unsigned __int64 U64;

#endif
