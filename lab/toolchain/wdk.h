/*
 * What the headers of Microsoft's driver kit have and those of mingw-w64 lack. Each driver is compiled with it in front.
 *
 * Annotations for Microsoft's code analysis say nothing to GCC. Their arguments are as Microsoft's documentation of SAL, and
 * the public stubs of it, have them: https://learn.microsoft.com/windows-hardware/drivers/devtest/sal-2-annotations-for-windows-drivers
 */
#pragma GCC system_header
#ifndef _WIN32_WINNT
/* _mingw.h defines one for programs; kernel/wdm.h defines it, after the source's first lines, which may define one. */
#define LAB_NO_LEVEL
#endif
#include <_mingw.h>
#include <driverspecs.h>
#ifdef LAB_NO_LEVEL
#undef _WIN32_WINNT
#undef LAB_NO_LEVEL
#endif

/* In the kernel's C library it takes no size; in mingw-w64's it does. ntoskrnl.exe exports the one without. */
#define _INC_SWPRINTF_INL
#ifdef __cplusplus
extern "C" {
int __cdecl swprintf(wchar_t *text, const wchar_t *format, ...);
#else
int __cdecl swprintf(__WCHAR_TYPE__ *text, const __WCHAR_TYPE__ *format, ...);
#endif

/* Instructions, not functions: a kernel exports none of these names. */
static __inline__ __attribute__((__always_inline__)) void _disable(void)
{
    __asm__ __volatile__("cli" ::: "memory");
}
static __inline__ __attribute__((__always_inline__)) void _enable(void)
{
    __asm__ __volatile__("sti" ::: "memory");
}
#ifdef __cplusplus
}
#endif

/*
 * mingw-w64 says `extern` in it, which forbids `static` before or after it. C's own rules for inline make the same: no function
 * of that name is left in the object file, so two sources may include one header.
 */
#undef __forceinline
#define __forceinline __inline__ __attribute__((__always_inline__))
#ifndef CFORCEINLINE
#define CFORCEINLINE __forceinline
#endif

#ifndef EXTERN_C_START
#define EXTERN_C_START
#define EXTERN_C_END
#endif
#if !defined(static_assert) && !defined(__cplusplus)
#define static_assert _Static_assert
#endif
#ifndef DECLARE_GLOBAL_CONST_UNICODE_STRING
/* Not `extern` as in the driver kit: GCC warns of that beside a value, and means the same without. */
#define DECLARE_GLOBAL_CONST_UNICODE_STRING(name, text) const DECLSPEC_SELECTANY UNICODE_STRING name = RTL_CONSTANT_STRING(text)
#endif
#ifndef DECLSPEC_NOVTABLE
#define DECLSPEC_NOVTABLE
#endif
#ifndef DECLSPEC_RESTRICT
#define DECLSPEC_RESTRICT
#endif
#ifndef NONPAGED_CODE
#define NONPAGED_CODE() ((void)0)
#endif
#ifndef NT_ANALYSIS_ASSUME
#define NT_ANALYSIS_ASSUME(...) ((void)0)
#endif
#ifndef __assume
/* As Microsoft's compiler does: the expression is never run, and `__assume(0)` is a place that nothing reaches. */
#define __assume(x) (__builtin_constant_p(x) && !(x) ? __builtin_unreachable() : (void)0)
#endif
#if !defined(__noop) && !defined(__clang__)
/* With arguments or without. Clang has it. */
enum { __noop };
#define __noop(...) ((void)0)
#endif

/* Kernel-mode annotations of SAL 2. */
#ifndef _Dispatch_type_
#define _Dispatch_type_(x)
#endif
#ifndef _IRQL_saves_global_
#define _IRQL_saves_global_(kind, param)
#endif
#ifndef _IRQL_restores_global_
#define _IRQL_restores_global_(kind, param)
#endif
#ifndef _IRQL_uses_cancel_
#define _IRQL_uses_cancel_
#endif
#ifndef _IRQL_is_cancel_
#define _IRQL_is_cancel_
#endif
#ifndef _IRQL_always_function_min_
#define _IRQL_always_function_min_(irql)
#endif
#ifndef _IRQL_always_function_max_
#define _IRQL_always_function_max_(irql)
#endif
#ifndef _Kernel_float_saved_
#define _Kernel_float_saved_
#endif
#ifndef _Kernel_float_restored_
#define _Kernel_float_restored_
#endif
#ifndef _Kernel_float_used_
#define _Kernel_float_used_
#endif
#ifndef _Kernel_IoGetDmaAdapter_
#define _Kernel_IoGetDmaAdapter_
#endif
#ifndef _Kernel_clear_do_init_
#define _Kernel_clear_do_init_(x)
#endif
#ifndef _Kernel_requires_resource_held_
#define _Kernel_requires_resource_held_(x)
#endif
#ifndef _Kernel_requires_resource_not_held_
#define _Kernel_requires_resource_not_held_(x)
#endif
#ifndef _Kernel_acquires_resource_
#define _Kernel_acquires_resource_(x)
#endif
#ifndef _Kernel_releases_resource_
#define _Kernel_releases_resource_(x)
#endif
/* This one is a statement, and brings its semicolon along. */
#ifndef _IRQL_limited_to_
#define _IRQL_limited_to_(level) ASSERT(KeGetCurrentIrql() <= (level));
#endif

