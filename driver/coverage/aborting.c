/* aborting.c - libgcov refers to it, for tables that the compiler does not make; a driver's own one comes first. */
void abort(void);

void abort(void)
{
    __builtin_trap();
}
