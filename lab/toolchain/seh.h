/*
 * Clang inlines nothing into a __try block, not even what is to be inlined always: it calls such a function there. C's own rules for
 * inline leave no function to call, so that the driver would not link. The intrinsics of mingw-w64, which are `extern inline` by
 * GNU's rules, come from a library of the lab's own, see compile.py.
 */
#pragma GCC system_header
#ifndef __cplusplus
#include <_mingw.h>
#undef __forceinline
#define __forceinline static __inline__ __attribute__((__always_inline__))
#define __inline static __inline__
#endif