/* SAL 2. */
#ifndef _Pre_valid_
#define _Pre_valid_
#endif
#ifndef _Pre_maybenull_
#define _Pre_maybenull_
#endif
#ifndef _Post_valid_
#define _Post_valid_
#endif
#ifndef _Post_notnull_
#define _Post_notnull_
#endif
#ifndef _Post_maybenull_
#define _Post_maybenull_
#endif
#ifndef _Post_invalid_
#define _Post_invalid_
#endif
#ifndef _Post_ptr_invalid_
#define _Post_ptr_invalid_
#endif
#ifndef _Notnull_
#define _Notnull_
#endif
#ifndef _Maybenull_
#define _Maybenull_
#endif
#ifndef _Notref_
#define _Notref_
#endif
#ifndef _Frees_ptr_
#define _Frees_ptr_
#endif
#ifndef _Frees_ptr_opt_
#define _Frees_ptr_opt_
#endif
#ifndef _Analysis_noreturn_
#define _Analysis_noreturn_
#endif

/* Kernel-mode annotations of SAL 1. */
#ifndef __drv_sameIRQL
#define __drv_sameIRQL
#endif
#ifndef __drv_minIRQL
#define __drv_minIRQL(irql)
#endif
#ifndef __drv_functionClass
#define __drv_functionClass(x)
#endif
#ifndef __drv_clearDoInit
#define __drv_clearDoInit(yesNo)
#endif
#ifndef __drv_isCancelIRQL
#define __drv_isCancelIRQL
#endif
#ifndef __drv_maxFunctionIRQL
#define __drv_maxFunctionIRQL(irql)
#endif
#ifndef __drv_minFunctionIRQL
#define __drv_minFunctionIRQL(irql)
#endif
#ifndef __drv_mustHold
#define __drv_mustHold(kind)
#endif
#ifndef __drv_neverHold
#define __drv_neverHold(kind)
#endif
#ifndef __drv_mustHoldCriticalRegion
#define __drv_mustHoldCriticalRegion
#endif
#ifndef __drv_neverHoldCriticalRegion
#define __drv_neverHoldCriticalRegion
#endif
#ifndef __drv_acquiresExclusiveResource
#define __drv_acquiresExclusiveResource(kind)
#endif
#ifndef __drv_releasesExclusiveResource
#define __drv_releasesExclusiveResource(kind)
#endif
#ifndef __drv_acquiresCriticalRegion
#define __drv_acquiresCriticalRegion
#endif
#ifndef __drv_releasesCriticalRegion
#define __drv_releasesCriticalRegion
#endif
#ifndef __drv_acquiresCancelSpinLock
#define __drv_acquiresCancelSpinLock
#endif
#ifndef __drv_releasesCancelSpinLock
#define __drv_releasesCancelSpinLock
#endif
#ifndef __drv_floatSaved
#define __drv_floatSaved
#endif
#ifndef __drv_floatRestored
#define __drv_floatRestored
#endif
#ifndef __drv_floatUsed
#define __drv_floatUsed
#endif
#ifndef __drv_strictType
#define __drv_strictType(name, mode)
#endif
#ifndef __drv_strictTypeMatch
#define __drv_strictTypeMatch(mode)
#endif
#ifndef __drv_inTry
#define __drv_inTry
#endif
#ifndef __drv_notInTry
#define __drv_notInTry
#endif
#ifndef __drv_interlocked
#define __drv_interlocked
#endif
#ifndef __drv_isObjectPointer
#define __drv_isObjectPointer
#endif
#ifndef __drv_notPointer
#define __drv_notPointer
#endif
#ifndef __drv_preferredFunction
#define __drv_preferredFunction(function, why)
#endif
#ifndef __drv_reportError
#define __drv_reportError(why)
#endif
#ifndef __drv_ret
#define __drv_ret(annotations)
#endif
#ifndef __drv_constant
#define __drv_constant
#endif
#ifndef __drv_unit
#define __drv_unit(x)
#endif

/* SAL 1. */
#ifndef __nullterminated
#define __nullterminated
#endif
#ifndef __reserved
#define __reserved
#endif
#ifndef __notnull
#define __notnull
#endif
#ifndef __maybenull
#define __maybenull
#endif
#ifndef __success
#define __success(expression)
#endif
#ifndef __field_bcount
#define __field_bcount(size)
#endif
#ifndef __field_ecount
#define __field_ecount(size)
#endif
#ifndef __in_bcount_opt
#define __in_bcount_opt(size)
#endif
#ifndef __in_ecount_opt
#define __in_ecount_opt(size)
#endif
#ifndef __out_bcount_opt
#define __out_bcount_opt(size)
#endif
#ifndef __out_ecount_opt
#define __out_ecount_opt(size)
#endif
#ifndef __deref_out_bcount
#define __deref_out_bcount(size)
#endif
#ifndef __deref_inout
#define __deref_inout
#endif
#ifndef __in_range
#define __in_range(low, high)
#endif
