/*
 * drvprobe.c - runs a small script of device operations and prints one JSON line for each.
 *
 *     drvprobe SCRIPT...      the script as arguments, joined by blanks
 *     drvprobe @FILE          the script in a file
 *     drvprobe -              the script on standard input
 *     drvprobe --serve        scripts one after the other, see serve.h
 *
 * The script language and the lines are described in docs/drvprobe.md. Ends with 0 when the script ran to its end,
 * whatever the Win32 errors on the way were; with 2 when the script is wrong; with CODE after `exit CODE`.
 *
 * `@NAME operation` lists an operation for a thread, `$NAME operation` for a process of its own; `go` starts all that are
 * listed, releases them at the same moment when each of them is ready, and waits for their ends. A process prints through
 * its parent, so that there is one run of line numbers.
 *
 * Starting a process takes the longest of all in an emulated guest, so one run does many operations, and the program
 * imports nothing but kernel32. All names that are newer than NT 5.2 are looked up at run time, and advapi32 is loaded
 * only by a script that speaks to the service manager.
 */
#include "../../common/program.h"
#include "device.h"
#include "held.h"
#include "pended.h"
#include "report.h"
#include "run.h"
#include "serve.h"
#include "source.h"

static int Main(void)
{
    OP *first;

    PrepareHeld();
    PrepareDevices();
    PrepareOutput();
    PreparePended();
    if (AskedToServe())
        Serve();
    first = Parse(Script());
    if (first == NULL)
        Wrong("main", NULL, NULL, "the script is empty; usage: drvprobe SCRIPT... | @FILE | - | --serve", NULL);
    Run(first);
    return 0;
}
