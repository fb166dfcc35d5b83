#pragma once

/* Print a value of a key below the service's, or of the service's own key, as type and bytes. */
void PrintValue(PCUNICODE_STRING service, PCWSTR subkey, PCWSTR name);
/* The number in Parameters\Level; 0 when it is not there. */
ULONG ReadLevel(PCUNICODE_STRING service);
/* Print the content of a file. */
void PrintFile(PCWSTR path);
