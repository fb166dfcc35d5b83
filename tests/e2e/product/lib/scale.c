/* Used by the driver and by its client. */
int BoilerScale(int level);

int BoilerScale(int level)
{
    return level * SCALE;
}
