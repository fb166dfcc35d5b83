/* The test makes libtide.a of it, as a supplier would. */
unsigned long TideLevel(unsigned long hour);

unsigned long TideLevel(unsigned long hour)
{
    return hour * 7;
}
