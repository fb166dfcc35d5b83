/*
 * report.c - the line of an operation.
 */
#include "report.h"

const char *MainName = "main";

const char *Shown(const OP *op)
{
    return Same(op->thread, "main") ? MainName : op->thread;
}

RESULT Started(const OP *op)
{
    RESULT result = {0};

    result.op = op->verb_name;
    result.thread = Shown(op);
    result.tag = op->tag;
    result.handle = op->target;
    result.kind = op->kind;
    result.code = op->code;
    result.transfers = op->kind != NULL;
    result.asked = op->asked;
    result.start = Now();
    return result;
}

void Finish(RESULT *result, DWORD error)
{
    result->end = Now();
    result->error = error;
    Report(result);
}

static void AddFlag(TEXT *text, BOOL flag)
{
    Add(text, flag ? "true" : "false");
}

static void AddBuffer(TEXT *text, const BYTE *bytes, DWORD size)
{
    Add(text, "\"");
    AddHex(text, bytes, size);
    Add(text, "\"");
}

void Report(const RESULT *result)
{
    BOOL controls = result->kind && Same(result->kind, "ioctl");
    TEXT body = {0};
    DWORD i;

    Add(&body, ",\"op\":");
    AddWord(&body, result->op);
    Add(&body, ",\"thread\":");
    AddWord(&body, result->thread);
    Add(&body, ",\"handle\":");
    AddWord(&body, result->handle);
    Add(&body, ",\"tag\":");
    AddWord(&body, result->tag);
    Add(&body, ",\"kind\":");
    AddWord(&body, result->kind);
    Add(&body, ",\"code\":");
    if (controls)
        AddNumber(&body, result->code);
    else
        AddWord(&body, NULL);
    if (result->transfers) {
        Add(&body, ",\"asked\":");
        AddNumber(&body, result->asked);
        Add(&body, ",\"returned\":");
        AddNumber(&body, result->returned);
    } else {
        Add(&body, ",\"asked\":null,\"returned\":null");
    }
    Add(&body, ",\"error\":");
    AddNumber(&body, result->error);
    Add(&body, ",\"status\":");
    if (result->has_status)
        AddNumber(&body, result->status);
    else
        AddWord(&body, NULL);
    if (result->input) {
        Add(&body, ",\"input\":");
        AddBuffer(&body, result->input, result->input_size);
        Add(&body, ",\"input_intact\":");
        AddFlag(&body, result->input_intact);
    } else {
        Add(&body, ",\"input\":null,\"input_intact\":null");
    }
    if (result->buffer) {
        Add(&body, ",\"data\":");
        AddBuffer(&body, result->buffer, result->held);
        Add(&body, ",\"text\":");
        for (i = 0; i < result->held && result->buffer[i]; i++)
            ;
        AddString(&body, result->buffer, i);
        Add(&body, ",\"tail_intact\":");
        AddFlag(&body, result->tail_intact);
    } else {
        Add(&body, ",\"data\":null,\"text\":null,\"tail_intact\":null");
    }
    Add(&body, ",\"start_us\":");
    AddNumber(&body, result->start);
    Add(&body, ",\"end_us\":");
    AddNumber(&body, result->end);
    PutLine(&body);
    Drop(body.data);
}

DECLSPEC_NORETURN void Lacks(const OP *op, const char *capability, const char *what)
{
    TEXT message = {0};

    Add(&message, what);
    Leave(op->thread, op->target, op->text, &message, capability);
}
